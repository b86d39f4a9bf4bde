//! Until when a registration of this process may authorise: a state machine without I/O.
//!
//! Three things end it: its time runs out, the database does not answer, or it was fenced. The first two pass when
//! the database comes back in time; the third is for good, and the process registers anew.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::billing::options::{BillingOptions, OutagePolicy};

const NEVER: u64 = u64::MAX;

const LIVE: u8 = 0;
const FENCED: u8 = 1;
const HALTED: u8 = 2;

/// Who asks the database.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asker {
    Settlements = 0,
    Leases = 1,
    Heartbeat = 2,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Validity {
    /// The times below are microseconds after this.
    base: Instant,
    /// What a heartbeat is good for: less than others wait for the next one.
    good_for: Duration,
    fail_after: Duration,
    on_outage: OutagePolicy,
    state: AtomicU8,
    deadline: AtomicU64,
    /// Since when an asker has had no answer.
    unanswered: [AtomicU64; 3],
}

// === impl Validity ===

impl Validity {
    /// Of a registration that was asked for at `asked_at`. Without others on the database its time does not run out.
    pub(super) fn new(asked_at: Instant, options: &BillingOptions, is_shared: bool) -> Self {
        let validity = Self {
            base: asked_at,
            good_for: options.ttl * 4 / 5,
            fail_after: options.db_fail_after,
            on_outage: options.outage_policy,
            state: AtomicU8::new(LIVE),
            deadline: AtomicU64::new(if is_shared { 0 } else { NEVER }),
            unanswered: [const { AtomicU64::new(NEVER) }; 3],
        };
        validity.renew(asked_at);
        validity
    }

    /// Whether a call that was authorised may still be sent upstream: nobody else can own its money yet.
    pub(crate) fn is_current(&self, now: Instant) -> bool {
        self.state.load(Ordering::Acquire) == LIVE
            && self.since_base(now) < self.deadline.load(Ordering::Acquire)
    }

    /// Whether more may be authorised.
    pub(crate) fn authorises(&self, now: Instant) -> bool {
        let patience = match self.on_outage {
            OutagePolicy::FailClosed => self.fail_after,
            OutagePolicy::Grace => self.good_for,
        };
        self.is_current(now) && self.silence(now) <= patience
    }

    /// Whether the database counts as away.
    pub(crate) fn is_cut_off(&self, now: Instant) -> bool {
        self.silence(now) > self.fail_after
    }

    /// Whether a new registration should follow: not when the books refused what this one said.
    pub(super) fn is_halted(&self) -> bool {
        self.state.load(Ordering::Acquire) == HALTED
    }

    /// A heartbeat that was sent at `sent_at` has arrived. The time before it was sent counts, since nobody knows
    /// when in between it arrived.
    pub(super) fn renew(&self, sent_at: Instant) {
        let deadline = self.since_base(sent_at + self.good_for);
        self.deadline.fetch_max(deadline, Ordering::AcqRel);
    }

    /// A question is on its way.
    pub(super) fn asked(&self, asker: Asker, now: Instant) {
        let _ = self.unanswered[asker as usize].compare_exchange(
            NEVER,
            self.since_base(now),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// It was answered.
    pub(super) fn answered(&self, asker: Asker) {
        self.unanswered[asker as usize].store(NEVER, Ordering::Release);
    }

    pub(super) fn fence(&self) {
        let _ = self
            .state
            .compare_exchange(LIVE, FENCED, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn halt(&self) {
        self.state.store(HALTED, Ordering::Release);
    }

    /// For how long somebody has been waiting for the database.
    fn silence(&self, now: Instant) -> Duration {
        let now = self.since_base(now);
        let oldest = self
            .unanswered
            .iter()
            .map(|since| since.load(Ordering::Acquire))
            .min();
        Duration::from_micros(now.saturating_sub(oldest.unwrap_or(NEVER)))
    }

    fn since_base(&self, at: Instant) -> u64 {
        let micros = at.saturating_duration_since(self.base).as_micros();
        u64::try_from(micros).unwrap_or(NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_node_without_heartbeat_stops_before_others_may_sweep_it() {
        let start = Instant::now();
        let validity = Validity::new(start, &BillingOptions::default(), true);
        assert!(validity.authorises(start));
        assert!(!validity.authorises(start + 8 * SECOND));
        // Sent at 3 s, answered at 9 s: good until 11 s.
        validity.renew(start + 3 * SECOND);
        assert!(validity.authorises(start + 10 * SECOND));
        assert!(!validity.is_current(start + 11 * SECOND));
        // An answer that comes out of order takes nothing away.
        validity.renew(start + SECOND);
        assert!(validity.is_current(start + 10 * SECOND));
        validity.fence();
        assert!(!validity.is_current(start + 10 * SECOND));
    }

    #[test]
    fn an_outage_refuses_after_a_while_or_at_the_deadline() {
        let start = Instant::now();
        for (on_outage, shared, refused_after) in [
            (OutagePolicy::FailClosed, true, SECOND),
            (OutagePolicy::FailClosed, false, SECOND),
            (OutagePolicy::Grace, true, 8 * SECOND),
            (OutagePolicy::Grace, false, 9 * SECOND),
        ] {
            let options = BillingOptions {
                outage_policy: on_outage,
                ..BillingOptions::default()
            };
            let validity = Validity::new(start, &options, shared);
            validity.asked(Asker::Settlements, start);
            validity.asked(Asker::Settlements, start + SECOND);
            let half = SECOND / 2;
            assert!(validity.authorises(start + half), "{on_outage:?}");
            assert!(!validity.authorises(start + refused_after), "{on_outage:?}");
            assert!(validity.is_cut_off(start + SECOND));
            validity.answered(Asker::Settlements);
            validity.renew(start + SECOND);
            assert!(validity.authorises(start + refused_after - SECOND / 4));
        }
    }
}
