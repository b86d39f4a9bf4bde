//! Errors: what a server of OpenAI's format says, and who is at fault.
//!
//! OpenAI API reference, "Error codes"; xAI API reference, "Debugging errors" (both read on 2026-11-23). The
//! status alone does not tell: an account without credit is a 429, a refused key may be a 400, and an error in
//! the middle of a stream has no status at all.

use assistiv_core::json::Members;
use assistiv_core::provider::{Fault, ProviderError, ProviderErrorKind as Kind};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::retry_after::retry_after;
use crate::scrub;

/// Codes and types that say that the account is used up.
const QUOTA: [&str; 6] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
];

/// What an error body says.
#[derive(Debug, Default)]
struct Said {
    kind: String,
    code: String,
    /// A status that stands in the body.
    status: Option<StatusCode>,
    message: String,
    param: Option<String>,
    is_json: bool,
}

/// Understands an answer that is no success.
pub(super) fn response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
    let said = Said::read(body);
    let kind = said.kind(Some(status));
    let wait = matches!(kind, Kind::RateLimited | Kind::Overloaded).then(|| retry_after(headers));
    said.into_error(kind).with_retry_after(wait.flatten())
}

/// Understands an error that came in the body of a success.
pub(super) fn body(body: &[u8]) -> ProviderError {
    let said = Said::read(body);
    let kind = said.kind(said.status);
    said.into_error(kind)
}

/// Understands a body that came in place of an answer.
pub(super) fn page(page: &[u8]) -> ProviderError {
    let error = Members::parse_trusted(Bytes::copy_from_slice(page))
        .is_ok_and(|body| body.find("error").is_some_and(is_error));
    if error {
        body(page)
    } else {
        ProviderError::new(Kind::Malformed)
    }
}

/// Understands the `error` of a response that has failed. It has a code, and no status or type.
pub(super) fn failure(error: &str) -> ProviderError {
    let said = Said::read(format!("{{\"error\":{error}}}").as_bytes());
    let blames_the_prompt = said.code.contains("image")
        || said.code.contains("policy")
        || matches!(&*said.code, "invalid_prompt" | "data_residency_mismatch");
    let status = blames_the_prompt.then_some(StatusCode::BAD_REQUEST);
    let kind = said.kind(status.or(said.status));
    said.into_error(kind)
}

/// Whether a member named `error` reports one.
pub(super) fn is_error(member: &str) -> bool {
    !matches!(member, "null" | "false" | "0" | "\"\"" | "{}" | "[]")
}

// === impl Said ===

