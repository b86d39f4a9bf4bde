//! Errors: what Google says, and who is at fault.
//!
//! Gemini API reference, "Troubleshooting", and Google's API design guide, "Errors" (both read on 2026-11-23). The
//! status alone does not tell: a key that is refused is a 400, and a daily quota that is used up is a 429 like a rate.
//! An error in the middle of a stream carries its status in its body.

use std::time::Duration;

use assistiv_core::provider::{Fault, ProviderError, ProviderErrorKind as Kind};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::retry_after::{self, retry_after};
use crate::scrub;

/// An error stands alone, or in an array of one. The array comes first: as far as serde is concerned, it could be
/// the members of the other, in order.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Many(Vec<Wrapped>),
    One(Wrapped),
}

#[derive(Deserialize)]
struct Wrapped {
    error: Said,
}

/// What an error body says.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    reason: Option<String>,
    retry_delay: Option<String>,
    violations: Vec<Violation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Violation {
    quota_id: String,
}

/// Understands an answer that is no success.
pub(super) fn response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
    let said = Said::read(body);
    let is_json = said.is_some();
    let said = said.unwrap_or_default();
    let kind = match status.as_u16() {
        // A page in place of an error comes from something in between, and says nothing of the request.
        404 if !is_json => Kind::Failed,
        status => said.kind(status),
    };
    said.into_error(kind, headers)
}

/// Understands an error that came in the body of a success.
pub(super) fn body(body: &[u8]) -> ProviderError {
    let said = Said::read(body).unwrap_or_default();
    let kind = said.kind(said.code);
    said.into_error(kind, &HeaderMap::new())
}

/// Understands a body that came in place of a stream.
pub(super) fn page(page: &[u8]) -> ProviderError {
    match Said::read(page) {
        Some(_) => body(page),
        None => ProviderError::new(Kind::Malformed),
    }
}

// === impl Said ===

impl Said {
    fn read(body: &[u8]) -> Option<Self> {
        match serde_json::from_slice(body).ok()? {
            Body::One(one) => Some(one.error),
            Body::Many(many) => many.into_iter().next().map(|one| one.error),
        }
    }

    /// `status` is 0 where there is none.
    fn kind(&self, status: u16) -> Kind {
        let says = |text: &str| self.message.contains(text);
        if self.blames_the_account() {
            return Kind::Auth;
        }
        match (&*self.status, status) {
            ("UNAUTHENTICATED" | "PERMISSION_DENIED", _) | (_, 401 | 403) => Kind::Auth,
            ("RESOURCE_EXHAUSTED", _) | (_, 429) if self.is_used_up() => Kind::Quota,
            (_, 402) => Kind::Quota,
            ("RESOURCE_EXHAUSTED", _) | (_, 429) => Kind::RateLimited,
            ("UNAVAILABLE", _) | (_, 503 | 529) => Kind::Overloaded,
            ("DEADLINE_EXCEEDED", _) | (_, 408 | 504) => Kind::Timeout,
            (_, 413) => Kind::PayloadTooLarge,
            ("ABORTED", _) | (_, 409) => Kind::Conflict,
            ("CANCELLED", _) | (_, 499) => Kind::Failed,
            ("NOT_FOUND", _) if says("models/") => Kind::ModelNotFound,
            ("INVALID_ARGUMENT" | "OUT_OF_RANGE", _) | (_, 400)
                if says("token count") && says("exceed") =>
            {
                Kind::ContextLength
            }
            ("INVALID_ARGUMENT" | "OUT_OF_RANGE" | "NOT_FOUND", _) | (_, 400..500) => {
                Kind::BadRequest
            }
            _ => Kind::Failed,
        }
    }

    /// A refused key is a 400; and where the account's region or billing stands against a call, the caller can do
    /// nothing about it.
    fn blames_the_account(&self) -> bool {
        let reasons = self.details.iter().filter_map(|it| it.reason.as_deref());
        let of_account = |reason: &str| {
            reason.starts_with("API_KEY_")
                || reason.starts_with("ACCESS_TOKEN_")
                || matches!(
                    reason,
                    "SERVICE_DISABLED"
                        | "BILLING_DISABLED"
                        | "CONSUMER_INVALID"
                        | "CONSUMER_SUSPENDED"
                )
        };
        self.status == "FAILED_PRECONDITION"
            || self.message.starts_with("API key ")
            || reasons.into_iter().any(of_account)
    }

    /// Whether waiting for a minute does not help.
    fn is_used_up(&self) -> bool {
        let violations = self.details.iter().flat_map(|detail| &detail.violations);
        violations
            .into_iter()
            .any(|it| it.quota_id.contains("PerDay"))
            || self.message.contains("credits are depleted")
            || self.message.contains("spending cap")
    }

    /// The caller sees Google's own words only where they are about the caller's request.
    fn into_error(self, kind: Kind, headers: &HeaderMap) -> ProviderError {
        let error = ProviderError::new(kind);
        if matches!(kind, Kind::RateLimited | Kind::Overloaded) {
            let delays = self
                .details
                .iter()
                .filter_map(|it| it.retry_delay.as_deref());
            let delay = delays.filter_map(seconds).max();
            return error.with_retry_after(delay.or_else(|| retry_after(headers)));
        }
        if kind.fault() != Fault::Caller {
            return error;
        }
        match scrub::message(&self.message) {
            Some(message) => error.with_message(message),
            None => error,
        }
    }
}

