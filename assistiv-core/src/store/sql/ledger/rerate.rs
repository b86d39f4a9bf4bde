//! Re-rating: charges with what was done about them, and what is given back on one account.

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Select,
};
use uuid::Uuid;

use super::{account_of, acts, reset, total, write};
use crate::auth::OperatorScope;
use crate::billing::{
    ActRefusal, CallInterval, ChargeHistory, Compensation, EntryKind, LedgerEntry, Legs,
    RerateReport, Rerating, SETTLED_AFTER, UsdLeg, decide_compensation, on_leg, sum_of_owed,
};
use crate::id::{EntryId, ModelId, PriceId};
use crate::money::NanoUsd;
use crate::store::StoreError;
use crate::store::sql::entities::{account, budget, ledger, rerate, rerated, stream};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::{IN_VALUES_MAX, Inserts};
use crate::store::sql::{SqlStore, commit};

/// Whether calls of the interval may still be charged.
pub(super) async fn is_settling(
    store: &SqlStore,
    scope: &OperatorScope,
    interval: &CallInterval,
) -> Result<bool, StoreError> {
    let txn = store.begin_read().await?;
    if interval.to > super::nodes::before(store.now(), SETTLED_AFTER) {
        return Ok(true);
    }
    let (from, to) = interval.ids();
    let mut open = stream::Entity::all(scope)
        .filter(stream::Column::LogId.gte(from))
        .filter(stream::Column::LogId.lt(to));
    if let Some(platform) = interval.platform_id {
        open = open.filter(stream::Column::PlatformId.eq(platform.as_uuid()));
    }
    Ok(open.count(&txn).await.map_err(failed)? > 0)
}

/// Records a re-rating, or finds it recorded.
pub(super) async fn begin(
    store: &SqlStore,
    scope: &OperatorScope,
    rerating: &Rerating,
) -> Result<Result<Option<RerateReport>, ActRefusal>, StoreError> {
    let txn = store.begin_write().await?;
    rerate::Entity::insert(rerate::row(rerating, store.now()))
        .on_conflict(rerate::kept())
        .exec_without_returning(&txn)
        .await
        .map_err(failed)?;
    let row = one(&txn, rerate::Entity::one(scope, rerating.id)).await?;
    let hash = rerating
        .request
        .as_ref()
        .map(|(_, hash)| rerate::hash_text(*hash));
    if row.request_hash != hash {
        return Ok(Err(ActRefusal::KeyReused));
    }
    commit(txn).await?;
    row.report().map(Ok)
}

/// Keeps what came of a re-rating, once.
pub(super) async fn finish(
    store: &SqlStore,
    scope: &OperatorScope,
    report: &RerateReport,
) -> Result<RerateReport, StoreError> {
    let text =
        serde_json::to_string(report).map_err(|_| corrupt("a report that cannot be written"))?;
    let txn = store.begin_write().await?;
    rerate::Entity::update_many()
        .col_expr(rerate::Column::Report, Expr::val(text))
        .col_expr(
            rerate::Column::FinishedAt,
            Expr::val(store.now().as_micros()),
        )
        .filter(rerate::Column::Id.eq(report.id.as_uuid()))
        .filter(rerate::Column::Report.is_null())
        .exec(&txn)
        .await
        .map_err(failed)?;
    let row = one(&txn, rerate::Entity::one(scope, report.id)).await?;
    commit(txn).await?;
    row.report()?
        .ok_or_else(|| corrupt("a re-rating without its report"))
}

async fn one(
    txn: &DatabaseTransaction,
    select: Select<rerate::Entity>,
) -> Result<rerate::Model, StoreError> {
    let found = select.one(txn).await.map_err(failed)?;
    found.ok_or(StoreError::NotFound)
}

