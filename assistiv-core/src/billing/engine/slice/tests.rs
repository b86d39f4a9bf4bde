//! The slice against a model, and two nodes' slices against one account.

use proptest::prelude::*;

use super::*;
use crate::billing::account::Limits;
use crate::billing::lease::grant as granted_by;

const ACCOUNT: AccountId = AccountId(1);

fn wallet() -> AccountPolicy {
    AccountPolicy {
        kind: AccountKind::Wallet,
        enforce: Dimensions::USD,
        blocked: Blocked::No,
        period_end: None,
        thresholds: Limits::default(),
    }
}

fn grant(amount: i64) -> LeaseGrant {
    LeaseGrant {
        account: ACCOUNT,
        granted: usd(amount),
        free: Amounts::ZERO,
        elsewhere: Amounts::ZERO,
        policy: wallet(),
        reset_due: false,
    }
}

fn usd(amount: i64) -> Amounts {
    Amounts::from_raw(amount, 0, 0)
}

fn leased(slice: &Slice, grant: &LeaseGrant) {
    slice.leased(grant, slice.policy_version());
}

#[test]
fn reserves_no_more_than_is_there() {
    let slice = Slice::new(ACCOUNT);
    let one = Amounts::from_raw(1, 5, 0);
    assert_eq!(slice.reserve(one), Err(Refusal::Unknown));
    leased(&slice, &grant(10));
    let held = slice.reserve(Amounts::from_raw(10, 5, 0)).unwrap();
    assert_eq!(held.amounts, usd(10), "tokens are not enforced on a wallet");
    assert_eq!(slice.reserve(one), Err(Refusal::Short(Dimension::Usd)));
    slice.settle(held, usd(4));
    assert_eq!(slice.view().available, usd(6));
}

#[test]
fn what_costs_nothing_is_never_short() {
    let slice = Slice::new(ACCOUNT);
    leased(&slice, &grant(-5));
    assert!(slice.reserve(Amounts::ZERO).is_ok());
    assert_eq!(slice.reserve(usd(1)), Err(Refusal::Short(Dimension::Usd)));
}

#[test]
fn one_call_at_a_time_takes_the_rest_and_only_alone() {
    let slice = Slice::new(ACCOUNT);
    let with = |free: i64, elsewhere: i64| LeaseGrant {
        free: usd(free),
        elsewhere: usd(elsewhere),
        ..grant(0)
    };
    leased(&slice, &grant(10));
    leased(&slice, &with(0, 1));
    assert!(
        slice.reserve_rest(usd(50)).is_err(),
        "another node holds some of it"
    );
    leased(&slice, &with(0, 0));
    let last = slice.reserve_rest(usd(50)).unwrap();
    assert!(last.is_last && last.amounts == usd(10));
    slice.returned(Amounts::ZERO, &grant(5), slice.policy_version());
    assert!(slice.reserve_rest(usd(50)).is_err(), "one is in flight");
    slice.release(last);
    let whole = slice.reserve_rest(usd(15)).unwrap();
    assert!(!whole.is_last, "it was enough");
    slice.release(whole);
    let returned = slice.take_all();
    slice.lease_failed(returned);
    assert!(
        slice.reserve_rest(usd(50)).is_err(),
        "what went out may be elsewhere now"
    );
}

/// A recall comes while a lease is on its way, and the answer to the lease is from before it.
#[test]
fn what_is_being_returned_is_not_alone_here() {
    let slice = Slice::new(ACCOUNT);
    leased(&slice, &grant(10));
    let taken = slice.take_all();
    leased(&slice, &grant(4));
    assert!(slice.reserve_rest(usd(50)).is_err(), "some goes elsewhere");
    slice.returned(taken, &grant(0), slice.policy_version());
    leased(&slice, &grant(0));
    assert!(slice.reserve_rest(usd(50)).is_ok());
}

#[test]
fn what_others_have_overdrawn_is_not_spent_again() {
    for (free, elsewhere) in [(0, -3), (-3, 0)] {
        let slice = Slice::new(ACCOUNT);
        let overdrawn = LeaseGrant {
            free: usd(free),
            elsewhere: usd(elsewhere),
            ..grant(3)
        };
        leased(&slice, &overdrawn);
        assert!(slice.reserve_rest(usd(50)).is_err(), "{free} {elsewhere}");
    }
}