/// A duration as protocol buffers write it in JSON: `23.4s`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    Some(retry_after::whole_seconds(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(status: u16, body: &str) -> ProviderError {
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, "7".parse().unwrap())]);
        let status = StatusCode::from_u16(status).unwrap();
        response(status, &headers, body.as_bytes())
    }

    fn said(code: u16, status: &str, message: &str) -> String {
        format!(r#"{{"error":{{"code":{code},"message":"{message}","status":"{status}"}}}}"#)
    }

    fn detailed(code: u16, status: &str, detail: &str) -> String {
        format!(
            r#"{{"error":{{"code":{code},"message":"m","status":"{status}","details":[{{"@type":"x","new":{{}}}},{detail}]}}}}"#
        )
    }

    #[test]
    fn status_and_details_decide_together() {
        let key = r#"{"reason":"API_KEY_INVALID","domain":"googleapis.com"}"#;
        let quota = |id: &str| format!(r#"{{"violations":[{{"quotaId":"{id}"}}]}}"#);
        for (status, body, kind) in [
            (400, said(400, "INVALID_ARGUMENT", "m"), Kind::BadRequest),
            (
                400,
                format!("[{}]", said(400, "INVALID_ARGUMENT", "m")),
                Kind::BadRequest,
            ),
            (
                400,
                said(
                    400,
                    "INVALID_ARGUMENT",
                    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                ),
                Kind::ContextLength,
            ),
            (400, detailed(400, "INVALID_ARGUMENT", key), Kind::Auth),
            (
                400,
                said(
                    400,
                    "INVALID_ARGUMENT",
                    "API key not valid. Please pass a valid API key.",
                ),
                Kind::Auth,
            ),
            (
                400,
                said(400, "FAILED_PRECONDITION", "User location is not supported"),
                Kind::Auth,
            ),
            (401, said(401, "UNAUTHENTICATED", "m"), Kind::Auth),
            (403, said(403, "PERMISSION_DENIED", "m"), Kind::Auth),
            (403, String::new(), Kind::Auth),
            (
                404,
                said(404, "NOT_FOUND", "models/gemini-x is not found"),
                Kind::ModelNotFound,
            ),
            (404, said(404, "NOT_FOUND", "m"), Kind::BadRequest),
            (404, "<html>".into(), Kind::Failed),
            (409, said(409, "ABORTED", "m"), Kind::Conflict),
            (413, "<html>".into(), Kind::PayloadTooLarge),
            (429, said(429, "RESOURCE_EXHAUSTED", "m"), Kind::RateLimited),
            (
                429,
                detailed(429, "RESOURCE_EXHAUSTED", &quota("RequestsPerMinute")),
                Kind::RateLimited,
            ),
            (
                429,
                detailed(429, "RESOURCE_EXHAUSTED", &quota("GenerateRequestsPerDay")),
                Kind::Quota,
            ),
            (
                429,
                said(
                    429,
                    "RESOURCE_EXHAUSTED",
                    "Your prepayment credits are depleted.",
                ),
                Kind::Quota,
            ),
            (499, said(499, "CANCELLED", "m"), Kind::Failed),
            (500, said(500, "INTERNAL", "m"), Kind::Failed),
            (501, said(501, "UNIMPLEMENTED", "m"), Kind::Failed),
            (502, "<html>".into(), Kind::Failed),
            (
                503,
                said(503, "UNAVAILABLE", "The model is overloaded."),
                Kind::Overloaded,
            ),
            (504, said(504, "DEADLINE_EXCEEDED", "m"), Kind::Timeout),
            (302, String::new(), Kind::Failed),
        ] {
            assert_eq!(classify(status, &body).kind(), kind, "{status} {body}");
        }
    }

    #[test]
    fn an_error_without_a_status_is_understood_by_its_body() {
        for (text, kind) in [
            (said(503, "UNAVAILABLE", "m"), Kind::Overloaded),
            (said(500, "", "m"), Kind::Failed),
            (said(429, "", "m"), Kind::RateLimited),
            (said(400, "INVALID_ARGUMENT", "m"), Kind::BadRequest),
            (r#"{"error":{}}"#.into(), Kind::Failed),
        ] {
            assert_eq!(body(text.as_bytes()).kind(), kind, "{text}");
        }
        assert_eq!(page(b"<html>").kind(), Kind::Malformed);
        assert_eq!(page(b"[]").kind(), Kind::Malformed);
        let overloaded = format!("[{}]", said(503, "UNAVAILABLE", "m"));
        assert_eq!(page(overloaded.as_bytes()).kind(), Kind::Overloaded);
    }

    #[test]
    fn only_words_about_the_request_are_passed_on() {
        let error = classify(400, &said(400, "INVALID_ARGUMENT", "bad AIzaSy1 here"));
        assert_eq!(error.to_string(), "bad [redacted] here");
        let error = classify(500, &said(500, "INTERNAL", "stack: trace"));
        assert_eq!(error.to_string(), "the provider failed");
    }

    #[test]
    fn a_wait_is_passed_on_where_waiting_helps() {
        let wait = |delay: &str| format!(r#"{{"retryDelay":"{delay}"}}"#);
        for (status, body, wait) in [
            (
                429,
                detailed(429, "RESOURCE_EXHAUSTED", &wait("23.4s")),
                Some(24),
            ),
            (
                429,
                detailed(429, "RESOURCE_EXHAUSTED", &wait("0s")),
                Some(0),
            ),
            (
                429,
                detailed(429, "RESOURCE_EXHAUSTED", &wait("soon")),
                Some(7),
            ),
            (
                429,
                detailed(429, "RESOURCE_EXHAUSTED", &wait("9e99s")),
                Some(7),
            ),
            (503, String::new(), Some(7)),
            (500, detailed(500, "INTERNAL", &wait("3s")), None),
        ] {
            let after = classify(status, &body).retry_after();
            assert_eq!(after, wait.map(Duration::from_secs), "{body}");
        }
    }
}
