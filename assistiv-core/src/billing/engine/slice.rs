//! The slice of one account that this node may spend: a state machine without I/O.
//!
//! Invariants, while no lane operation of the account is in flight and no reply was lost: `available + reserved +
//! unflushed = slot`; `available` of an enforced dimension falls only by a reservation that keeps it at or above
//! zero, or by a recorded overrun. While an operation is in flight, memory is never above the durable slot: a
//! grant is added after its commit, a return is taken out before its transaction is sent.

mod arithmetic;
#[cfg(any(test, feature = "testing"))]
mod inspect;
mod low_balance;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::arithmetic::{enforced, masked, mean, minus, plus};
use crate::billing::account::{AccountKind, AccountPolicy, Blocked};
use crate::billing::amounts::{Amounts, Dimension, Dimensions};
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
    /// Unknown until the first lease, and after a message that it changed.
    policy: Option<AccountPolicy>,
    policy_version: u64,
    available: Amounts,
    reserved: Amounts,
    unflushed: Amounts,
    /// Taken out, and not returned to the account yet: the slot still has it.
    returning: Amounts,
    /// What the account had unleased at the last lease.
    free: Amounts,
    /// What other nodes held of it then.
    elsewhere: Amounts,
    /// Where everything that is left of the account was in this slice at the last lease, and nothing has gone out
    /// of it since: nobody else can have anything of it but what comes in anew.
    alone: Dimensions,
    /// A call holds all that was left, which may not pay for it: there is one at a time.
    last_in_flight: bool,
    /// The slot holds more than memory knows.
    is_dirty: bool,
    mean_hold: Amounts,
    settled_since_tick: Amounts,
    rate: Amounts,
    used_at: Instant,
    /// A refill was asked for.
    asking: bool,
    /// Something was spent since thresholds were last checked.
    unchecked: bool,
    /// The thresholds that what is known of the account is at or below.
    low: Dimensions,
    /// Counts what changed the sums.
    changes: u64,
}

/// What a call has set aside in a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) amounts: Amounts,
    /// It is all that was left, and less than the call may cost.
    pub(crate) is_last: bool,
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
    /// What calls in flight hold of the account that may come back, here and on other nodes.
    pub(crate) held: Amounts,
    pub(crate) policy: Option<AccountPolicy>,
    /// What the account had unleased at the last lease.
    pub(crate) free: Amounts,
}

/// Tells whether a policy that was read was overtaken by a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PolicyVersion(u64);

/// A moment in which no call had anything of the slice in its hands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet(u64);

// === impl View ===

impl View {
    pub(crate) fn is_unknown(&self) -> bool {
        self.policy.is_none()
    }

    /// Whether what is short of `wanted` lies in the account for the asking: others were faster with the last grant.
    pub(crate) fn has_more_for(&self, wanted: Amounts) -> bool {
        let missing = |d: Dimension| wanted.get(d).saturating_sub(self.available.get(d));
        let mut short = Dimension::ALL
            .into_iter()
            .filter(|d| self.enforced.contains(*d) && missing(*d) > 0)
            .peekable();
        short.peek().is_some() && short.all(|d| self.free.get(d) >= missing(d))
    }
}

// === impl Share ===

impl Share {
    pub(crate) fn of(amounts: Amounts) -> Self {
        Self {
            amounts,
            is_last: false,
        }
    }

    /// Adds what a further reservation has set aside.
    pub(crate) fn grow(&mut self, more: Amounts) {
        self.amounts = plus(self.amounts, more);
    }
}

// === impl Slice ===