/// Charges of the interval, in the order of their ids.
pub(super) async fn calls_charged(
    store: &SqlStore,
    scope: &OperatorScope,
    interval: &CallInterval,
    besides: EntryId,
    after: Option<EntryId>,
    most: u32,
) -> Result<Vec<ChargeHistory>, StoreError> {
    let txn = store.begin_read().await?;
    let (from, to) = interval.ids();
    let mut charges = ledger::Entity::all(scope)
        .filter(ledger::Column::Uid.lt(to))
        .filter(match after {
            Some(after) => ledger::Column::Uid.gt(after.as_uuid()),
            None => ledger::Column::Uid.gte(from),
        })
        .filter(ledger::Column::Kind.eq(EntryKind::Charge as i16));
    if let Some(platform) = interval.platform_id {
        charges = charges.filter(ledger::Column::PlatformId.eq(platform.as_uuid()));
    }
    let rows = charges
        .order_by_asc(ledger::Column::Uid)
        .limit(u64::from(most))
        .all(&txn)
        .await
        .map_err(failed)?;
    histories(&txn, scope, rows, Some(besides)).await
}

/// Charges with what was done about them, in their order.
async fn histories(
    db: &impl ConnectionTrait,
    scope: &OperatorScope,
    rows: Vec<ledger::Model>,
    besides: Option<EntryId>,
) -> Result<Vec<ChargeHistory>, StoreError> {
    let uids = || rows.iter().map(|row| row.uid);
    let mut linked: HashMap<Uuid, Vec<LedgerEntry>> = HashMap::new();
    let kinds = [EntryKind::Correction as i16, EntryKind::Refund as i16];
    let referring = ledger::Entity::all(scope)
        .filter(ledger::Column::RefUid.is_in(uids()))
        .filter(ledger::Column::Kind.is_in(kinds))
        .order_by_asc(ledger::Column::Id)
        .all(db)
        .await
        .map_err(failed)?;
    for row in referring {
        if let Some(charge) = row.ref_uid {
            linked.entry(charge).or_default().push(row.into_domain()?);
        }
    }
    let mut given: HashMap<Uuid, Vec<rerated::Model>> = HashMap::new();
    let rerated = rerated::Entity::of(uids()).all(db).await.map_err(failed)?;
    for row in rerated {
        if Some(EntryId::from_uuid(row.rerate_id)) != besides {
            given.entry(row.charge).or_default().push(row);
        }
    }
    let history = |row: ledger::Model| {
        let uid = row.uid;
        let ids = row.model_id.zip(row.price_id);
        let charge = row.into_domain()?;
        let compensated = sum(&charge, given.get(&uid).into_iter().flatten())?;
        Ok(ChargeHistory {
            charge,
            priced: ids
                .map(|(model, price)| (ModelId::from_uuid(model), PriceId::from_uuid(price))),
            linked: linked.remove(&uid).unwrap_or_default(),
            compensated,
        })
    };
    rows.into_iter().map(history).collect()
}

/// What re-ratings have given back for a charge.
pub(super) async fn compensated(
    db: &impl ConnectionTrait,
    charge: &LedgerEntry,
) -> Result<Legs, StoreError> {
    let rows = rerated::Entity::of([charge.uid.as_uuid()]).all(db).await;
    sum(charge, &rows.map_err(failed)?)
}

fn sum<'a>(
    charge: &LedgerEntry,
    given: impl IntoIterator<Item = &'a rerated::Model>,
) -> Result<Legs, StoreError> {
    let wallet = charge.wallet.map(|(account, _)| account.0);
    let mut given = given.into_iter().map(|row| {
        let leg = if Some(row.account_id) == wallet {
            UsdLeg::Wallet
        } else {
            UsdLeg::Budget
        };
        on_leg(leg, NanoUsd::new(row.usd))
    });
    given
        .try_fold(Legs::ZERO, Legs::checked_add)
        .map_err(|_| corrupt("re-ratings left their range"))
}

/// Gives back what is owed on one account, once.
pub(super) async fn compensate(
    store: &SqlStore,
    scope: &OperatorScope,
    compensation: &Compensation,
) -> Result<NanoUsd, StoreError> {
    if compensation.is_dry_run {
        let txn = store.begin_read().await?;
        return run(&txn, scope, compensation, store).await;
    }
    let txn = store.begin_write().await?;
    let moved = run(&txn, scope, compensation, store).await?;
    commit(txn).await?;
    Ok(moved)
}

