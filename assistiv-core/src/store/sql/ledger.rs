//! [`LedgerStore`] in SQL.

pub(super) mod acts;
mod audit;
pub(super) mod controls;
mod late;
mod lease;
mod locks;
mod low_balance;
mod nodes;
mod read;
mod refund;
pub(super) mod repeat;
mod rerate;
mod reset;
mod retirement;
mod settle;
mod statement;
mod sweep;
mod unconfirmed;
pub(super) mod write;

use std::time::Duration;

use async_trait::async_trait;
use sea_orm::{ColumnTrait, ConnectionTrait, QuerySelect, Select};
use uuid::Uuid;

use super::SqlStore;
use super::entities::{account, slot};
use super::error::{corrupt, failed};
use super::query::{Sums, sum};
use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::billing::{
    AccountAudit, ActContext, ActRefusal, Amounts, Applied, Budget, CallInterval, ChargeHistory,
    Compensation, Control, EntriesOf, EntryFilter, EntryWithBalance, Idempotency, Lane,
    LanePosition, LateSettlement, LeaseBatch, LeaseGrant, LedgerAct, LedgerEntry, LedgerStore,
    NodeAudit, PostedCharge, RerateReport, Rerating, Resolution, Resolved, SettleBatch, Statement,
    StatementCursor, StatementPage, Sweep, Swept, Unconfirmed, UnconfirmedDelivery,
    UnconfirmedFilter, Wallet,
};
use crate::id::{AccountId, BudgetId, EndUserId, EntryId, NodeId};
use crate::money::NanoUsd;
use crate::store::{Listed, Page, StoreError};

#[async_trait]
impl LedgerStore for SqlStore {
    fn is_shared(&self) -> bool {
        self.is_shared()
    }

    async fn open_node(
        &self,
        scope: &SweeperScope,
        instance: Uuid,
        name: &str,
        ttl: Duration,
    ) -> Result<NodeId, StoreError> {
        self.retrying(|| nodes::open(self, scope, instance, name, ttl))
            .await
    }

    async fn heartbeat(
        &self,
        scope: &SweeperScope,
        node: NodeId,
        ttl: Duration,
        acked_control: i64,
    ) -> Result<(), StoreError> {
        self.retrying(|| nodes::heartbeat(self, scope, node, ttl, acked_control))
            .await
    }

    async fn drain_node(&self, scope: &SweeperScope, node: NodeId) -> Result<(), StoreError> {
        self.retrying(|| nodes::drain(self, scope, node)).await
    }

    async fn close_node(&self, scope: &SweeperScope, node: NodeId) -> Result<(), StoreError> {
        self.retrying(|| sweep::close(self, scope, node)).await
    }

    async fn sweep(
        &self,
        scope: &SweeperScope,
        which: Sweep,
        unconfirmed: UnconfirmedDelivery,
    ) -> Result<Vec<Swept>, StoreError> {
        self.retrying(|| sweep::sweep(self, scope, which, unconfirmed))
            .await
    }

    async fn settle_late(
        &self,
        scope: &SweeperScope,
        exact: &LedgerEntry,
    ) -> Result<LateSettlement, StoreError> {
        self.retrying(|| late::settle(self, scope, exact)).await
    }

    async fn slot(
        &self,
        scope: &SweeperScope,
        node: NodeId,
        account: AccountId,
    ) -> Result<Amounts, StoreError> {
        nodes::slot(self, scope, node, account).await
    }

    async fn recall(&self, scope: &SweeperScope, account: AccountId) -> Result<i64, StoreError> {
        self.retrying(|| controls::recall(self, scope, account))
            .await
    }

    async fn controls(&self, scope: &SweeperScope) -> Result<Vec<Control>, StoreError> {
        controls::shown(self, scope).await
    }

    async fn is_acked(
        &self,
        scope: &SweeperScope,
        seq: i64,
        except: Option<NodeId>,
    ) -> Result<bool, StoreError> {
        nodes::have_acked(self, scope, seq, except).await
    }

    async fn due_periods(
        &self,
        scope: &SweeperScope,
        most: u32,
    ) -> Result<Vec<AccountId>, StoreError> {
        reset::due(self, scope, most).await
    }

    async fn prune_controls(&self, scope: &SweeperScope) -> Result<u64, StoreError> {
        self.retrying(|| controls::prune(self, scope)).await
    }

    async fn lane(
        &self,
        scope: &SweeperScope,
        node: NodeId,
        lane: Lane,
    ) -> Result<LanePosition, StoreError> {
        nodes::lane(self, scope, node, lane).await
    }

    async fn settle(&self, scope: &SweeperScope, batch: &SettleBatch) -> Result<(), StoreError> {
        settle::settle(self, scope, batch).await
    }

    async fn lease(
        &self,
        scope: &SweeperScope,
        batch: &LeaseBatch,
    ) -> Result<Vec<LeaseGrant>, StoreError> {
        lease::lease(self, scope, batch).await
    }

    async fn reset_period(
        &self,
        scope: &SweeperScope,
        account: AccountId,
    ) -> Result<bool, StoreError> {
        self.retrying(|| reset::reset_period(self, scope, account))
            .await
    }

