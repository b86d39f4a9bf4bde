//! Scope values: proofs of authority that store methods ask for.
//!
//! None of them can be made outside [`crate::auth`]. A backend reads the tenant from the scope and filters
//! every statement by it.

use super::Actor;
use crate::id::{EndUserId, PlatformId};

/// Authority over one platform's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformScope {
    platform_id: PlatformId,
    actor: Actor,
}

/// Authority of one end user over what is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndUserScope {
    platform: PlatformScope,
    end_user_id: EndUserId,
}

/// Authority of a caller over what its calls have made: an end user's, or a platform's with its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerScope {
    platform_id: PlatformId,
    end_user_id: Option<EndUserId>,
}

/// Authority of whoever runs the gateway, over all platforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorScope {
    actor: Actor,
}

/// Authority to find a key by its digest, before anybody is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestScope(());

/// Authority of the billing engine over nodes, slots and streams of all platforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweeperScope(());

// === impl PlatformScope ===

impl PlatformScope {
    pub(super) fn new(platform_id: PlatformId, actor: Actor) -> Self {
        Self { platform_id, actor }
    }

    /// The platform this authority is over.
    pub fn platform_id(&self) -> PlatformId {
        self.platform_id
    }

    /// Who has the authority.
    pub fn actor(&self) -> Actor {
        self.actor
    }
}

// === impl EndUserScope ===

impl EndUserScope {
    pub(super) fn new(platform: PlatformScope, end_user_id: EndUserId) -> Self {
        Self {
            platform,
            end_user_id,
        }
    }

    /// The end user's platform.
    pub fn platform(&self) -> &PlatformScope {
        &self.platform
    }

    /// The end user.
    pub fn end_user_id(&self) -> EndUserId {
        self.end_user_id
    }
}

// === impl CallerScope ===

impl CallerScope {
    pub(super) fn new(platform_id: PlatformId, end_user_id: Option<EndUserId>) -> Self {
        Self {
            platform_id,
            end_user_id,
        }
    }

    /// The caller's platform.
    pub fn platform_id(&self) -> PlatformId {
        self.platform_id
    }

    /// The end user; `None` for a platform's own key.
    pub fn end_user_id(&self) -> Option<EndUserId> {
        self.end_user_id
    }
}

// === impl OperatorScope ===

impl OperatorScope {
    pub(super) fn new(actor: Actor) -> Self {
        Self { actor }
    }

    /// Who has the authority.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// The operator's authority over one platform.
    pub fn over(&self, platform_id: PlatformId) -> PlatformScope {
        PlatformScope::new(platform_id, self.actor)
    }
}

// === impl DigestScope ===

impl DigestScope {
    pub(super) fn new() -> Self {
        Self(())
    }
}

// === impl SweeperScope ===

impl SweeperScope {
    /// The billing engine acts for nobody: it moves what is already held, and must reach every account.
    pub(crate) fn engine() -> Self {
        Self(())
    }
}

/// Scopes for the conformance suite, which stands in for authentication.
#[cfg(any(test, feature = "testing"))]
pub(crate) mod testing {
    use super::*;

    /// The operator, from whom every other scope follows.
    pub(crate) fn operator() -> OperatorScope {
        OperatorScope::new(Actor::System)
    }

    /// The digest look-up.
    pub(crate) fn digest() -> DigestScope {
        DigestScope::new()
    }

    /// A caller.
    pub(crate) fn caller(platform: PlatformId, end_user: Option<EndUserId>) -> CallerScope {
        CallerScope::new(platform, end_user)
    }

    /// The engine's authority.
    pub(crate) fn engine() -> SweeperScope {
        SweeperScope::engine()
    }
}
