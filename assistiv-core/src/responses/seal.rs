//! What providers want to see again, as callers carry it: sealed, so that nobody but its owner can bring it back and
//! nobody can change it.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::conversation::ProviderState;
use crate::secrets::{SecretCipher, SecretPlace};

/// What every sealed state begins with. The providers' own opaque texts do not.
const PREFIX: &str = "asv1.";

/// Seals states for one owner.
#[derive(Clone)]
pub(crate) struct Seal {
    cipher: Arc<dyn SecretCipher>,
    owner: Uuid,
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    provider: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    state: &'a RawValue,
}

impl Seal {
    pub(crate) fn new(cipher: Arc<dyn SecretCipher>, owner: Uuid) -> Self {
        Self { cipher, owner }
    }

    /// The state as text for the caller.
    pub(super) fn seal(&self, state: &ProviderState) -> Option<String> {
        let envelope = Envelope {
            provider: state.provider().into(),
            state: state.json(),
        };
        let text = SecretString::from(serde_json::to_string(&envelope).ok()?);
        let sealed = self.cipher.seal(self.place(), &text).ok()?;
        Some(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// The state in a text that this owner was given; `None` for any other text.
    pub(crate) fn open(&self, text: &str) -> Option<ProviderState> {
        let sealed = BASE64_URL_SAFE_NO_PAD
            .decode(text.strip_prefix(PREFIX)?)
            .ok()?;
        let opened = self.cipher.open(self.place(), &sealed).ok()?;
        let envelope: Envelope<'_> = serde_json::from_str(opened.expose_secret()).ok()?;
        let provider: &str = &envelope.provider;
        Some(ProviderState::new(provider, envelope.state.to_owned()))
    }

    fn place(&self) -> SecretPlace {
        SecretPlace {
            table: "responses",
            column: "encrypted_content",
            row: self.owner,
        }
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}
