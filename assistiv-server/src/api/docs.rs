//! `/docs/errors`: one entry for each reason, where `doc_url` of an error points.

use std::fmt::Write;

use assistiv_core::error::Reason;
use axum::response::Html;

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
