//! The key that a request presents (`docs/api-design.md`).

use assistiv_core::auth::{AuthError, PresentedKey};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

/// The header in which Anthropic's clients send a key.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Reads `Authorization: Bearer <key>` and checks the shape of the key. Nothing else carries a key: no query
/// string, no cookie, no other header, except on the endpoints of [`or_x_api_key`].
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

/// Reads a key where Anthropic's clients call, who may send `x-api-key` instead, or both.
///
/// # Errors
/// As [`presented`]; and [`AuthError::InvalidKey`] when `x-api-key` is repeated, or when both are sent and differ.
pub(super) fn or_x_api_key(headers: &HeaderMap) -> Result<PresentedKey, AuthError> {
    let mut sent = headers.get_all(X_API_KEY).iter();
    let (Some(value), repeated) = (sent.next(), sent.next()) else {
        return presented(headers);
    };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| AuthError::InvalidKey)?;
    let key: PresentedKey = text.trim().parse().map_err(|_| AuthError::InvalidKey)?;
    if repeated.is_some() {
        return Err(AuthError::InvalidKey);
    }
    match presented(headers) {
        Ok(other) if other.reveal() != key.reveal() => Err(AuthError::InvalidKey),
        Ok(_) => Ok(key),
        Err(AuthError::MissingKey) if !headers.contains_key(AUTHORIZATION) => Ok(key),
        Err(AuthError::MissingKey) => Err(AuthError::InvalidKey),
        Err(error) => Err(error),
    }
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

    #[test]
    fn anthropics_clients_may_send_the_key_in_their_own_header() {
        const OTHER: &str = "sk-eu_2c26b46b68ffc68ff99b453c1d3041340000000000000000a2b1cf2e";
        let bearer = format!("Bearer {KEY}");
        let cases = [
            (&[KEY][..], None, Ok(())),
            (&[KEY], Some(&*bearer), Ok(())),
            (&[], Some(&*bearer), Ok(())),
            (&[], None, Err("missing")),
            (&[KEY, KEY], None, Err("invalid")),
            (&["nonsense"], Some(&*bearer), Err("invalid")),
            (&[OTHER], Some(&*bearer), Err("invalid")),
            (&[KEY], Some("Basic x"), Err("invalid")),
            (&[KEY], Some("Bearer x"), Err("invalid")),
        ];
        for (own, authorization, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in own {
                headers.append(X_API_KEY, HeaderValue::from_str(value).unwrap());
            }
            if let Some(value) = authorization {
                headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            let read = or_x_api_key(&headers)
                .map(|_| ())
                .map_err(|error| match error {
                    AuthError::MissingKey => "missing",
                    _ => "invalid",
                });
            assert_eq!(read, expected, "{own:?} {authorization:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(X_API_KEY, HeaderValue::from_static(KEY));
        assert!(matches!(presented(&headers), Err(AuthError::MissingKey)));
    }
}
