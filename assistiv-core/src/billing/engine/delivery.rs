//! Which batches' answers were handed over.
//!
//! An answer that waited for a batch holds a token of it until its body is done. The highest number below which
//! no token is left goes with the next batch, so that after a crash the charges whose delivery cannot be proved
//! are known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the answers of each batch that are not handed over yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deliveries(Arc<Mutex<Pending>>);

#[derive(Debug, Default)]
struct Pending {
    applied: i64,
    answers: BTreeMap<i64, usize>,
}

/// Held until an answer is handed over.
#[derive(Debug)]
pub(crate) struct DeliveryToken {
    deliveries: Deliveries,
    seq: i64,
}

// === impl Deliveries ===

impl Deliveries {
    /// A batch was applied, and nobody waits for it yet.
    pub(crate) fn applied(&self, seq: i64) {
        self.with(|pending| pending.applied = seq);
    }

    /// An answer waits for a batch.
    pub(crate) fn token(&self, seq: i64) -> DeliveryToken {
        self.with(|pending| *pending.answers.entry(seq).or_default() += 1);
        DeliveryToken {
            deliveries: self.clone(),
            seq,
        }
    }

    /// The highest batch such that every answer that waited for it or an earlier one was handed over.
    pub(crate) fn delivered_seq(&self) -> i64 {
        self.with(|pending| {
            pending
                .answers
                .keys()
                .next()
                .map_or(pending.applied, |first| first - 1)
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Pending) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for DeliveryToken {
    fn drop(&mut self) {
        self.deliveries.with(|pending| {
            if let Some(count) = pending.answers.get_mut(&self.seq) {
                *count -= 1;
                if *count == 0 {
                    pending.answers.remove(&self.seq);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answer_under_way_holds_the_number_back() {
        let deliveries = Deliveries::default();
        deliveries.applied(1);
        let first = deliveries.token(1);
        deliveries.applied(2);
        let second = deliveries.token(2);
        assert_eq!(deliveries.delivered_seq(), 0);
        drop(second);
        assert_eq!(deliveries.delivered_seq(), 0);
        drop(first);
        assert_eq!(deliveries.delivered_seq(), 2);
    }
}