#[test]
fn a_policy_that_a_message_has_overtaken_does_not_count() {
    let slice = Slice::new(ACCOUNT);
    let asked = slice.policy_version();
    slice.forget_policy();
    slice.leased(&grant(10), asked);
    assert_eq!(slice.reserve(usd(1)), Err(Refusal::Unknown));
    leased(&slice, &grant(0));
    assert!(slice.reserve(usd(1)).is_ok());
}

#[test]
fn a_lost_grant_is_found_again_when_nothing_is_in_flight() {
    let slice = Slice::new(ACCOUNT);
    leased(&slice, &grant(10));
    let held = slice.reserve(usd(4)).unwrap();
    slice.reply_lost(Amounts::ZERO);
    assert!(slice.quiet_and_dirty().is_none(), "a call has some of it");
    slice.release(held);
    let quiet = slice.quiet_and_dirty().unwrap();
    leased(&slice, &grant(0));
    slice.recovered(quiet, usd(30));
    assert_eq!(slice.view().available, usd(10), "it was used meanwhile");
    slice.recovered(slice.quiet_and_dirty().unwrap(), usd(30));
    assert_eq!(slice.view().available, usd(30));
    assert!(!slice.is_dirty());
}

/// A recall came while the reply was lost: what it took out waits for the lane, and is still in the slot.
#[test]
fn what_waits_to_be_returned_is_not_found_again() {
    let slice = Slice::new(ACCOUNT);
    leased(&slice, &grant(10));
    let taken = slice.take_all();
    slice.reply_lost(Amounts::ZERO);
    slice.recovered(slice.quiet_and_dirty().unwrap(), usd(30));
    assert_eq!(slice.view().available, usd(20));
    slice.returned(taken, &grant(0), slice.policy_version());
    assert_eq!(slice.view().available, usd(20));
    // One that was returned without anybody knowing is not in the slot any more.
    let taken = slice.take_all();
    slice.reply_lost(taken);
    slice.recovered(slice.quiet_and_dirty().unwrap(), usd(5));
    assert_eq!(slice.view().available, usd(5));
}

#[test]
fn a_wallet_refills_at_a_half_and_a_budget_at_a_quarter() {
    for (kind, at) in [(AccountKind::Wallet, 40), (AccountKind::Budget, 20)] {
        let slice = Slice::new(ACCOUNT);
        let policy = AccountPolicy { kind, ..wallet() };
        // Calls of ten: the target is 80.
        slice.reserve_first(usd(10)).unwrap_err();
        let some = LeaseGrant {
            policy,
            free: usd(1000),
            ..grant(at)
        };
        leased(&slice, &some);
        assert!(!slice.wants_refill());
        slice.reserve(usd(1)).unwrap();
        assert!(slice.wants_refill());
        assert!(!slice.wants_refill(), "it was asked for");
    }
}

#[test]
fn more_than_twice_the_target_returns() {
    let slice = Slice::new(ACCOUNT);
    slice.reserve_first(usd(10)).unwrap_err();
    leased(&slice, &grant(161));
    assert_eq!(slice.take_excess(), Some(usd(1)));
    assert_eq!(slice.take_excess(), None);
}

/// An account and the slices that nodes have of it, without database, network or time.
struct Account {
    free: i64,
    slots: [i64; 2],
}

impl Account {
    fn lease(&mut self, node: usize, slice: &Slice, request: LeaseRequest) -> i64 {
        self.free += request.give_back.usd.get();
        self.slots[node] -= request.give_back.usd.get();
        let granted = granted_by(usd(self.free), &wallet(), &request, 4).usd.get();
        self.free -= granted;
        self.slots[node] += granted;
        let grant = LeaseGrant {
            free: usd(self.free),
            elsewhere: usd(self.slots[1 - node]),
            ..grant(granted)
        };
        match request.asks() {
            true => leased(slice, &grant),
            false => slice.returned(request.give_back, &grant, slice.policy_version()),
        }
        granted
    }
}

