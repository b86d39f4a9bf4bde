//! Counters in memory, for a process that shares its platforms with no other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{RateCounters, Take, Taken, Window};
use crate::clock::Timestamp;
use crate::store::StoreError;

/// Counts in memory. What was counted is gone with the process.
#[derive(Debug, Default)]
pub struct MemoryCounters(Mutex<HashMap<Window, u64>>);

// === impl MemoryCounters ===

impl MemoryCounters {
    fn lock(&self) -> MutexGuard<'_, HashMap<Window, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RateCounters for MemoryCounters {
    async fn take(&self, wanted: &[Take]) -> Result<Taken, StoreError> {
        let mut counts = self.lock();
        let used = |take: &Take| counts.get(&take.window).copied().unwrap_or_default();
        let mut used: Vec<u64> = wanted.iter().map(used).collect();
        let refused = used
            .iter()
            .zip(wanted)
            .position(|(used, take)| used.saturating_add(take.amount) > take.limit);
        if refused.is_none() {
            for (used, take) in used.iter_mut().zip(wanted).filter(|(_, t)| t.amount > 0) {
                *used += take.amount;
                counts.insert(take.window, *used);
            }
        }
        Ok(Taken { used, refused })
    }

    async fn add(&self, amounts: &[(Window, i64)]) -> Result<(), StoreError> {
        let mut counts = self.lock();
        for (window, amount) in amounts {
            let used = counts.entry(*window).or_default();
            *used = used.saturating_add_signed(*amount);
        }
        Ok(())
    }

    async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        self.lock().retain(|window, _| !window.is_over(now));
        Ok(())
    }
}
