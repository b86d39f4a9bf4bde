//! Who did something, as it is written down for those who read the books later.

use std::fmt;
use std::str::FromStr;

use crate::id::KeyId;

/// Whoever performed an act: a key, or the process itself.
///
/// Its text, `platform_key:<id of the key>`, `end_user_key:<id>`, `operator_key:<id>` or `system`, is what stores
/// keep. A key's id outlives the key, so that the text can be followed after a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Actor {
    /// A platform's key.
    PlatformKey(KeyId),
    /// An end user's key.
    EndUserKey(KeyId),
    /// An operator's key.
    OperatorKey(KeyId),
    /// The process, for whoever runs it: set-up, and programs that embed the gateway.
    System,
}

/// The text names no actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be `system`, or `platform_key:`, `end_user_key:` or `operator_key:` with the id of a key"
)]
pub struct ActorError;

// === impl Actor ===

impl Actor {
    /// The key that was presented.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::PlatformKey(key) | Self::EndUserKey(key) | Self::OperatorKey(key) => Some(*key),
            Self::System => None,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlatformKey(key) => write!(f, "platform_key:{key}"),
            Self::EndUserKey(key) => write!(f, "end_user_key:{key}"),
            Self::OperatorKey(key) => write!(f, "operator_key:{key}"),
            Self::System => f.write_str("system"),
        }
    }
}

impl FromStr for Actor {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, ActorError> {
        if text == "system" {
            return Ok(Self::System);
        }
        let (kind, key) = text.split_once(':').ok_or(ActorError)?;
        let key = key.parse().map_err(|_| ActorError)?;
        match kind {
            "platform_key" => Ok(Self::PlatformKey(key)),
            "end_user_key" => Ok(Self::EndUserKey(key)),
            "operator_key" => Ok(Self::OperatorKey(key)),
            _ => Err(ActorError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_read_back() {
        let key = KeyId::new();
        for actor in [
            Actor::PlatformKey(key),
            Actor::EndUserKey(key),
            Actor::OperatorKey(key),
            Actor::System,
        ] {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        for text in ["", "system:", "platform_key", "platform_key:x", "robot:1"] {
            assert_eq!(text.parse::<Actor>(), Err(ActorError), "{text}");
        }
    }
}