    async fn budget_account(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
    ) -> Result<Option<AccountId>, StoreError> {
        read::budget_account(self, scope, end_user).await
    }

    async fn wallet(&self, scope: &PlatformScope) -> Result<Wallet, StoreError> {
        read::wallet(self, scope).await
    }

    async fn budget(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
    ) -> Result<Option<Budget>, StoreError> {
        self.retrying(|| read::budget(self, scope, end_user)).await
    }

    async fn apply(
        &self,
        scope: &PlatformScope,
        act: &LedgerAct,
        context: &ActContext,
        idempotency: Option<Idempotency>,
    ) -> Result<Result<Applied, ActRefusal>, StoreError> {
        self.retrying(|| acts::apply(self, scope, act, context, idempotency))
            .await
    }

    async fn unconfirmed(
        &self,
        scope: &OperatorScope,
        filter: &UnconfirmedFilter,
        page: Page,
    ) -> Result<Listed<Unconfirmed>, StoreError> {
        unconfirmed::list(self, scope, filter, page).await
    }

    async fn resolve_unconfirmed(
        &self,
        scope: &OperatorScope,
        charge: EntryId,
        resolution: Resolution,
        context: &ActContext,
        idempotency: Option<Idempotency>,
    ) -> Result<Result<Resolved, ActRefusal>, StoreError> {
        unconfirmed::resolve(self, scope, charge, resolution, context, idempotency).await
    }

    async fn is_settling(
        &self,
        scope: &OperatorScope,
        interval: &CallInterval,
    ) -> Result<bool, StoreError> {
        rerate::is_settling(self, scope, interval).await
    }

    async fn begin_rerate(
        &self,
        scope: &OperatorScope,
        rerating: &Rerating,
    ) -> Result<Result<Option<RerateReport>, ActRefusal>, StoreError> {
        self.retrying(|| rerate::begin(self, scope, rerating)).await
    }

    async fn calls_charged(
        &self,
        scope: &OperatorScope,
        interval: &CallInterval,
        besides: EntryId,
        after: Option<EntryId>,
        most: u32,
    ) -> Result<Vec<ChargeHistory>, StoreError> {
        rerate::calls_charged(self, scope, interval, besides, after, most).await
    }

    async fn compensate(
        &self,
        scope: &OperatorScope,
        compensation: &Compensation,
    ) -> Result<NanoUsd, StoreError> {
        self.retrying(|| rerate::compensate(self, scope, compensation))
            .await
    }

    async fn finish_rerate(
        &self,
        scope: &OperatorScope,
        report: &RerateReport,
    ) -> Result<RerateReport, StoreError> {
        self.retrying(|| rerate::finish(self, scope, report)).await
    }

    async fn entries(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Listed<EntryWithBalance>, StoreError> {
        statement::entries(self, scope, of, filter, page).await
    }

    async fn open_statement(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
    ) -> Result<Statement, StoreError> {
        statement::open(self, scope, of, filter).await
    }

    async fn read_statement(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
        cursor: StatementCursor,
        most: u32,
    ) -> Result<StatementPage, StoreError> {
        statement::read(self, scope, of, filter, cursor, most).await
    }

    async fn budget_id(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
    ) -> Result<Option<BudgetId>, StoreError> {
        read::budget_id(self, scope, end_user).await
    }

    async fn charge(
        &self,
        scope: &PlatformScope,
        uid: EntryId,
    ) -> Result<Option<LedgerEntry>, StoreError> {
        read::charge(self, scope, uid).await
    }

    async fn charges(
        &self,
        scope: &SweeperScope,
        after: i64,
        most: u32,
    ) -> Result<Vec<PostedCharge>, StoreError> {
        read::charges(self, scope, after, most).await
    }

    async fn nodes(&self, scope: &OperatorScope) -> Result<Vec<NodeAudit>, StoreError> {
        nodes::audit(self, scope).await
    }

    async fn audit(&self, scope: &OperatorScope) -> Result<Vec<AccountAudit>, StoreError> {
        audit::audit(self, scope).await
    }
}

/// The account of a wallet or budget: it is made before them and never removed.
async fn account_of(
    db: &impl ConnectionTrait,
    select: Select<account::Entity>,
) -> Result<account::Model, StoreError> {
    let found = select.one(db).await.map_err(failed)?;
    found.ok_or_else(|| corrupt("a wallet or budget without an account"))
}

/// What belongs to an account: its free part and all slots.
async fn total(db: &impl ConnectionTrait, account: &account::Model) -> Result<Amounts, StoreError> {
    let slots = slot::Entity::of_account(account)
        .select_only()
        .column_as(sum(slot::Column::Usd.into_expr()), "usd")
        .column_as(sum(slot::Column::Tokens.into_expr()), "tokens")
        .column_as(sum(slot::Column::Display.into_expr()), "display")
        .into_model::<Sums>()
        .one(db)
        .await
        .map_err(failed)?
        .unwrap_or_default();
    account
        .free()
        .checked_add(slots.into())
        .map_err(|_| corrupt("an account left its range"))
}
