//! Who asks: keys, principals, scopes, and the layer that authenticates a call.
//!
//! A scope value ([`PlatformScope`], [`OperatorScope`], …) proves that somebody was authenticated for what the
//! holder is about to do. Only this module makes one, and every store method on tenant data takes one, so a
//! query without a tenant does not compile.

mod actor;
mod cache;
mod key;
mod layer;
mod principal;
mod scope;

pub use actor::{Actor, ActorError};
pub use cache::Authenticator;
pub use key::{KeyDigest, KeyError, KeyKind, PresentedKey};
pub use layer::{Authenticate, AuthenticateLayer};
pub use principal::{Identity, KeyScope, KeyScopes, Principal};
pub use scope::{
    CallerScope, DigestScope, EndUserScope, OperatorScope, PlatformScope, SweeperScope,
};

#[cfg(any(test, feature = "testing"))]
pub(crate) use scope::testing as testing_scopes;

use crate::store::StoreError;

/// Why a caller is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No usable `Authorization: Bearer` header.
    #[error("no API key was presented; send it as `Authorization: Bearer <key>`")]
    MissingKey,
    /// Wrong shape, wrong checksum, or unknown.
    #[error("invalid or expired API key")]
    InvalidKey,
    /// Switched off.
    #[error("this API key has been revoked")]
    Revoked,
    /// Past its expiry.
    #[error("this API key has expired")]
    Expired,
    /// The platform is switched off.
    #[error("this platform is disabled")]
    PlatformDisabled,
    /// The end user is switched off.
    #[error("this end user is disabled")]
    EndUserDisabled,
    /// The route wants another kind of key.
    #[error("this route takes {wanted}, not {presented}")]
    WrongKeyType {
        /// What the route takes, for people.
        wanted: &'static str,
        /// What was presented, for people.
        presented: &'static str,
    },
    /// The path names another platform than the key's.
    #[error("this API key belongs to another platform")]
    OtherPlatform,
    /// Header and path name different platforms.
    #[error("`X-Assistiv-Platform-Id` and the path name different platforms")]
    PlatformMismatch,
    /// The key lacks a scope.
    #[error("this API key lacks the scope `{}`", required.as_str())]
    InsufficientScope {
        /// The scope that is missing.
        required: KeyScope,
    },
    /// The key could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
}
