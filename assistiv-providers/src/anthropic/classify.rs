//! Errors: what Anthropic says, and who is at fault.
//!
//! Anthropic API reference, "Errors", read on 2026-11-23. An error in the middle of a stream has a type, but no
//! status of its own.

use assistiv_core::provider::{Fault, ProviderError, ProviderErrorKind as Kind};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::retry_after::retry_after;
use crate::scrub;

#[derive(Debug, Default, Deserialize)]
struct Body {
    error: Said,
}

/// What an error body says.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    message: String,
    details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Details {
    error_code: Option<String>,
}

/// Understands an answer that is no success.
pub(super) fn response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
    let said = serde_json::from_slice::<Body>(body).ok();
    let is_json = said.is_some();
    let said = said.unwrap_or_default().error;
    let kind = match status.as_u16() {
        404 if !is_json => Kind::Failed,
        status => said.kind(status),
    };
    let wait = matches!(kind, Kind::RateLimited | Kind::Overloaded).then(|| retry_after(headers));
    said.into_error(kind).with_retry_after(wait.flatten())
}

/// Understands an error that came in the body of a success.
pub(super) fn body(body: &[u8]) -> ProviderError {
    let said = serde_json::from_slice::<Body>(body)
        .unwrap_or_default()
        .error;
    let kind = said.kind(0);
    said.into_error(kind)
}

/// Understands a body that came in place of a stream.
pub(super) fn page(page: &[u8]) -> ProviderError {
    match serde_json::from_slice::<Body>(page) {
        Ok(_) => body(page),
        Err(error) => ProviderError::new(Kind::Malformed).with_source(error),
    }
}

// === impl Said ===

impl Said {
    /// `status` is 0 where there is none.
    fn kind(&self, status: u16) -> Kind {
        let code = self
            .details
            .as_ref()
            .and_then(|details| details.error_code.as_deref());
        let says = |text: &str| self.message.contains(text);
        let spent = code == Some("enforced_spend_limit_reached")
            || says("credit balance is too low")
            || says("API usage limits");
        match (&*self.kind, status) {
            ("invalid_request_error" | "rate_limit_error", _) if spent => Kind::Quota,
            ("billing_error", _) | (_, 402) => Kind::Quota,
            ("authentication_error" | "permission_error", _) | (_, 401 | 403) => Kind::Auth,
            ("rate_limit_error", _) | (_, 429) => Kind::RateLimited,
            ("overloaded_error", _) | (_, 503 | 529) => Kind::Overloaded,
            ("timeout_error", _) | (_, 408 | 504) => Kind::Timeout,
            ("request_too_large", _) | (_, 413) => Kind::PayloadTooLarge,
            ("not_found_error", _) if says("model") => Kind::ModelNotFound,
            (_, 409) => Kind::Conflict,
            (_, 499) => Kind::Failed,
            ("invalid_request_error", 0 | 400..500)
                if says("prompt is too long") || says("exceed context limit") =>
            {
                Kind::ContextLength
            }
            ("invalid_request_error" | "not_found_error", 0) | (_, 400..500) => Kind::BadRequest,
            _ => Kind::Failed,
        }
    }

    /// The caller sees Anthropic's own words only where they are about the caller's request.
    fn into_error(self, kind: Kind) -> ProviderError {
        let error = ProviderError::new(kind);
        if kind.fault() != Fault::Caller {
            return error;
        }
        // Messages begin with the field that they are about.
        let param = self.message.split_once(": ").map(|(param, _)| param);
        let error = match param.and_then(scrub::param) {
            Some(param) => error.with_param(param),
            None => error,
        };
        match scrub::message(&self.message) {
            Some(message) => error.with_message(message),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn classify(status: u16, body: &str) -> ProviderError {
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, "7".parse().unwrap())]);
        let status = StatusCode::from_u16(status).unwrap();
        response(status, &headers, body.as_bytes())
    }

    fn said(kind: &str, message: &str) -> String {
        format!(
            r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"req_1"}}"#
        )
    }

    #[test]
    fn status_and_type_decide_together() {
        for (status, body, kind) in [
            (400, said("invalid_request_error", "max_tokens: too many"), Kind::BadRequest),
            (
                400,
                said("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
                Kind::ContextLength,
            ),
            (
                400,
                said("invalid_request_error", "Your credit balance is too low to access the API."),
                Kind::Quota,
            ),
            (
                400,
                said("invalid_request_error", "You have reached your specified API usage limits."),
                Kind::Quota,
            ),
            (401, said("authentication_error", "invalid x-api-key"), Kind::Auth),
            (402, said("billing_error", "m"), Kind::Quota),
            (403, said("permission_error", "m"), Kind::Auth),
            (404, said("not_found_error", "model: claude-x"), Kind::ModelNotFound),
            (404, said("not_found_error", "no such path"), Kind::BadRequest),
            (404, "<html>".into(), Kind::Failed),
            (409, said("conflict", "m"), Kind::Conflict),
            (413, said("request_too_large", "m"), Kind::PayloadTooLarge),
            (413, "<html>".into(), Kind::PayloadTooLarge),
            (422, said("invalid_request_error", "m"), Kind::BadRequest),
            (429, said("rate_limit_error", "m"), Kind::RateLimited),
            (
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}}"#.into(),
                Kind::Quota,
            ),
            (500, said("api_error", "m"), Kind::Failed),
            (502, "<html>bad gateway</html>".into(), Kind::Failed),
            (503, String::new(), Kind::Overloaded),
            (504, said("timeout_error", "m"), Kind::Timeout),
            (529, said("overloaded_error", "Overloaded"), Kind::Overloaded),
            (302, String::new(), Kind::Failed),
        ] {
            assert_eq!(classify(status, &body).kind(), kind, "{status} {body}");
        }
    }

    #[test]
    fn an_error_without_a_status_is_understood_by_its_type() {
        for (name, kind) in [
            ("overloaded_error", Kind::Overloaded),
            ("api_error", Kind::Failed),
            ("rate_limit_error", Kind::RateLimited),
            ("timeout_error", Kind::Timeout),
            ("invalid_request_error", Kind::BadRequest),
            ("new_error", Kind::Failed),
        ] {
            assert_eq!(body(said(name, "m").as_bytes()).kind(), kind, "{name}");
        }
        assert_eq!(page(b"<html>").kind(), Kind::Malformed);
        assert_eq!(
            page(said("overloaded_error", "m").as_bytes()).kind(),
            Kind::Overloaded
        );
    }

    #[test]
    fn only_words_about_the_request_are_passed_on() {
        let error = classify(
            400,
            &said(
                "invalid_request_error",
                "messages.0.content: bad sk-ant-1 here",
            ),
        );
        assert_eq!(
            (error.to_string().as_str(), error.param()),
            (
                "messages.0.content: bad [redacted] here",
                Some("messages.0.content")
            )
        );
        let error = classify(500, &said("api_error", "stack: trace"));
        assert_eq!(
            (error.to_string().as_str(), error.param()),
            ("the provider failed", None)
        );
    }

    #[test]
    fn a_wait_is_passed_on_where_waiting_helps() {
        for (status, wait) in [(429, Some(7)), (529, Some(7)), (500, None), (401, None)] {
            let after = classify(status, "").retry_after();
            assert_eq!(after, wait.map(Duration::from_secs), "{status}");
        }
    }
}
