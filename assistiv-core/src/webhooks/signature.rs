//! Signatures of messages, after [Standard Webhooks](https://www.standardwebhooks.com) 1.0.0 (read on 2026-11-24).
//!
//! HMAC-SHA256 over `{id}.{seconds}.{body}`, base64, as `v1,…`; one for each secret, separated by a space. The headers
//! go under that standard's names and under Svix's, which mean the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// Standard Webhooks asks for 24 to 64 bytes.
const SECRET_BYTES: usize = 24;

/// The names of the headers: id, time and signature, twice.
pub const SIGNATURE_HEADERS: [HeaderName; 6] = [
    HeaderName::from_static("svix-id"),
    HeaderName::from_static("svix-timestamp"),
    HeaderName::from_static("svix-signature"),
    HeaderName::from_static("webhook-id"),
    HeaderName::from_static("webhook-timestamp"),
    HeaderName::from_static("webhook-signature"),
];

/// A secret that signs an endpoint's messages.
pub struct WebhookSecret(SecretBox<Vec<u8>>);

/// The text is no secret of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a webhook secret: `whsec_` and base64")]
pub struct WebhookSecretError;

/// What says who sent a message and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    id: String,
    seconds: String,
    signatures: String,
}

// === impl WebhookSecret ===

impl WebhookSecret {
    /// A fresh secret, as its text.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<SecretString, crate::secrets::SecretError> {
        let mut bytes = [0_u8; SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| crate::secrets::SecretError::Randomness)?;
        Ok(format!("{PREFIX}{}", STANDARD.encode(bytes)).into())
    }

    /// Reads a secret.
    ///
    /// # Errors
    /// [`WebhookSecretError`].
    pub fn parse(text: &SecretString) -> Result<Self, WebhookSecretError> {
        let encoded = text.expose_secret().strip_prefix(PREFIX);
        let key = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
        key.map(|key| Self(SecretBox::new(Box::new(key))))
            .ok_or(WebhookSecretError)
    }

    fn sign(&self, id: &str, seconds: &str, body: &[u8]) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).ok()?;
        for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
            mac.update(part);
        }
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        Some(format!("v1,{signature}"))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

// === impl SignatureHeaders ===

impl SignatureHeaders {
    /// Signs a message with every secret, at a time in seconds since 1970.
    pub fn sign(id: &str, seconds: i64, body: &[u8], secrets: &[WebhookSecret]) -> Self {
        let seconds = seconds.to_string();
        let signatures = secrets
            .iter()
            .filter_map(|secret| secret.sign(id, &seconds, body));
        Self {
            id: id.to_owned(),
            signatures: signatures.collect::<Vec<_>>().join(" "),
            seconds,
        }
    }

    /// Adds them to a request, under both sets of names.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        let values = [&self.id, &self.seconds, &self.signatures];
        for (name, value) in SIGNATURE_HEADERS
            .into_iter()
            .zip(values.into_iter().cycle())
        {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in Svix's documentation of manual verification
    /// (<https://docs.svix.com/receiving/verifying-payloads/how-manual>, read on 2026-11-24).
    #[test]
    fn the_published_vector_is_signed_alike() {
        let secret = "whsec_plJ3nmyCDGBKInavdOK15jsl".to_owned().into();
        let secret = WebhookSecret::parse(&secret).unwrap();
        let body = br#"{"event_type":"ping","data":{"success":true}}"#;
        let signed = SignatureHeaders::sign(
            "msg_loFOjxBNrRLzqYUf",
            1_731_705_121,
            body,
            std::slice::from_ref(&secret),
        );
        assert_eq!(
            signed.signatures,
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
        );
        let mut headers = HeaderMap::new();
        signed.add_to(&mut headers);
        for names in ["svix", "webhook"] {
            let header = |name: &str| {
                headers[format!("{names}-{name}")]
                    .to_str()
                    .unwrap()
                    .to_owned()
            };
            assert_eq!(header("id"), "msg_loFOjxBNrRLzqYUf");
            assert_eq!(header("timestamp"), "1731705121");
            assert_eq!(header("signature"), signed.signatures);
        }
    }

    #[test]
    fn every_secret_signs() {
        let secrets = [(); 2].map(|()| {
            let text = WebhookSecret::generate().unwrap();
            assert!(text.expose_secret().starts_with("whsec_"));
            WebhookSecret::parse(&text).unwrap()
        });
        let both = SignatureHeaders::sign("msg_1", 1, b"{}", &secrets).signatures;
        let each =
            secrets.map(|secret| SignatureHeaders::sign("msg_1", 1, b"{}", &[secret]).signatures);
        assert_eq!(both, each.join(" "));
        assert_ne!(each[0], each[1]);
    }

    #[test]
    fn other_texts_are_no_secrets() {
        for text in ["", "whsec_!", "plJ3nmyCDGBKInavdOK15jsl"] {
            let text = text.to_owned().into();
            assert!(WebhookSecret::parse(&text).is_err());
        }
    }
}
