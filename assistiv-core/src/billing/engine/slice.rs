//! The slice of one account that this node may spend: a state machine without I/O.
//!
//! Invariants, while no lane operation of the account is in flight: `available + reserved + unflushed = slot`;
//! `available` of an enforced dimension falls only by a reservation that keeps it at or above zero, or by a
//! recorded overrun. While an operation is in flight, memory is never above the durable slot: a grant is added
//! after its commit, a return is taken out before its transaction is sent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::billing::account::{AccountPolicy, Blocked};
use crate::billing::amounts::{Amounts, Dimension, Dimensions, Overflow};
use crate::billing::lease::{LeaseGrant, LeaseRequest};
use crate::id::AccountId;

/// The slice of one account.
#[derive(Debug)]
pub(crate) struct Slice {
    account: AccountId,
    state: Mutex<SliceState>,
}

#[derive(Debug)]
struct SliceState {
    /// Unknown until the first lease.
    policy: Option<AccountPolicy>,
    available: Amounts,
    reserved: Amounts,
    unflushed: Amounts,
    /// What the account had unleased at the last lease.
    free: Amounts,
    mean_hold: Amounts,
    settled_since_tick: Amounts,
    rate: Amounts,
    used_at: Instant,
    asking: bool,
}

/// Why a reservation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing is known of the account yet.
    Unknown,
    /// The account is blocked.
    Blocked(Blocked),
    /// A dimension is short.
    Short(Dimension),
}

/// What a look at a slice tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) available: Amounts,
    pub(crate) enforced: Dimensions,
    /// Whether calls in flight hold something.
    pub(crate) held: bool,
    pub(crate) policy: Option<AccountPolicy>,
}

// === impl Slice ===

