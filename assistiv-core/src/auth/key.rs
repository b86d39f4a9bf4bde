//! The text form of API keys (`docs/api-design.md`).

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// What a key may be used for, told by its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// `sk-plat_`: the platform's servers.
    Platform,
    /// `sk-eu_`: one end user; may live in a browser.
    EndUser,
    /// `sk-admin_`: whoever runs the gateway.
    Operator,
}

/// A key as a caller presented it, with a correct shape and checksum.
///
/// The checksum guards nothing; it tells a key from a typing error without a look-up.
#[derive(Clone)]
pub struct PresentedKey {
    kind: KeyKind,
    text: SecretString,
}

/// SHA-256 of a whole key: all that is stored of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 32]);

/// The text is not a key: wrong prefix, length, alphabet or checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an API key")]
pub struct KeyError;

const SECRET_BYTES: usize = 24;
const CHECKSUM_DIGITS: usize = 8;
const SHOWN_DIGITS: usize = 8;

// === impl KeyKind ===

impl KeyKind {
    /// The prefix of the key's text.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Platform => "sk-plat_",
            Self::EndUser => "sk-eu_",
            Self::Operator => "sk-admin_",
        }
    }

    /// For messages: "an end-user key".
    pub const fn described(self) -> &'static str {
        match self {
            Self::Platform => "a platform key",
            Self::EndUser => "an end-user key",
            Self::Operator => "an operator key",
        }
    }
}

// === impl PresentedKey ===

impl PresentedKey {
    /// A fresh key from the operating system's random source.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate(kind: KeyKind) -> Result<Self, getrandom::Error> {
        let mut secret = [0u8; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        let mut text = format!("{}{}", kind.prefix(), hex::encode(secret));
        text.push_str(&checksum(&text));
        Ok(Self {
            kind,
            text: text.into(),
        })
    }

    /// What the key is for.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The digest under which the key is known.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.text.expose_secret().as_bytes()).into())
    }

    /// The leading part that may be shown and stored: type prefix and eight characters.
    pub fn shown_prefix(&self) -> String {
        self.text.expose_secret()[..self.kind.prefix().len() + SHOWN_DIGITS].to_owned()
    }

    /// The whole key, for the one answer that shows it.
    pub fn reveal(&self) -> &str {
        self.text.expose_secret()
    }
}

impl FromStr for PresentedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let kind = [KeyKind::EndUser, KeyKind::Platform, KeyKind::Operator]
            .into_iter()
            .find(|kind| text.starts_with(kind.prefix()))
            .ok_or(KeyError)?;
        let digits = &text.as_bytes()[kind.prefix().len()..];
        let well_formed = digits.len() == 2 * SECRET_BYTES + CHECKSUM_DIGITS
            && digits
                .iter()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !well_formed {
            return Err(KeyError);
        }
        let (head, sum) = text.split_at(text.len() - CHECKSUM_DIGITS);
        if checksum(head) != sum {
            return Err(KeyError);
        }
        Ok(Self {
            kind,
            text: text.into(),
        })
    }
}

impl fmt::Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({}…)", self.shown_prefix())
    }
}

/// CRC-32 (the zlib polynomial, big-endian) of everything before it, prefix included.
fn checksum(head: &str) -> String {
    format!("{:08x}", crc32fast::hash(head.as_bytes()))
}

// === impl KeyDigest ===

impl KeyDigest {
    /// Wraps a digest read from storage.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A digest is no secret, but it has no business in a log either.
impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_is_a_key() {
        let key: PresentedKey = "sk-eu_9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c2166f9ce"
            .parse()
            .unwrap();
        assert_eq!(key.kind(), KeyKind::EndUser);
        assert_eq!(key.shown_prefix(), "sk-eu_9f86d081");
        "sk-plat_4be19c0712d94a6f83c5e1b7a09f64d2e8351cb7a0f2d946aa12a19c"
            .parse::<PresentedKey>()
            .unwrap();
    }

    #[test]
    fn one_changed_character_is_refused() {
        for kind in [KeyKind::Platform, KeyKind::EndUser, KeyKind::Operator] {
            let key = PresentedKey::generate(kind).unwrap();
            let text = key.reveal();
            assert_eq!(text.parse::<PresentedKey>().unwrap().digest(), key.digest());
            for i in 0..text.len() {
                let mut bytes = text.as_bytes().to_vec();
                bytes[i] = if bytes[i] == b'0' { b'1' } else { b'0' };
                let changed = String::from_utf8(bytes).unwrap();
                assert!(changed.parse::<PresentedKey>().is_err(), "{changed}");
            }
            for bad in [
                &text[1..],
                &format!("{text}0"),
                &text.to_uppercase(),
                "",
                "sk-eu_",
                "sk-eu_é",
            ] {
                assert!(bad.parse::<PresentedKey>().is_err());
            }
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let key = PresentedKey::generate(KeyKind::EndUser).unwrap();
        assert!(!format!("{key:?}").contains(&key.reveal()[14..]));
    }
}
