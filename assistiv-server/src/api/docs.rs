//! The API's descriptions of itself; `doc_url` of an error points to an entry of `/docs/errors`.

use std::fmt::Write;

use assistiv_core::error::Reason;
use axum::Json;
use axum::extract::State;
use axum::response::Html;
use serde_json::Value;

use super::ApiState;
use crate::reference;

/// `GET /v1/openapi.json`
pub(super) async fn openapi(State(state): State<ApiState>) -> Json<Value> {
    Json(reference::openapi(&state.docs_url))
}

/// `GET /llms.txt`
pub(super) async fn llms(State(state): State<ApiState>) -> String {
    reference::llms(&state.docs_url)
}

/// `GET /llms-full.txt`
pub(super) async fn llms_full(State(state): State<ApiState>) -> String {
    reference::llms_full(&state.docs_url)
}

/// `GET /docs`
pub(super) async fn page(State(state): State<ApiState>) -> Html<String> {
    Html(reference::page(&state.docs_url))
}

/// The page of all reasons.
pub(super) async fn errors() -> Html<String> {
    let mut page = String::from(concat!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Errors</title><h1>Errors</h1>",
        "<p>An error's <code>code</code> follows from its status; programs branch on its <code>reason</code>.</p><dl>",
    ));
    for reason in Reason::ALL {
        let (name, status, code) = (reason.as_str(), reason.status().as_u16(), reason.code());
        // Writing to a string cannot fail. Meanings use backticks for code and hold no markup of their own.
        let _ = write!(
            page,
            "<dt id=\"{name}\"><code>{name}</code> ({status} <code>{code}</code>)</dt><dd>{}</dd>",
            reason.meaning().replace('`', "")
        );
    }
    page.push_str("</dl></html>");
    Html(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_reason_has_its_entry() {
        let Html(page) = errors().await;
        for reason in Reason::ALL {
            assert!(page.contains(&format!("id=\"{}\"", reason.as_str())));
            assert!(!reason.meaning().is_empty());
        }
    }
}
