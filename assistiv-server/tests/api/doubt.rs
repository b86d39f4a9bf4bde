//! Charges without calls: a node that posts what a test wants, and dies.

use std::time::Duration;

use assistiv_core::billing::{
    AccountKind, Amounts, BudgetLegs, ChargeFlags, EntryKind, EntrySource, LedgerEntry, Metered,
    SettleBatch, Sweep, UnconfirmedDelivery,
};
use assistiv_core::clock::{Clock, SystemClock, Timestamp};
use assistiv_core::id::{EndUserId, EntryId, PlatformId};
use assistiv_core::json::RawObject;
use assistiv_core::money::NanoUsd;
use assistiv_core::testing::driver::debits_of;
use assistiv_core::testing::scopes;
use uuid::Uuid;

use crate::support::{App, Tenant, User};

/// Posts the charge of a call by a node of its own; amounts are magnitudes in base units.
pub(crate) async fn charge(
    app: &App,
    tenant: &Tenant,
    user: Option<&User>,
    wallet_usd: i64,
    budget_usd: i64,
    tokens: i64,
) -> String {
    charge_with(app, tenant, user, [wallet_usd, budget_usd, tokens, 0]).await
}

/// The same with a leg in display units: wallet, USD, tokens, display.
pub(crate) async fn charge_with(
    app: &App,
    tenant: &Tenant,
    user: Option<&User>,
    legs: [i64; 4],
) -> String {
    metered_charge(app, tenant, user, legs, None).await
}

/// A time a minute ago, by which calls of [`metered_charge`] have begun.
pub(crate) fn later_than(call: &str) -> String {
    let call: EntryId = call.parse().unwrap();
    let (seconds, _) = call.as_uuid().get_timestamp().unwrap().to_unix();
    let at = i64::try_from(seconds).unwrap() + 1;
    Timestamp::from_micros(at * 1_000_000).to_string()
}

/// The same with the counts that it came from. The call began a minute ago.
pub(crate) async fn metered_charge(
    app: &App,
    tenant: &Tenant,
    user: Option<&User>,
    [wallet_usd, budget_usd, tokens, display]: [i64; 4],
    metered: Option<Metered>,
) -> String {
    let ledger = &app.gateway.stores().ledger;
    let platform: PlatformId = tenant.id.parse().unwrap();
    let end_user: Option<EndUserId> = user.map(|user| user.id.parse().unwrap());
    let accounts = ledger.audit(&scopes::operator()).await.unwrap();
    let wallet = accounts
        .iter()
        .find(|row| row.platform_id == platform && row.kind == AccountKind::Wallet)
        .unwrap()
        .account;
    let budget = match end_user {
        Some(id) => {
            let scope = scopes::platform(platform);
            ledger.budget_account(&scope, id).await.unwrap()
        }
        None => None,
    };
    let entry = LedgerEntry {
        uid: a_minute_ago(),
        kind: EntryKind::Charge,
        source: EntrySource::Inference,
        platform_id: platform,
        end_user_id: end_user,
        wallet: Some((wallet, NanoUsd::new(-wallet_usd))),
        budget: budget.map(|account| BudgetLegs {
            account,
            remaining: Amounts::from_raw(-budget_usd, -tokens, -display),
            limit: Amounts::ZERO,
        }),
        refers_to: None,
        flags: ChargeFlags::default(),
        posted_by: None,
        metered,
        idempotency_key: None,
        actor: None,
        reason: None,
        metadata: RawObject::new(),
        created_at: SystemClock.now(),
    };
    let engine = scopes::engine();
    let node = ledger
        .open_node(&engine, Uuid::now_v7(), "gw-2", Duration::from_secs(60))
        .await
        .unwrap();
    let batch = SettleBatch {
        node,
        seq: 1,
        delivered_seq: 0,
        opened: Vec::new(),
        closed: Vec::new(),
        debits: debits_of(std::slice::from_ref(&entry)),
        entries: vec![entry.clone()],
    };
    ledger.settle(&engine, &batch).await.unwrap();
    entry.uid.to_string()
}

/// The id of a call that began a minute ago.
fn a_minute_ago() -> EntryId {
    let (seconds, _) = Uuid::now_v7().get_timestamp().unwrap().to_unix();
    let mut tail = [0; 10];
    tail.copy_from_slice(&Uuid::new_v4().as_bytes()[..10]);
    let id = uuid::Builder::from_unix_timestamp_millis((seconds - 60) * 1_000, &tail);
    EntryId::from_uuid(id.into_uuid())
}

/// Sweeps every node, the gateway's own among them: it makes no calls any more.
pub(crate) async fn sweep(app: &App) {
    let ledger = &app.gateway.stores().ledger;
    let policy = UnconfirmedDelivery::Stands;
    ledger
        .sweep(&scopes::engine(), Sweep::All, policy)
        .await
        .unwrap();
}
