//! Checks on the head of a request that hold for every route (`docs/api-design.md`).

use std::net::Ipv6Addr;
use std::sync::Arc;

use assistiv_core::Problem;
use assistiv_core::error::Reason;
use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Uri, Version, request};

use super::problem::RequestId;

const REQUEST_ID: &str = "x-request-id";
const REQUEST_ID_MAX: usize = 128;

/// The longest target and the most fields of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    pub(super) uri_bytes: usize,
    pub(super) header_count: usize,
}

/// The id under which caller and log know a request: the caller's own if it is fit to be logged, else a fresh one.
pub(super) fn request_id(headers: &HeaderMap) -> RequestId {
    let mut sent = headers.get_all(REQUEST_ID).iter();
    let (first, second) = (sent.next(), sent.next());
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if let (Some(value), None) = (first, second)
        && (1..=REQUEST_ID_MAX).contains(&value.len())
        && value.as_bytes().iter().all(allowed)
        && let Ok(text) = value.to_str()
    {
        return RequestId(text.into());
    }
    fresh_request_id()
}

/// An id for a request that brought none.
pub(super) fn fresh_request_id() -> RequestId {
    let mut text = [0; 4 + uuid::fmt::Simple::LENGTH];
    text[..4].copy_from_slice(b"req_");
    uuid::Uuid::now_v7().simple().encode_lower(&mut text[4..]);
    RequestId(Arc::from(String::from_utf8_lossy(&text)))
}

/// Checks length, number of fields, framing and `Host`.
///
/// # Errors
/// `uri_too_long`, `headers_too_large` or `invalid_request`.
pub(super) fn check(head: &request::Parts, limits: HeadLimits) -> Result<(), Problem> {
    if target_bytes(&head.uri) > limits.uri_bytes {
        let message = format!(
            "the request target must not exceed {} bytes",
            limits.uri_bytes
        );
        return Err(Problem::new(Reason::URI_TOO_LONG, message));
    }
    if head.headers.len() > limits.header_count {
        let message = format!(
            "a request must not have more than {} header fields",
            limits.header_count
        );
        return Err(Problem::new(Reason::HEADERS_TOO_LARGE, message));
    }
    if head.version < Version::HTTP_2 {
        check_framing(&head.headers)?;
        check_host(head)?;
    }
    Ok(())
}

/// Whether the method is one that some route might take. Names are case-sensitive: `get` is none.
pub(super) fn is_common(method: &Method) -> bool {
    use Method as M;
    [
        M::GET,
        M::POST,
        M::PUT,
        M::PATCH,
        M::DELETE,
        M::HEAD,
        M::OPTIONS,
    ]
    .contains(method)
}

/// Whether the caller waits for leave to send its body. Reading it would give that leave.
pub(super) fn expects_continue(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

fn target_bytes(uri: &Uri) -> usize {
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    authority + path
}

/// Other codings than `chunked`, and lists of codings, are where servers in a row disagree about where a body
/// ends.
fn check_framing(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one == "chunked" => Ok(()),
        _ => Err(Problem::new(
            Reason::INVALID_REQUEST,
            "the only `Transfer-Encoding` taken is `chunked`",
        )),
    }
}

fn check_host(head: &request::Parts) -> Result<(), Problem> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let message = match (hosts.next(), hosts.next()) {
        (None, _) if head.version < Version::HTTP_11 => return Ok(()),
        (Some(one), None) if is_host(one.as_bytes()) => return Ok(()),
        (None, _) => "the `Host` header is missing",
        (Some(_), None) => "the `Host` header is not a host with an optional port",
        (Some(_), Some(_)) => "the `Host` header is repeated",
    };
    Err(Problem::new(Reason::INVALID_REQUEST, message))
}

/// RFC 9110, section 7.2, with a name that is not empty: `uri-host [ ":" port ]`.
fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let (is_name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let end = text.find(':').unwrap_or(text.len());
            let (name, port) = text.split_at(end);
            // RFC 3986, section 3.2.2: reg-name.
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&b);
            (!name.is_empty() && name.bytes().all(allowed), port)
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    is_name && is_port
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "a",
            "api.assistiv.ai",
            "localhost:8080",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:8080",
            "a_b",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        let bad: [&[u8]; 13] = [
            b"", b":80", b"a b", b"a:b", b"a:1:2", b"a:", b"a:65536", b"[::1", b"[a]", b"[::1]x",
            b"u@a", b"a/b", b"\xff",
        ];
        for bad in bad {
            assert!(!is_host(bad), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn only_harmless_request_ids_are_echoed() {
        let id_for = |sent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(sent).unwrap());
            request_id(&headers).0.to_string()
        };
        for good in ["a", "my-id_1.2", &"x".repeat(128)] {
            assert_eq!(id_for(good), good);
        }
        for bad in ["", "a b", "a;b", "a/b", &"x".repeat(129)] {
            let made = id_for(bad);
            assert!(made.starts_with("req_") && made.len() == 36, "{made}");
        }
    }
}
