//! All operations, by group.

pub(crate) mod calls;
pub(crate) mod money;
pub(crate) mod operator;
pub(crate) mod tenancy;
pub(crate) mod traffic;

use super::Group;
#[cfg(test)]
use super::Op;

/// All groups, in the order in which they are shown.
pub(crate) const GROUPS: &[Group] = &[
    calls::CALLS,
    calls::SELF,
    tenancy::PLATFORMS,
    tenancy::END_USERS,
    tenancy::KEYS,
    tenancy::ROUTING,
    money::WALLETS,
    money::BUDGETS,
    money::DISPLAY,
    traffic::RATE_LIMITS,
    traffic::LOGS,
    traffic::WEBHOOKS,
    operator::ADMINISTRATION,
    calls::MODULES,
    calls::PUBLIC,
];

/// All operations.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = &'static Op> {
    GROUPS.iter().flat_map(|group| group.operations)
}

/// The operation of an id.
#[cfg(test)]
pub(super) fn find(id: &str) -> Option<&'static Op> {
    all().find(|op| op.id == id)
}
