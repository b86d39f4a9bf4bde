//! Cross-origin calls (`docs/api-design.md`).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::response::ResponseBody;

/// The most names that are echoed.
const NAMES_MAX: usize = 32;
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const DEFAULT_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, X-Request-Id";
const EXPOSED: &str = "X-Request-Id, request-id, X-Assistiv-Log-Id, X-Assistiv-Provider, X-Assistiv-Overhead-Us, \
    X-Assistiv-Max-Tokens, X-Assistiv-Dropped-Params, X-Assistiv-Cost-Usd, X-Assistiv-Token-Count-Method, \
    x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, \
    x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, \
    x-ratelimit-limit-requests-day, x-ratelimit-remaining-requests-day, Retry-After, x-should-retry, \
    Idempotent-Replayed, WWW-Authenticate, X-Total-Count";

/// Answers a preflight. `methods` are those of the route where they are known.
pub(super) fn preflight(
    request: &HeaderMap,
    methods: Option<&'static str>,
) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static(methods.unwrap_or(METHODS));
    let headers = response.headers_mut();
    headers.insert(ALLOW, methods.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(request));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets a browser read the answer. Credentials are never allowed: keys travel in headers, not in cookies.
pub(super) fn decorate(response: &mut HeaderMap) {
    response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
}

/// Says that answers differ by origin, whether or not this request had one.
pub(super) fn vary(response: &mut HeaderMap) {
    response.append(
        VARY,
        HeaderValue::from_static("Origin, Access-Control-Request-Headers"),
    );
}

/// Whether a browser asks on behalf of a page.
pub(super) fn is_asked(request: &HeaderMap) -> bool {
    request.contains_key(ORIGIN)
}

/// The names asked for, when all are tokens and they are not too many. A fixed list would block clients that
/// add headers of their own, and `*` does not cover `Authorization`.
fn allowed_headers(request: &HeaderMap) -> HeaderValue {
    let mut asked = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    if let (Some(value), None) = (asked.next(), asked.next())
        && are_tokens(value.as_bytes())
    {
        return value.clone();
    }
    HeaderValue::from_static(DEFAULT_HEADERS)
}

fn are_tokens(list: &[u8]) -> bool {
    // RFC 9110, section 5.6.2.
    let is_token_byte = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let mut count = 0;
    list.split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .all(|name| {
            count += 1;
            count <= NAMES_MAX && !name.is_empty() && name.iter().all(is_token_byte)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_echoed_only_as_a_whole() {
        assert!(are_tokens(b"authorization, x-stainless-os,x-a"));
        assert!(are_tokens(vec!["x"; 32].join(",").as_bytes()));
        assert!(!are_tokens(vec!["x"; 33].join(",").as_bytes()));
        for bad in ["", ",", "a,", "a b", "a,b c", "a:b", "é", "a,\"b\""] {
            assert!(!are_tokens(bad.as_bytes()), "{bad}");
        }
    }
}
