//! Which form of a list a caller wants.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::ACCEPT;
use http::request::Parts;

use crate::api::ApiState;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Format {
    /// Lines of cells, the first one naming the columns (RFC 4180).
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// The form of a file that the caller would rather have than a page; `None` for a page.
pub(in crate::api) struct Wanted(pub(in crate::api) Option<Format>);

impl FromRequestParts<ApiState> for Wanted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Infallible> {
        Ok(Self(wanted(&parts.headers)))
    }
}

impl Format {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    pub(super) const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// The form that `Accept` prefers; among equals the one that is named first.
fn wanted(headers: &HeaderMap) -> Option<Format> {
    let lists = headers.get_all(ACCEPT).into_iter();
    let ranges = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','));
    let mut best = (0, None);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let format = match parts.next().map(str::to_ascii_lowercase).as_deref() {
            Some("text/csv") => Some(Format::Csv),
            Some("application/x-ndjson") => Some(Format::Ndjson),
            Some("application/json" | "application/*" | "*/*") => None,
            _ => continue,
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1000, thousandths);
        if quality > best.0 {
            best = (quality, format);
        }
    }
    best.1
}

/// A quality value of HTTP; nonsense counts as no wish.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<3}");
    digits
        .parse()
        .ok()
        .filter(|quality| *quality <= 1000 && fraction.len() <= 3)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_preferred_form_wins() {
        for (accept, format) in [
            ("", None),
            ("*/*", None),
            ("application/json", None),
            ("text/html", None),
            ("text/csv", Some(Format::Csv)),
            ("TEXT/CSV; header=present", Some(Format::Csv)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            ("application/json, text/csv", None),
            ("text/csv, application/json", Some(Format::Csv)),
            ("application/json;q=0.5, text/csv;q=0.9", Some(Format::Csv)),
            ("text/csv;q=0", None),
            ("text/csv;q=x, */*;q=0.001", None),
            (
                "text/html, application/x-ndjson;q=0.1",
                Some(Format::Ndjson),
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(wanted(&headers), format, "{accept}");
        }
        assert_eq!(wanted(&HeaderMap::new()), None);
    }
}