impl Slice {
    pub(crate) fn new(account: AccountId) -> Self {
        let state = SliceState {
            policy: None,
            available: Amounts::ZERO,
            reserved: Amounts::ZERO,
            unflushed: Amounts::ZERO,
            free: Amounts::ZERO,
            mean_hold: Amounts::ZERO,
            settled_since_tick: Amounts::ZERO,
            rate: Amounts::ZERO,
            used_at: Instant::now(),
            asking: false,
        };
        Self {
            account,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.account
    }

    /// Sets `wanted` aside, in the dimensions that are enforced; gives back what was set aside.
    pub(crate) fn reserve(&self, wanted: Amounts) -> Result<Amounts, Refusal> {
        let mut state = self.lock();
        let policy = state.policy.ok_or(Refusal::Unknown)?;
        if policy.blocked != Blocked::No {
            return Err(Refusal::Blocked(policy.blocked));
        }
        state.used_at = Instant::now();
        let short =
            |d: &Dimension| policy.enforce.contains(*d) && state.available.get(*d) < wanted.get(*d);
        if let Some(dimension) = Dimension::ALL.into_iter().find(short) {
            return Err(Refusal::Short(dimension));
        }
        let held = masked(wanted, policy.enforce);
        state.mean_hold = mean(state.mean_hold, held);
        state.take(held);
        Ok(held)
    }

    /// Gives a reservation back.
    pub(crate) fn release(&self, held: Amounts) {
        let mut state = self.lock();
        state.reserved = minus(state.reserved, held);
        state.available = plus(state.available, held);
    }

    /// Turns a reservation into a cost that is on its way to the ledger.
    pub(crate) fn settle(&self, held: Amounts, cost: Amounts) {
        let mut state = self.lock();
        state.reserved = minus(state.reserved, held);
        state.available = minus(plus(state.available, held), cost);
        state.unflushed = plus(state.unflushed, cost);
        state.settled_since_tick = plus(state.settled_since_tick, cost);
        state.used_at = Instant::now();
    }

    /// A cost has become durable.
    pub(crate) fn flushed(&self, cost: Amounts) {
        let mut state = self.lock();
        state.unflushed = minus(state.unflushed, cost);
    }

    /// A cost that was never sent is taken back.
    pub(crate) fn unsettle(&self, cost: Amounts) {
        let mut state = self.lock();
        state.unflushed = minus(state.unflushed, cost);
        state.available = plus(state.available, cost);
    }

    /// An amount is on its way to the ledger that no reservation stands behind. Negative for a refund, which may
    /// be spent only after [`Slice::credited`].
    pub(crate) fn owe(&self, amount: Amounts) {
        let mut state = self.lock();
        state.unflushed = plus(state.unflushed, amount);
    }

    /// A refund has become durable.
    pub(crate) fn credited(&self, amount: Amounts) {
        let mut state = self.lock();
        state.available = plus(state.available, amount);
    }

    /// A lease has committed.
    pub(crate) fn leased(&self, grant: &LeaseGrant) {
        let mut state = self.lock();
        state.available = plus(state.available, grant.granted);
        state.free = grant.free;
        state.policy = Some(grant.policy);
        state.asking = false;
    }

    /// A lease failed without effect: what it was to give back is here again.
    pub(crate) fn lease_failed(&self, give_back: Amounts) {
        let mut state = self.lock();
        state.available = plus(state.available, give_back);
        state.asking = false;
    }

    /// The account is gone, or its policy must be read anew.
    pub(crate) fn forget_policy(&self) {
        self.lock().policy = None;
    }

    /// What calls that wait with `needs` lack, as a request to the account.
    pub(crate) fn request(&self, needs: Amounts) -> LeaseRequest {
        let state = self.lock();
        let demand =
            Amounts::from_fn(|d| needs.get(d).saturating_sub(state.available.get(d)).max(0));
        LeaseRequest {
            account: self.account,
            demand,
            target: state.target(),
            available: state.available,
            give_back: Amounts::ZERO,
            check: false,
        }
    }

    /// Takes everything at hand out, to be returned to the account.
    pub(crate) fn take_all(&self) -> LeaseRequest {
        let mut state = self.lock();
        let give_back = std::mem::take(&mut state.available);
        LeaseRequest::giving_back(self.account, give_back)
    }

    /// Takes everything out if the slice was idle for so long; `None` when it is in use.
    pub(crate) fn take_idle(&self, idle_since: Instant) -> Option<LeaseRequest> {
        let mut state = self.lock();
        let busy =
            state.used_at > idle_since || !state.reserved.is_zero() || !state.unflushed.is_zero();
        if busy || state.asking || state.available.is_zero() {
            return None;
        }
        let give_back = std::mem::take(&mut state.available);
        Some(LeaseRequest::giving_back(self.account, give_back))
    }

    /// Whether nothing would be lost with the slice.
    pub(crate) fn is_empty(&self, idle_since: Instant) -> bool {
        let state = self.lock();
        let zero = |a: &Amounts| a.is_zero();
        state.used_at <= idle_since
            && !state.asking
            && [state.available, state.reserved, state.unflushed]
                .iter()
                .all(zero)
    }

    /// Whether a refill should be asked for in the background; says so once until a lease comes.
    pub(crate) fn wants_refill(&self) -> bool {
        let mut state = self.lock();
        let Some(policy) = state.policy else {
            return false;
        };
        let target = state.target();
        let low = |d: Dimension| {
            policy.enforce.contains(d)
                && state.available.get(d) < target.get(d) / 2
                && state.free.get(d) > 0
        };
        let wants =
            !state.asking && policy.blocked == Blocked::No && Dimension::ALL.into_iter().any(low);
        state.asking |= wants;
        wants
    }

    /// A second has passed: notes how fast the account is spent from.
    pub(crate) fn tick(&self) {
        let mut state = self.lock();
        let settled = std::mem::take(&mut state.settled_since_tick);
        state.rate = mean(state.rate, settled);
    }

    pub(crate) fn view(&self) -> View {
        let state = self.lock();
        View {
            available: state.available,
            enforced: state
                .policy
                .map_or(Dimensions::NONE, |policy| policy.enforce),
            held: !state.reserved.is_zero(),
            policy: state.policy,
        }
    }

    /// The sum that must equal the durable slot when no lane operation is in flight.
    #[cfg(test)]
    pub(crate) fn sum(&self) -> Amounts {
        let state = self.lock();
        plus(plus(state.available, state.reserved), state.unflushed)
    }

    fn lock(&self) -> MutexGuard<'_, SliceState> {
        // No method panics while it holds the lock, and each leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SliceState {
    fn take(&mut self, held: Amounts) {
        self.available = minus(self.available, held);
        self.reserved = plus(self.reserved, held);
    }

    /// How much the node would like at hand: eight calls, or two seconds of spending.
    fn target(&self) -> Amounts {
        Amounts::from_fn(|d| {
            let calls = self.mean_hold.get(d).saturating_mul(8);
            let seconds = self
                .rate
                .get(d)
                .saturating_mul(2)
                .saturating_add(self.reserved.get(d));
            calls.max(seconds)
        })
    }
}

fn masked(amounts: Amounts, enforced: Dimensions) -> Amounts {
    Amounts::from_fn(|d| {
        if enforced.contains(d) {
            amounts.get(d)
        } else {
            0
        }
    })
}

/// A moving average that follows a change within a few steps.
fn mean(old: Amounts, new: Amounts) -> Amounts {
    Amounts::from_fn(|d| {
        let sum = i128::from(old.get(d)) * 7 + i128::from(new.get(d)) * 3;
        i64::try_from(sum / 10).unwrap_or(i64::MAX)
    })
}

/// Sums of one account stay within what the ledger can hold, which acts and grants keep in range; a sum that
/// does not is left as it was rather than wrapped, and the reconciliation shows the difference.
fn plus(a: Amounts, b: Amounts) -> Amounts {
    kept(a, a.checked_add(b))
}

fn minus(a: Amounts, b: Amounts) -> Amounts {
    kept(a, a.checked_sub(b))
}

fn kept(before: Amounts, after: Result<Amounts, Overflow>) -> Amounts {
    debug_assert!(after.is_ok(), "a slice left the range of an amount");
    after.unwrap_or(before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::billing::account::{AccountKind, Limits};

    fn grant(amount: i64) -> LeaseGrant {
        let policy = AccountPolicy {
            kind: AccountKind::Wallet,
            enforce: Dimensions::USD,
            blocked: Blocked::No,
            period_end: None,
            thresholds: Limits::default(),
        };
        let granted = Amounts::from_raw(amount, 0, 0);
        LeaseGrant {
            account: AccountId(1),
            granted,
            free: Amounts::ZERO,
            elsewhere: Amounts::ZERO,
            policy,
            reset_due: false,
        }
    }

    fn usd(amount: i64) -> Amounts {
        Amounts::from_raw(amount, 5, 0)
    }

    #[tokio::test]
    async fn reserves_no_more_than_is_there() {
        let slice = Slice::new(AccountId(1));
        assert_eq!(slice.reserve(usd(1)), Err(Refusal::Unknown));
        slice.leased(&grant(10));
        let held = slice.reserve(usd(10)).unwrap();
        assert_eq!(
            held,
            Amounts::from_raw(10, 0, 0),
            "tokens are not enforced on a wallet"
        );
        assert_eq!(slice.reserve(usd(1)), Err(Refusal::Short(Dimension::Usd)));
        slice.settle(held, Amounts::from_raw(4, 0, 0));
        assert_eq!(slice.view().available.usd.get(), 6);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Grant(i64),
        Reserve(i64),
        Release,
        Settle(i64),
        Flush,
        GiveBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0i64..100).prop_map(Step::Grant),
            (0i64..50).prop_map(Step::Reserve),
            Just(Step::Release),
            (0i64..80).prop_map(Step::Settle),
            Just(Step::Flush),
            Just(Step::GiveBack),
        ]
    }