/// Worked example E4: two nodes, ten holds of $0.10 on $1.00, the eleventh is refused.
#[test]
fn example_e4() {
    let nodes = [Slice::new(ACCOUNT), Slice::new(ACCOUNT)];
    let mut account = Account {
        free: 1_000_000_000,
        slots: [0, 0],
    };
    let hold = usd(100_000_000);
    let (a, b) = (0, 1);
    let granted = [
        (a, Some(325_000_000)),
        (b, Some(243_750_000)),
        (a, None),
        (a, None),
        (b, None),
        (b, Some(150_000_000)),
        (a, Some(126_562_500)),
        (b, Some(43_359_375)),
        (a, Some(64_160_156)),
    ];
    let shares: Vec<_> = granted
        .into_iter()
        .map(|(node, expected)| {
            let slice = &nodes[node];
            let mut first = slice.reserve_first(hold);
            assert_eq!(first.is_err(), expected.is_some());
            if let Some(expected) = expected {
                assert_eq!(account.lease(node, slice, slice.request(hold)), expected);
                first = slice.reserve(hold);
            }
            assert_eq!(
                account.free + account.slots[a] + account.slots[b],
                1_000_000_000
            );
            first.unwrap()
        })
        .collect();
    assert_eq!((shares.len(), account.free), (9, 47_167_969));

    // The tenth needs what B has at hand.
    let slice = &nodes[a];
    slice.reserve_first(hold).unwrap_err();
    account.lease(a, slice, slice.request(hold));
    assert!(!slice.can_serve(hold) && slice.is_elsewhere(hold));
    let idle = nodes[b].take_all();
    assert_eq!(idle, usd(37_109_375));
    account.lease(b, &nodes[b], LeaseRequest::giving_back(ACCOUNT, idle));
    account.lease(a, slice, slice.request(hold));
    slice.reserve(hold).unwrap();
    assert_eq!(
        (account.free, account.slots),
        (0, [600_000_000, 400_000_000])
    );

    // For the eleventh there is nothing, and something may come back.
    account.lease(a, slice, slice.request(hold));
    assert!(slice.reserve(hold).is_err() && slice.reserve_rest(hold).is_err());
    assert_eq!(slice.view().held, usd(1_000_000_000));
}

#[derive(Clone, Debug)]
enum Step {
    Grant(i64),
    Reserve(i64),
    Rest(i64),
    Release,
    Settle(i64),
    Flush,
    GiveBack,
    Excess,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0i64..100).prop_map(Step::Grant),
        (0i64..50).prop_map(Step::Reserve),
        (0i64..50).prop_map(Step::Rest),
        Just(Step::Release),
        (0i64..80).prop_map(Step::Settle),
        Just(Step::Flush),
        Just(Step::GiveBack),
        Just(Step::Excess),
    ]
}

proptest! {
    #[test]
    fn memory_equals_the_slot_after_every_step(steps in prop::collection::vec(step(), 1..60)) {
        let slice = Slice::new(ACCOUNT);
        leased(&slice, &grant(0));
        let (mut slot, mut holds, mut costs) = (0i64, Vec::new(), Vec::new());
        for step in steps {
            let before = slice.view().available.usd.get();
            match step {
                Step::Grant(amount) => { leased(&slice, &grant(amount)); slot += amount; }
                Step::Reserve(amount) => match slice.reserve_first(usd(amount)) {
                    Ok(held) => { prop_assert!(amount == 0 || before >= amount); holds.push(held); }
                    Err(_) => prop_assert!(before < amount),
                },
                Step::Rest(amount) => if let Ok(held) = slice.reserve_rest(usd(amount)) {
                    prop_assert!(held.amounts.usd.get() <= before.max(0));
                    holds.push(held);
                },
                Step::Release => if let Some(held) = holds.pop() { slice.release(held); },
                Step::Settle(cost) => if let Some(held) = holds.pop() {
                    slice.settle(held, usd(cost));
                    costs.push(usd(cost));
                },
                Step::Flush => if let Some(cost) = costs.pop() {
                    slice.flushed(cost);
                    slot -= cost.usd.get();
                },
                Step::GiveBack => slot -= slice.take_all().usd.get(),
                Step::Excess => slot -= slice.take_excess().map_or(0, |excess| excess.usd.get()),
            }
            prop_assert_eq!(slice.sum().usd.get(), slot);
            prop_assert!(holds.iter().filter(|held| held.is_last).count() <= 1);
        }
    }
}