impl Slice {
    pub(crate) fn new(account: AccountId) -> Self {
        let state = SliceState {
            policy: None,
            policy_version: 0,
            available: Amounts::ZERO,
            reserved: Amounts::ZERO,
            unflushed: Amounts::ZERO,
            returning: Amounts::ZERO,
            free: Amounts::ZERO,
            elsewhere: Amounts::ZERO,
            alone: Dimensions::NONE,
            last_in_flight: false,
            is_dirty: false,
            mean_hold: Amounts::ZERO,
            settled_since_tick: Amounts::ZERO,
            rate: Amounts::ZERO,
            used_at: Instant::now(),
            asking: false,
            unchecked: false,
            low: Dimensions::NONE,
            changes: 0,
        };
        Self {
            account,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.account
    }

    /// Sets `wanted` aside, in the dimensions that are enforced.
    pub(crate) fn reserve(&self, wanted: Amounts) -> Result<Share, Refusal> {
        self.lock().reserve(wanted)
    }

    /// The first attempt of a call, from which the slice learns what calls need.
    pub(crate) fn reserve_first(&self, wanted: Amounts) -> Result<Share, Refusal> {
        let mut state = self.lock();
        state.mean_hold = match state.mean_hold.is_zero() {
            true => wanted,
            false => mean(state.mean_hold, wanted),
        };
        state.reserve(wanted)
    }

    /// Sets all that is left aside where it is less than `wanted`: only if no other call, here or on another node,
    /// may do the same.
    pub(crate) fn reserve_rest(&self, wanted: Amounts) -> Result<Share, Refusal> {
        let mut state = self.lock();
        let policy = state.usable()?;
        let mut share = Share::default();
        for d in enforced(policy.enforce) {
            let (left, wanted) = (state.available.get(d), wanted.get(d));
            if wanted <= 0 {
                continue;
            }
            if left < wanted {
                if left <= 0 || state.last_in_flight || !state.alone.contains(d) {
                    return Err(Refusal::Short(d));
                }
                share.is_last = true;
            }
            share.amounts.set(d, left.min(wanted));
        }
        state.last_in_flight |= share.is_last;
        state.take(share.amounts);
        Ok(share)
    }

    /// Gives a reservation back.
    pub(crate) fn release(&self, share: Share) {
        let mut state = self.lock();
        state.end(share);
        state.available = plus(state.available, share.amounts);
    }

    /// Turns a reservation into a cost that is on its way to the ledger.
    pub(crate) fn settle(&self, share: Share, cost: Amounts) {
        let mut state = self.lock();
        state.end(share);
        state.available = minus(plus(state.available, share.amounts), cost);
        state.unflushed = plus(state.unflushed, cost);
        state.settled_since_tick = plus(state.settled_since_tick, cost);
        state.used_at = Instant::now();
    }

    /// A cost has become durable.
    pub(crate) fn flushed(&self, cost: Amounts) {
        let mut state = self.lock();
        state.changes += 1;
        state.unflushed = minus(state.unflushed, cost);
        state.unchecked = true;
    }

    /// A cost that was never sent is taken back.
    pub(crate) fn unsettle(&self, cost: Amounts) {
        let mut state = self.lock();
        state.changes += 1;
        state.unflushed = minus(state.unflushed, cost);
        state.available = plus(state.available, cost);
    }

    /// An amount is on its way to the ledger that no reservation stands behind. Negative for a refund, which may
    /// be spent only after [`Slice::credited`].
    pub(crate) fn owe(&self, amount: Amounts) {
        let mut state = self.lock();
        state.changes += 1;
        state.unflushed = plus(state.unflushed, amount);
    }

    /// A refund has become durable.
    pub(crate) fn credited(&self, amount: Amounts) {
        let mut state = self.lock();
        state.changes += 1;
        state.available = plus(state.available, amount);
    }

    /// What was asked for has committed. The policy counts unless it was overtaken since `asked`.
    pub(crate) fn leased(&self, grant: &LeaseGrant, asked: PolicyVersion) {
        let mut state = self.lock();
        state.asking = false;
        state.learn(grant, asked);
        // What is on its way back was still in the slot when this lease was decided; what is overdrawn, here or on
        // another node, is covered first.
        let all_here = |d: &Dimension| {
            let others = [grant.free, grant.elsewhere, state.returning];
            others.iter().all(|amounts| amounts.get(*d) == 0)
        };
        state.alone =
            (Dimension::ALL.into_iter().filter(all_here)).fold(Dimensions::NONE, Dimensions::with);
    }

    /// What was returned has committed.
    pub(crate) fn returned(&self, give_back: Amounts, grant: &LeaseGrant, asked: PolicyVersion) {
        let mut state = self.lock();
        state.returning = minus(state.returning, give_back);
        state.learn(grant, asked);
    }

    /// A lease failed without effect: what it was to give back is here again.
    pub(crate) fn lease_failed(&self, give_back: Amounts) {
        let mut state = self.lock();
        state.changes += 1;
        state.returning = minus(state.returning, give_back);
        state.available = plus(state.available, give_back);
        state.asking = false;
    }

    /// The account is no more, nor what was to be given back to it.
    pub(crate) fn gone(&self, give_back: Amounts) {
        let mut state = self.lock();
        state.changes += 1;
        state.returning = minus(state.returning, give_back);
        state.forget_policy();
        state.asking = false;
    }

    /// A lease was applied, with what it gave back; what it granted is not known.
    pub(crate) fn reply_lost(&self, give_back: Amounts) {
        let mut state = self.lock();
        state.changes += 1;
        state.returning = minus(state.returning, give_back);
        state.is_dirty = true;
        state.asking = false;
        state.forget_policy();
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.lock().is_dirty
    }

    /// A moment for reading the slot anew: a reply was lost, and no call has anything of the slice in its hands.
    pub(crate) fn quiet_and_dirty(&self) -> Option<Quiet> {
        let state = self.lock();
        let quiet = state.reserved.is_zero() && state.unflushed.is_zero();
        (state.is_dirty && quiet).then_some(Quiet(state.changes))
    }

    /// What the slot holds, as it was read since `quiet`. Counts for nothing when the slice was used meanwhile. What
    /// waits to be returned is still in the slot, and not at hand.
    pub(crate) fn recovered(&self, quiet: Quiet, slot: Amounts) {
        let mut state = self.lock();
        if state.changes == quiet.0 {
            state.available = minus(slot, state.returning);
            state.is_dirty = false;
        }
    }

    /// The account is gone, or its policy must be read anew.
    pub(crate) fn forget_policy(&self) {
        self.lock().forget_policy();
    }

    /// To be noted before a policy is read.
    pub(crate) fn policy_version(&self) -> PolicyVersion {
        PolicyVersion(self.lock().policy_version)
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

    /// Whether what is at hand suffices for `needs`. Of a blocked account nothing is needed.
    pub(crate) fn can_serve(&self, needs: Amounts) -> bool {
        let state = self.lock();
        state.policy.is_some_and(|policy| {
            policy.blocked != Blocked::No || state.short_for(&policy, needs).next().is_none()
        })
    }

    /// Whether other nodes hold something of what is short for `needs`.
    pub(crate) fn is_elsewhere(&self, needs: Amounts) -> bool {
        let state = self.lock();
        state.policy.is_some_and(|policy| {
            state
                .short_for(&policy, needs)
                .any(|d| state.elsewhere.get(d) > 0)
        })
    }

    /// Takes everything at hand out, to be returned to the account.
    pub(crate) fn take_all(&self) -> Amounts {
        self.lock().take_out(|state| state.available)
    }

    /// Takes everything out if the slice was idle for so long; `None` when it is in use.
    pub(crate) fn take_idle(&self, now: Instant, idle: Duration) -> Option<Amounts> {
        let mut state = self.lock();
        let free = state.reserved.is_zero() && state.unflushed.is_zero() && !state.asking;
        let idle = free && state.is_idle(now, idle) && !state.available.is_zero();
        idle.then(|| state.take_out(|state| state.available))
    }

    /// Takes out what is more than twice what the node would like at hand.
    pub(crate) fn take_excess(&self) -> Option<Amounts> {
        let mut state = self.lock();
        let policy = state.policy.filter(|_| !state.asking)?;
        let target = state.target_of(policy.kind);
        let excess = state.available_above(policy.enforce, |d| target.get(d).saturating_mul(2));
        (!excess.is_zero()).then(|| state.take_out(|_| excess))
    }

    /// Whether nothing would be lost with the slice.
    pub(crate) fn is_empty(&self, now: Instant, idle: Duration) -> bool {
        let state = self.lock();
        let sums = [state.available, state.reserved, state.unflushed];
        state.is_idle(now, idle)
            && !state.asking
            && !state.is_dirty
            && sums.iter().all(Amounts::is_zero)
    }

    /// Whether a refill should be asked for in the background; says so once until a lease comes.
    pub(crate) fn wants_refill(&self) -> bool {
        let mut state = self.lock();
        let Some(policy) = state.policy else {
            return false;
        };
        let target = state.target_of(policy.kind);
        let share = match policy.kind {
            AccountKind::Wallet => 2,
            AccountKind::Budget => 4,
        };
        let low =
            |d: Dimension| state.available.get(d) < target.get(d) / share && state.free.get(d) > 0;
        let wants =
            !state.asking && policy.blocked == Blocked::No && enforced(policy.enforce).any(low);
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
            held: state.held(),
            policy: state.policy,
            free: state.free,
        }
    }

    fn lock(&self) -> MutexGuard<'_, SliceState> {
        // No method panics while it holds the lock, and each leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SliceState ===

impl SliceState {
    fn usable(&self) -> Result<AccountPolicy, Refusal> {
        let policy = self.policy.ok_or(Refusal::Unknown)?;
        match policy.blocked {
            Blocked::No => Ok(policy),
            blocked => Err(Refusal::Blocked(blocked)),
        }
    }

    fn reserve(&mut self, wanted: Amounts) -> Result<Share, Refusal> {
        let policy = self.usable()?;
        if let Some(dimension) = self.short_for(&policy, wanted).next() {
            return Err(Refusal::Short(dimension));
        }
        let amounts = masked(wanted, policy.enforce);
        self.take(amounts);
        Ok(Share::of(amounts))
    }

    /// The enforced dimensions in which less is at hand than is wanted; nothing is never too much.
    fn short_for(
        &self,
        policy: &AccountPolicy,
        wanted: Amounts,
    ) -> impl Iterator<Item = Dimension> {
        let available = self.available;
        enforced(policy.enforce)
            .filter(move |d| wanted.get(*d) > 0 && available.get(*d) < wanted.get(*d))
    }

    fn take(&mut self, amounts: Amounts) {
        self.changes += 1;
        self.used_at = Instant::now();
        self.available = minus(self.available, amounts);
        self.reserved = plus(self.reserved, amounts);
    }

    fn end(&mut self, share: Share) {
        self.changes += 1;
        self.reserved = minus(self.reserved, share.amounts);
        if share.is_last {
            self.last_in_flight = false;
        }
    }

    fn take_out(&mut self, what: impl FnOnce(&Self) -> Amounts) -> Amounts {
        let amounts = what(self);
        self.changes += 1;
        self.available = minus(self.available, amounts);
        self.returning = plus(self.returning, amounts);
        // From here on another node may have it.
        self.alone = Dimensions::NONE;
        amounts
    }

    fn learn(&mut self, grant: &LeaseGrant, asked: PolicyVersion) {
        self.changes += 1;
        self.available = plus(self.available, grant.granted);
        self.free = grant.free;
        self.elsewhere = grant.elsewhere;
        if self.policy_version == asked.0 {
            self.policy = Some(grant.policy);
        }
    }

    fn forget_policy(&mut self) {
        self.policy_version += 1;
        self.policy = None;
    }

    fn is_idle(&self, now: Instant, idle: Duration) -> bool {
        now.saturating_duration_since(self.used_at) >= idle
    }

    /// What calls in flight hold: where a deficit eats it up, nothing will come back.
    fn held(&self) -> Amounts {
        Amounts::from_fn(|d| {
            let deficit = self
                .free
                .get(d)
                .min(0)
                .saturating_add(self.available.get(d).min(0));
            let held = self
                .reserved
                .get(d)
                .saturating_add(self.elsewhere.get(d).max(0));
            held.saturating_add(deficit).max(0)
        })
    }

    fn available_above(&self, dimensions: Dimensions, bound: impl Fn(Dimension) -> i64) -> Amounts {
        let above = |d: Dimension| self.available.get(d).saturating_sub(bound(d)).max(0);
        masked(Amounts::from_fn(above), dimensions)
    }

    fn target(&self) -> Amounts {
        let kind = self.policy.map(|policy| policy.kind);
        self.target_of(kind.unwrap_or(AccountKind::Budget))
    }

    /// How much the node would like at hand: eight calls; of a wallet also two seconds of spending.
    fn target_of(&self, kind: AccountKind) -> Amounts {
        Amounts::from_fn(|d| {
            let calls = self.mean_hold.get(d).saturating_mul(8);
            let spending = self
                .rate
                .get(d)
                .saturating_mul(2)
                .saturating_add(self.reserved.get(d));
            match kind {
                AccountKind::Wallet => calls.max(spending),
                AccountKind::Budget => calls,
            }
        })
    }
}
