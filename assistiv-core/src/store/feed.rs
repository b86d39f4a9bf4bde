//! What other nodes have changed, for whoever keeps copies of it.

use async_trait::async_trait;

use super::StoreError;
use crate::auth::SweeperScope;
use crate::id::PlatformId;

/// A change of a platform, or of something that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Its number. Numbers are used once; a change may become visible after one with a greater number.
    pub seq: i64,
    /// The platform.
    pub platform: PlatformId,
    /// What of it was changed.
    pub what: Changed,
}

/// What was changed of a platform. The numbers are those that backends store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Changed {
    /// The platform itself, one of its keys, or one of its end users.
    Holders = 1,
    /// Its LLM configs.
    Configs = 2,
    /// Prices, which are everybody's: the platform is nobody's.
    Prices = 3,
}

/// Tells nodes what others have changed: keys, platforms, end users, LLM configs.
///
/// A change is told with the act that makes it, so it cannot be lost; what nodes are told beside that is only to
/// make them look sooner.
#[async_trait]
pub trait ChangeFeed: Send + Sync + 'static {
    /// Whether other processes may use the same database. If not there is nothing to follow, and changes need not
    /// be told.
    fn is_shared(&self) -> bool;

    /// What was changed within the last minute, this node's own changes among it: callers pass over what they have
    /// seen.
    async fn recent(&self, scope: &SweeperScope) -> Result<Vec<Change>, StoreError>;

    /// Waits until something may have been changed. A hint: it may come without a change, and may not come at all.
    async fn news(&self);
}

// === impl Changed ===

impl Changed {
    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Holders, Self::Configs, Self::Prices]
            .into_iter()
            .find(|what| *what as i16 == number)
    }
}
