//! Errors in the form that Anthropic's clients read.
//!
//! Anthropic API reference, "Errors", read on 2026-11-23.

use http::StatusCode;
use serde_json::json;

use super::Problem;
use crate::call::Operation;

// === impl Problem ===

impl Problem {
    /// The JSON body in the dialect of an operation.
    pub fn to_json_for(&self, operation: Operation, request_id: &str, docs_url: &str) -> String {
        match operation {
            Operation::Messages | Operation::CountTokens => {
                self.to_messages_json(request_id, docs_url)
            }
            _ => self.to_json(request_id, docs_url),
        }
    }

    /// The JSON body `{"type":"error","error":{…},"request_id":…}`, with the gateway's own fields inside.
    pub fn to_messages_json(&self, request_id: &str, docs_url: &str) -> String {
        let reason = self.reason;
        json!({
            "type": "error",
            "error": {
                "type": self.messages_type(),
                "message": self.message,
                "code": reason.code(),
                "reason": reason.as_str(),
                "param": self.param,
                "details": self.details,
                "doc_url": format!("{docs_url}/docs/errors#{}", reason.as_str()),
            },
            "request_id": request_id,
        })
        .to_string()
    }

    /// Anthropic's word for the class of the error.
    fn messages_type(&self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::PAYMENT_REQUIRED => "billing_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            StatusCode::GATEWAY_TIMEOUT => "timeout_error",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::error::Reason;

    #[test]
    fn every_class_has_a_type_of_anthropics() {
        for (reason, kind) in [
            (Reason::INVALID_API_KEY, "authentication_error"),
            (Reason::BUDGET_EXHAUSTED, "billing_error"),
            (Reason::WRONG_KEY_TYPE, "permission_error"),
            (Reason::MODEL_NOT_FOUND, "not_found_error"),
            (Reason::PAYLOAD_TOO_LARGE, "request_too_large"),
            (Reason::PROVIDER_RATE_LIMITED, "rate_limit_error"),
            (Reason::PROVIDER_OVERLOADED, "overloaded_error"),
            (Reason::PROVIDER_TIMEOUT, "timeout_error"),
            (Reason::PROVIDER_ERROR, "api_error"),
            (Reason::INTERNAL_ERROR, "api_error"),
            (Reason::VALIDATION_FAILED, "invalid_request_error"),
            (Reason::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error"),
        ] {
            let problem = Problem::new(reason, "m").with_param("p");
            let json = problem.to_json_for(Operation::CountTokens, "req_1", "https://x");
            let json: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["type"], "error");
            assert_eq!(json["request_id"], "req_1");
            let error = &json["error"];
            assert_eq!(error["type"], kind, "{reason:?}");
            assert_eq!(error["reason"], reason.as_str());
            assert_eq!(error["code"], reason.code());
            assert_eq!(
                (error["message"].as_str(), error["param"].as_str()),
                (Some("m"), Some("p"))
            );
            let url = format!("https://x/docs/errors#{}", reason.as_str());
            assert_eq!(error["doc_url"], url);
            let other = problem.to_json_for(Operation::Embeddings, "req_1", "https://x");
            assert!(other.starts_with(r#"{"error":"#));
        }
    }
}
