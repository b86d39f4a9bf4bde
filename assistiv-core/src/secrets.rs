//! Sealing of stored secrets: AES-256-GCM, bound to the row that holds them.
//!
//! A sealed value is `version ‖ key version ‖ nonce ‖ ciphertext and tag`. Its associated data names table,
//! column, row and key version, so that a ciphertext which is moved to another row does not open.

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use uuid::Uuid;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const HEAD_BYTES: usize = 1 + 4 + NONCE_BYTES;

/// The place of a sealed value.
#[derive(Clone, Copy, Debug)]
pub struct SecretPlace {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row.
    pub row: Uuid,
}

/// Why a secret cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Altered, moved to another row, or sealed with another key.
    #[error("the sealed value cannot be opened with this key at this place")]
    Refused,
    /// The operating system has no randomness to give.
    #[error("no randomness is available")]
    Randomness,
}

/// Seals and opens stored secrets. A key service may stand behind it.
pub trait SecretCipher: Send + Sync + 'static {
    /// Seals a secret for a place.
    ///
    /// # Errors
    /// [`SecretError::Randomness`].
    fn seal(&self, place: SecretPlace, secret: &SecretString) -> Result<Vec<u8>, SecretError>;

    /// Opens what was sealed for that place.
    ///
    /// # Errors
    /// [`SecretError::Refused`].
    fn open(&self, place: SecretPlace, sealed: &[u8]) -> Result<SecretString, SecretError>;
}

/// The built-in cipher, with one master key.
pub struct MasterKeyCipher {
    cipher: Aes256Gcm,
    version: u32,
}

// === impl MasterKeyCipher ===

impl MasterKeyCipher {
    /// A cipher for a master key of 32 bytes.
    pub fn new(key: &SecretBox<[u8; 32]>) -> Self {
        Self {
            cipher: Aes256Gcm::new(key.expose_secret().into()),
            version: 1,
        }
    }

    /// A fresh master key from the operating system's random source.
    ///
    /// # Errors
    /// [`SecretError::Randomness`].
    pub fn generate_key() -> Result<SecretBox<[u8; 32]>, SecretError> {
        let mut key = Box::new([0u8; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| SecretError::Randomness)?;
        Ok(SecretBox::new(key))
    }

    fn associated(&self, place: SecretPlace) -> Vec<u8> {
        format!(
            "{}\0{}\0{}\0{}",
            place.table, place.column, place.row, self.version
        )
        .into_bytes()
    }
}

impl SecretCipher for MasterKeyCipher {
    fn seal(&self, place: SecretPlace, secret: &SecretString) -> Result<Vec<u8>, SecretError> {
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SecretError::Randomness)?;
        let aad = self.associated(place);
        let payload = Payload {
            msg: secret.expose_secret().as_bytes(),
            aad: &aad,
        };
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| SecretError::Refused)?;
        let mut out = Vec::with_capacity(HEAD_BYTES + sealed.len());
        out.push(FORMAT);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    fn open(&self, place: SecretPlace, sealed: &[u8]) -> Result<SecretString, SecretError> {
        let (head, ciphertext) = sealed
            .split_at_checked(HEAD_BYTES)
            .ok_or(SecretError::Refused)?;
        if head[0] != FORMAT || head[1..5] != self.version.to_be_bytes() {
            return Err(SecretError::Refused);
        }
        let nonce: [u8; NONCE_BYTES] = head[5..].try_into().map_err(|_| SecretError::Refused)?;
        let payload = Payload {
            msg: ciphertext,
            aad: &self.associated(place),
        };
        let text = self
            .cipher
            .decrypt(&Nonce::from(nonce), payload)
            .map_err(|_| SecretError::Refused)?;
        String::from_utf8(text)
            .map(SecretString::from)
            .map_err(|_| SecretError::Refused)
    }
}

impl fmt::Debug for MasterKeyCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKeyCipher")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(row: u128) -> SecretPlace {
        SecretPlace {
            table: "llm_configs",
            column: "secret",
            row: Uuid::from_u128(row),
        }
    }

    #[test]
    fn opens_only_at_its_place_unaltered_and_with_its_key() {
        let cipher = MasterKeyCipher::new(&MasterKeyCipher::generate_key().unwrap());
        let sealed = cipher
            .seal(place(1), &"sk-upstream".to_owned().into())
            .unwrap();
        assert_eq!(
            cipher.open(place(1), &sealed).unwrap().expose_secret(),
            "sk-upstream"
        );
        assert!(cipher.open(place(2), &sealed).is_err());
        assert!(
            cipher
                .open(
                    SecretPlace {
                        column: "other",
                        ..place(1)
                    },
                    &sealed
                )
                .is_err()
        );
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(cipher.open(place(1), &altered).is_err(), "byte {at}");
        }
        let other = MasterKeyCipher::new(&MasterKeyCipher::generate_key().unwrap());
        assert!(other.open(place(1), &sealed).is_err());
        assert!(cipher.open(place(1), b"").is_err());
        assert_ne!(
            sealed,
            cipher
                .seal(place(1), &"sk-upstream".to_owned().into())
                .unwrap()
        );
    }
}
