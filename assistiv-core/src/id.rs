//! Identifiers: one type for each kind of thing, so that a key id is never taken for a platform id.
//!
//! On the wire an id is a UUID in canonical lower-case text; the kind lives in the Rust type. New ids are
//! UUIDv7, which sort by time and keep indexes local.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not a UUID in canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID")]
pub struct IdError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh, time-ordered id.
            #[expect(clippy::new_without_default, reason = "a fresh id is not a default value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
            /// Wraps a UUID that is known to be of this kind.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
            /// The UUID inside.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let uuid = Uuid::try_parse(text).map_err(|_| IdError)?;
                // Only the canonical spelling names an object: one id has one text.
                if uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text { Ok(Self(uuid)) } else { Err(IdError) }
            }
        }
    };
}

id!(/** Identifies a platform (a tenant). */ PlatformId);
id!(/** Identifies an end user of a platform. */ EndUserId);
id!(/** Identifies an API key. */ KeyId);
id!(/** Identifies a platform's wallet. */ WalletId);
id!(/** Identifies an end user's budget. */ BudgetId);
id!(/** Identifies a provider of the catalogue. */ ProviderId);
id!(/** Identifies a model of the catalogue. */ ModelId);
id!(/** Identifies a version of a price. */ PriceId);
id!(/** Identifies a platform's LLM config. */ LlmConfigId);
id!(/** Identifies a webhook: an endpoint of a platform. */ WebhookId);
id!(/** Identifies a delivery of an event to a webhook. */ DeliveryId);
id!(/** Identifies an entry of the audit log. */ AuditId);
id!(/** Identifies a ledger entry; of a charge it is the id of its log row. */ EntryId);

/// Identifies one model call or paid tool call: the log row, and the ledger entry of its charge.
pub type LogId = EntryId;

/// Numbers an account of the ledger: one for each wallet, one for each budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

/// Numbers one run of one gateway process; a restart is a new node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_text_is_an_id() {
        let id = PlatformId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        let upper = id.to_string().to_uppercase();
        for text in [
            upper.as_str(),
            "",
            "x",
            &id.as_uuid().simple().to_string(),
            &format!("{{{id}}}"),
        ] {
            assert_eq!(text.parse::<PlatformId>(), Err(IdError), "{text}");
        }
    }
}