async fn run(
    txn: &DatabaseTransaction,
    scope: &OperatorScope,
    compensation: &Compensation,
    store: &SqlStore,
) -> Result<NanoUsd, StoreError> {
    let now = store.now();
    let is_dry_run = compensation.is_dry_run;
    let over = scope.over(compensation.platform_id);
    let mut row = match compensation.end_user_id {
        Some(end_user) => {
            let mut select = budget::Entity::of_end_user(&over, end_user)
                .filter(budget::Column::AccountId.eq(compensation.account.0));
            if !is_dry_run {
                select = select.lock_exclusive();
            }
            select.one(txn).await.map_err(failed)?
        }
        None => None,
    };
    let mut select = account::Entity::one_of(&over, compensation.account);
    if !is_dry_run {
        select = select.lock_exclusive();
    }
    let mut account = account_of(txn, select).await?;
    if let Some(moved) = moved_before(txn, scope, compensation).await? {
        return Ok(moved);
    }
    if let Some(old) = row.as_ref().filter(|_| !is_dry_run)
        && let Some(reset) = reset::apply_due(txn, old, &mut account, now).await?
    {
        row = Some(reset);
    }
    let owed = owed(txn, scope, compensation).await?;
    let sum = sum_of_owed(owed.iter().map(|(_, usd)| *usd))
        .map_err(|_| corrupt("a re-rating left its range"))?;
    let before = total(txn, &account).await?;
    let record = row.as_ref().map(budget::Model::to_domain).transpose()?;
    let state = record.as_ref().map(|record| (record, before));
    let decision = decide_compensation(compensation, sum, state, now).map_err(refused)?;
    if is_dry_run {
        return Ok(decision.free_change.usd);
    }
    match &row {
        Some(old) => {
            let written = acts::write_budget(txn, Some(old), &mut account, before, &decision, now);
            written.await.map_err(|failure| match failure {
                acts::Failure::Store(error) => error,
                acts::Failure::Refused(refusal) => refused(refusal),
            })?;
        }
        None => {
            write::decision(txn, &mut account, before, &decision, now).await?;
        }
    }
    let given = owed.into_iter().filter(|(_, usd)| !usd.is_zero());
    let rows = given.map(|(charge, usd)| rerated::row(compensation, charge, usd));
    Inserts::new(None)
        .run(txn, rows.collect())
        .await
        .map_err(failed)?;
    Ok(decision.free_change.usd)
}

/// What is owed for each charge as things stand, with the account locked.
async fn owed(
    txn: &DatabaseTransaction,
    scope: &OperatorScope,
    compensation: &Compensation,
) -> Result<Vec<(EntryId, NanoUsd)>, StoreError> {
    let mut owed = Vec::with_capacity(compensation.costs.len());
    for costs in compensation.costs.chunks(IN_VALUES_MAX) {
        let by_charge: HashMap<EntryId, NanoUsd> = costs.iter().copied().collect();
        let uids = costs.iter().map(|(charge, _)| charge.as_uuid());
        let rows = ledger::Entity::all(scope)
            .filter(ledger::Column::Uid.is_in(uids))
            .all(txn)
            .await
            .map_err(failed)?;
        for history in histories(txn, scope, rows, None).await? {
            let uid = history.charge.uid;
            if let Some(cost) = by_charge.get(&uid) {
                let usd = history.owed(compensation.leg(), *cost).map_err(refused)?;
                owed.push((uid, usd));
            }
        }
    }
    Ok(owed)
}

/// What the re-rating has moved on the account, if it was there before.
async fn moved_before(
    txn: &DatabaseTransaction,
    scope: &OperatorScope,
    compensation: &Compensation,
) -> Result<Option<NanoUsd>, StoreError> {
    let posted = ledger::Entity::all(scope)
        .filter(ledger::Column::Uid.eq(compensation.uid().as_uuid()))
        .one(txn)
        .await
        .map_err(failed)?;
    Ok(posted.map(|row| NanoUsd::new(row.wallet_usd.or(row.rem_usd).unwrap_or(0))))
}

fn refused(refusal: ActRefusal) -> StoreError {
    StoreError::Corrupt(refusal.to_string())
}
