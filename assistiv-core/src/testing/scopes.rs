//! Scopes without authentication: the suite stands in for the layer that makes them.

use crate::auth::{
    CallerScope, DigestScope, OperatorScope, PlatformScope, SweeperScope, testing_scopes,
};
use crate::id::{EndUserId, PlatformId};

/// The operator's authority.
pub fn operator() -> OperatorScope {
    testing_scopes::operator()
}

/// Authority over one platform.
pub fn platform(id: PlatformId) -> PlatformScope {
    operator().over(id)
}

/// Authority to look a key up.
pub fn digest() -> DigestScope {
    testing_scopes::digest()
}

/// A caller's authority over what its calls have made.
pub fn caller(platform: PlatformId, end_user: Option<EndUserId>) -> CallerScope {
    testing_scopes::caller(platform, end_user)
}

/// The billing engine's authority.
pub fn engine() -> SweeperScope {
    testing_scopes::engine()
}
