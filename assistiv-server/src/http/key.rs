//! The key that a request presents (`docs/api-design.md`).

use assistiv_core::auth::{AuthError, PresentedKey};
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// Reads `Authorization: Bearer <key>` and checks the shape of the key. Nothing else carries a key: no query
/// string, no cookie, no other header.
///
/// # Errors
/// [`AuthError::MissingKey`] without a Bearer header, [`AuthError::InvalidKey`] when the header is repeated or
/// its key has the wrong shape.
pub(super) fn presented(headers: &HeaderMap) -> Result<PresentedKey, AuthError> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), repeated) = (sent.next(), sent.next()) else {
        return Err(AuthError::MissingKey);
    };
    if repeated.is_some() {
        return Err(AuthError::InvalidKey);
    }
    let bytes = value.as_bytes();
    let end = bytes.iter().position(|b| *b == b' ').unwrap_or(bytes.len());
    let (scheme, key) = bytes.split_at(end);
    let key = key.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"bearer") || key.is_empty() {
        return Err(AuthError::MissingKey);
    }
    let text = std::str::from_utf8(key).map_err(|_| AuthError::InvalidKey)?;
    text.parse().map_err(|_| AuthError::InvalidKey)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const KEY: &str = "sk-eu_9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c2166f9ce";

    fn read(values: &[&str]) -> Result<PresentedKey, AuthError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                AUTHORIZATION,
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        presented(&headers)
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        for scheme in ["Bearer ", "bearer ", "BEARER   "] {
            assert_eq!(read(&[&format!("{scheme}{KEY}")]).unwrap().reveal(), KEY);
        }
    }

    #[test]
    fn other_schemes_are_no_key() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            KEY,
            &format!("Basic {KEY}"),
            &format!("Bearer\t{KEY}"),
        ] {
            assert!(
                matches!(read(&[value]), Err(AuthError::MissingKey)),
                "{value}"
            );
        }
        assert!(matches!(read(&[]), Err(AuthError::MissingKey)));
    }

    #[test]
    fn bad_shapes_and_two_headers_are_invalid() {
        let good = format!("Bearer {KEY}");
        for values in [
            &[&*good, &*good][..],
            &["Basic x", &*good],
            &["Bearer x"],
            &["Bearer é"],
            &["Bearer a b"],
        ] {
            assert!(
                matches!(read(values), Err(AuthError::InvalidKey)),
                "{values:?}"
            );
        }
    }
}
