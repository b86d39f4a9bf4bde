//! The reference as a page. It needs no script.

use std::fmt::Write;

use super::operations::GROUPS;
use super::{LANGUAGES, Op};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
    code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#8881;padding:.8rem;overflow:auto}\
    h2{border-top:1px solid #8886;padding-top:1rem}summary{cursor:pointer}.verb{font-weight:600}\
    @media(prefers-color-scheme:dark){body{background:#111;color:#ddd}a{color:#8bf}}";

/// The page, for the server that is reached under `base`.
pub(crate) fn page(base: &str) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>assistiv API</title><style>{STYLE}</style><h1>assistiv API</h1><p>Base URL \
         <code>{base}</code>. The same as <a href=\"/v1/openapi.json\">OpenAPI</a>, as <a href=\"/llms-full.txt\">one text</a>, and <a \
         href=\"/docs/errors\">all reasons of errors</a>.</p><ul>",
        base = escaped(base)
    );
    for (index, group) in GROUPS.iter().enumerate() {
        let _ = write!(
            page,
            "<li><a href=\"#g{index}\">{}</a>",
            escaped(group.name)
        );
    }
    page.push_str("</ul>");
    for (index, group) in GROUPS.iter().enumerate() {
        let text = group.text.replace("{API_BASE}", base);
        let _ = write!(
            page,
            "<h2 id=\"g{index}\">{}</h2><p>{}</p>",
            escaped(group.name),
            escaped(&text)
        );
        for op in group.operations {
            describe(op, &mut page);
        }
        for ((language, _), program) in LANGUAGES.iter().zip(group.examples) {
            if !program.is_empty() {
                let program = program.replace("{API_BASE}", base);
                let _ = write!(
                    page,
                    "<details><summary>Example in {language}</summary><pre>{}</pre></details>",
                    escaped(&program)
                );
            }
        }
    }
    page.push_str("</html>");
    page
}

fn describe(op: &Op, page: &mut String) {
    let _ = write!(
        page,
        "<h3 id=\"{id}\"><span class=\"verb\">{}</span> <code>{}</code></h3><p>{}.</p>",
        op.verb.as_str(),
        escaped(op.path),
        escaped(op.summary),
        id = op.id,
    );
    let keys = op.keys();
    if !keys.is_empty() {
        let _ = write!(page, "<p>With a {}.</p>", keys.join(" or "));
    }
    let refusals: Vec<_> = op
        .refusals
        .iter()
        .map(|reason| {
            let name = reason.as_str();
            format!("<a href=\"/docs/errors#{name}\"><code>{name}</code></a>")
        })
        .collect();
    if !refusals.is_empty() {
        let _ = write!(page, "<p>Refused with {}.</p>", refusals.join(", "));
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
