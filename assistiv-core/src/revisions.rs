//! Tells cached facts that have been overtaken by a change.
//!
//! A look-up notes the time of [`Revisions::begin`] before it reads the store. What it found is good while nothing
//! that it depends on has changed since: so a look-up that overlaps a change is never served after it, however the
//! two interleave.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const SHARDS: usize = 1_024;

/// Counts changes, by what they are of. Memory is bounded: keys share shards, and a change of one makes what is
/// cached of a few others be read anew.
#[derive(Debug)]
pub(crate) struct Revisions {
    clock: AtomicU64,
    changed: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// When a look-up began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Revision(u64);

impl Revisions {
    pub(crate) fn new() -> Self {
        Self {
            clock: AtomicU64::new(0),
            changed: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// To be noted before the store is read.
    pub(crate) fn begin(&self) -> Revision {
        Revision(self.clock.load(Ordering::Acquire))
    }

    /// Something of `key` has changed: what began before counts no more.
    pub(crate) fn bump(&self, key: &impl Hash) {
        let now = self.clock.fetch_add(1, Ordering::AcqRel) + 1;
        self.shard(key).fetch_max(now, Ordering::AcqRel);
    }

    /// Anything may have changed: what began before counts no more.
    pub(crate) fn bump_all(&self) {
        let now = self.clock.fetch_add(1, Ordering::AcqRel) + 1;
        for shard in &self.changed {
            shard.fetch_max(now, Ordering::AcqRel);
        }
    }

    /// Whether something of `key` has changed since a look-up began.
    pub(crate) fn changed_since(&self, key: &impl Hash, revision: Revision) -> bool {
        revision.0 < self.shard(key).load(Ordering::Acquire)
    }

    fn shard(&self, key: &impl Hash) -> &AtomicU64 {
        &self.changed[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_that_overlaps_a_change_is_overtaken() {
        let revisions = Revisions::new();
        let before = revisions.begin();
        assert!(!revisions.changed_since(&7, before));
        revisions.bump(&7);
        assert!(revisions.changed_since(&7, before));
        assert!(!revisions.changed_since(&7, revisions.begin()));
    }
}