impl Said {
    /// Reads `{"error":{"message","type","param","code"}}`, xAI's `{"code":"…","error":"…"}`, and plain text.
    fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: Option<Value>,
            code: Option<Value>,
            message: Option<Value>,
            detail: Option<Value>,
        }
        let Ok(body) = serde_json::from_slice::<Body>(body) else {
            let message = String::from_utf8_lossy(body).into_owned();
            return Self {
                message,
                ..Self::default()
            };
        };
        let mut said = Self {
            is_json: true,
            ..Self::default()
        };
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = match &body.error {
            Some(Value::Object(error)) => {
                said.kind = text(error.get("type"));
                said.message = text(error.get("message"));
                said.param = error
                    .get("param")
                    .and_then(Value::as_str)
                    .map(str::to_owned);
                error.get("code")
            }
            Some(Value::String(message)) => {
                said.message.clone_from(message);
                body.code.as_ref()
            }
            _ => {
                said.message = text(body.message.as_ref().or(body.detail.as_ref()));
                body.code.as_ref()
            }
        };
        said.code = text(code);
        said.status = code
            .and_then(Value::as_u64)
            .and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok())
            .filter(|status| status.is_client_error() || status.is_server_error());
        said
    }

    fn kind(&self, status: Option<StatusCode>) -> Kind {
        let status = status.map_or(0, |status| status.as_u16());
        let is = |name: &str| self.code == name || self.kind == name;
        if status == 402 || QUOTA.iter().any(|name| is(name)) {
            return Kind::Quota;
        }
        if matches!(status, 401 | 403) || is("invalid_api_key") || self.blames_the_key() {
            return Kind::Auth;
        }
        if let Some(kind) = self.caller_kind(status) {
            return kind;
        }
        match status {
            429 => Kind::RateLimited,
            413 => Kind::PayloadTooLarge,
            408 | 504 => Kind::Timeout,
            503 | 529 => Kind::Overloaded,
            // A page in place of an error comes from something in between, and says nothing of the request.
            404 if !self.is_json => Kind::Failed,
            409 => Kind::Conflict,
            400..=499 => Kind::BadRequest,
            _ if is("rate_limit_exceeded") || is("slow_down") || is("rate_limit_error") => {
                Kind::RateLimited
            }
            _ if self.blames_the_load() => Kind::Overloaded,
            0 if is("invalid_request_error") => Kind::BadRequest,
            _ => Kind::Failed,
        }
    }

    /// Finer kinds of a request that is wrong. Text is looked at because compatible servers send no codes.
    fn caller_kind(&self, status: u16) -> Option<Kind> {
        let may_be_caller = status == 0 || matches!(status, 400 | 404 | 413 | 422);
        let says = |text: &str| self.is_json && self.message.contains(text);
        match &*self.code {
            "context_length_exceeded" => Some(Kind::ContextLength),
            "unsupported_parameter" => Some(Kind::UnsupportedParameter),
            "unsupported_value" => Some(Kind::UnsupportedValue),
            "model_not_found" => Some(Kind::ModelNotFound),
            _ if !may_be_caller => None,
            _ if says("maximum context length") || says("maximum prompt length") => {
                Some(Kind::ContextLength)
            }
            _ if status == 404
                && (says("model") || says("Model"))
                && (says("not exist") || says("not found")) =>
            {
                Some(Kind::ModelNotFound)
            }
            _ => None,
        }
    }

    /// xAI answers 400 for a bad key. Only the beginning counts: further in, a message may quote the caller.
    fn blames_the_key(&self) -> bool {
        self.message.starts_with("Incorrect API key") || self.message.starts_with("Invalid API key")
    }

    fn blames_the_load(&self) -> bool {
        let code = self.code.to_ascii_lowercase();
        ["overloaded", "currently unavailable", "service_unavailable"]
            .iter()
            .any(|text| code.contains(text) || self.kind.contains(text))
            || self.message.contains("overloaded")
    }

    /// The caller sees the provider's own words only where they are about the caller's request.
    fn into_error(self, kind: Kind) -> ProviderError {
        let error = ProviderError::new(kind);
        if kind.fault() != Fault::Caller {
            return error;
        }
        let error = match scrub::message(&self.message) {
            Some(message) => error.with_message(message),
            None => error,
        };
        match self.param.as_deref().and_then(scrub::param) {
            Some(param) => error.with_param(param),
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
        response(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            body.as_bytes(),
        )
    }

    #[test]
    fn status_and_code_decide_together() {
        let code = |code: &str| {
            format!(r#"{{"error":{{"message":"m","type":"t","param":null,"code":"{code}"}}}}"#)
        };
        let of_type =
            |kind: &str| format!(r#"{{"error":{{"message":"m","type":"{kind}","code":null}}}}"#);
        let xai = |code: &str, error: &str| format!(r#"{{"code":"{code}","error":"{error}"}}"#);
        for (status, body, kind) in [
            (400, code("invalid_value"), Kind::BadRequest),
            (400, code("context_length_exceeded"), Kind::ContextLength),
            (
                400,
                code("unsupported_parameter"),
                Kind::UnsupportedParameter,
            ),
            (400, code("unsupported_value"), Kind::UnsupportedValue),
            (
                400,
                xai("x", "This model's maximum prompt length is 131072"),
                Kind::ContextLength,
            ),
            (
                400,
                xai(
                    "Client specified an invalid argument",
                    "Incorrect API key provided: xa***",
                ),
                Kind::Auth,
            ),
            (
                400,
                xai("x", "you wrote: Incorrect API key"),
                Kind::BadRequest,
            ),
            (401, code("invalid_api_key"), Kind::Auth),
            (401, String::new(), Kind::Auth),
            (402, String::new(), Kind::Quota),
            (
                403,
                code("unsupported_country_region_territory"),
                Kind::Auth,
            ),
            (404, code("model_not_found"), Kind::ModelNotFound),
            (
                404,
                xai("x", "The model grok-9 does not exist"),
                Kind::ModelNotFound,
            ),
            (404, code("other"), Kind::BadRequest),
            (404, "<html>nginx</html>".into(), Kind::Failed),
            (404, String::new(), Kind::Failed),
            (408, String::new(), Kind::Timeout),
            (409, code("conflict"), Kind::Conflict),
            (413, "<html>".into(), Kind::PayloadTooLarge),
            (
                422,
                "Failed to deserialize the JSON body".into(),
                Kind::BadRequest,
            ),
            (429, code("rate_limit_exceeded"), Kind::RateLimited),
            (429, code("slow_down"), Kind::RateLimited),
            (429, String::new(), Kind::RateLimited),
            (429, of_type("insufficient_quota"), Kind::Quota),
            (429, code("project_spend_limit_exceeded"), Kind::Quota),
            (500, of_type("server_error"), Kind::Failed),
            (500, of_type("overloaded_error"), Kind::Overloaded),
            (502, "<html>bad gateway</html>".into(), Kind::Failed),
            (503, code("server_is_overloaded"), Kind::Overloaded),
            (
                503,
                xai("The service is currently unavailable", "later"),
                Kind::Overloaded,
            ),
            (504, String::new(), Kind::Timeout),
            (529, String::new(), Kind::Overloaded),
            (302, String::new(), Kind::Failed),
        ] {
            assert_eq!(classify(status, &body).kind(), kind, "{status} {body}");
        }
    }

    #[test]
    fn an_error_without_a_status_is_understood_by_its_words() {
        for (text, kind) in [
            (
                r#"{"error":{"message":"m","type":"server_error","code":null}}"#,
                Kind::Failed,
            ),
            (
                r#"{"error":{"message":"m","type":"invalid_request_error"}}"#,
                Kind::BadRequest,
            ),
            (
                r#"{"error":{"message":"m","type":"t","code":"rate_limit_exceeded"}}"#,
                Kind::RateLimited,
            ),
            (r#"{"error":{"message":"m","code":429}}"#, Kind::RateLimited),
            (r#"{"error":{"message":"m","code":502}}"#, Kind::Failed),
            (
                r#"{"code":"The service is currently unavailable","error":"later"}"#,
                Kind::Overloaded,
            ),
            (r#"{"error":true}"#, Kind::Failed),
        ] {
            assert_eq!(body(text.as_bytes()).kind(), kind, "{text}");
        }
    }

    #[test]
    fn a_failed_response_is_understood_by_its_code() {
        for (code, kind) in [
            ("server_error", Kind::Failed),
            ("rate_limit_exceeded", Kind::RateLimited),
            ("invalid_prompt", Kind::BadRequest),
            ("bio_policy", Kind::BadRequest),
            ("image_too_large", Kind::BadRequest),
            ("vector_store_timeout", Kind::Failed),
        ] {
            let error = format!(r#"{{"code":"{code}","message":"m"}}"#);
            assert_eq!(failure(&error).kind(), kind, "{code}");
        }
    }

    #[test]
    fn only_words_about_the_request_are_passed_on() {
        let error = classify(
            400,
            r#"{"error":{"message":"bad sk-abc here","type":"invalid_request_error","param":"top_p","code":"x"}}"#,
        );
        assert_eq!(
            (error.to_string().as_str(), error.param()),
            ("bad [redacted] here", Some("top_p"))
        );
        let error = classify(
            500,
            r#"{"error":{"message":"stack trace","param":"top_p"}}"#,
        );
        assert_eq!(
            (error.to_string().as_str(), error.param()),
            ("the provider failed", None)
        );
        let error = classify(400, "<html><h1>Bad request</h1></html>");
        assert_eq!(error.to_string(), "the provider refused the request");
    }

    #[test]
    fn a_wait_is_passed_on_where_waiting_helps() {
        for (status, wait) in [(429, Some(7)), (503, Some(7)), (500, None), (401, None)] {
            assert_eq!(
                classify(status, "").retry_after(),
                wait.map(Duration::from_secs),
                "{status}"
            );
        }
    }
}