    proptest! {
        #[test]
        fn memory_equals_the_slot_after_every_step(steps in prop::collection::vec(step(), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _guard = runtime.enter();
            let slice = Slice::new(AccountId(1));
            slice.leased(&grant(0));
            let (mut slot, mut holds, mut costs) = (0i64, Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Grant(amount) => { slice.leased(&grant(amount)); slot += amount; }
                    Step::Reserve(amount) => {
                        let before = slice.view().available.usd.get();
                        match slice.reserve(Amounts::from_raw(amount, 0, 0)) {
                            Ok(held) => { prop_assert!(before >= amount); holds.push(held); }
                            Err(_) => prop_assert!(before < amount),
                        }
                    }
                    Step::Release => if let Some(held) = holds.pop() { slice.release(held); },
                    Step::Settle(cost) => if let Some(held) = holds.pop() {
                        let cost = Amounts::from_raw(cost, 0, 0);
                        slice.settle(held, cost);
                        costs.push(cost);
                    },
                    Step::Flush => if let Some(cost) = costs.pop() { slice.flushed(cost); slot -= cost.usd.get(); },
                    Step::GiveBack => slot -= slice.take_all().give_back.usd.get(),
                }
                prop_assert_eq!(slice.sum().usd.get(), slot);
            }
        }
    }
}
