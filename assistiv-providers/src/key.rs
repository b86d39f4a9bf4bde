//! Provider keys as header values.

use assistiv_core::provider::{Credential, ProviderError, ProviderErrorKind};
use http::HeaderValue;
use secrecy::ExposeSecret;

/// The value of a header that carries a key after `scheme`.
///
/// A key with a line break in it would write headers of its own, so such a key is never sent.
///
/// # Errors
/// [`ProviderErrorKind::Auth`] for a key that cannot be one.
pub(crate) fn header(scheme: &str, credential: &Credential) -> Result<HeaderValue, ProviderError> {
    let refused = || ProviderError::new(ProviderErrorKind::Auth);
    let key = credential.secret().expose_secret();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(refused());
    }
    let mut value = HeaderValue::try_from(format!("{scheme}{key}")).map_err(|_| refused())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_writes_headers_of_its_own() {
        for key in ["", "sk-a\r\nx: y", "sk-a\0", "sk-a\t", "sk-\u{e4}"] {
            assert_eq!(
                header("", &Credential::new(key)).unwrap_err().kind(),
                ProviderErrorKind::Auth,
                "{key:?}"
            );
        }
        let value = header("Bearer ", &Credential::new("sk-a")).unwrap();
        assert!(value.is_sensitive());
        assert_eq!(value, "Bearer sk-a");
    }
}
