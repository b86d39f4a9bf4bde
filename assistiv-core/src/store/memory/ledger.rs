//! The ledger store's methods over the books and the nodes.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{MemoryStore, State, after};
use crate::audit::Before;
use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::billing::{
    AccountAudit, ActContext, ActRefusal, Amounts, Applied, Budget, CallInterval, ChargeHistory,
    Compensation, Control, EntriesOf, EntryFilter, EntryKind, EntryWithBalance, Idempotency, Lane,
    LanePosition, LateSettlement, LeaseBatch, LeaseGrant, LedgerAct, LedgerEntry, LedgerStore,
    NodeAudit, PostedCharge, RerateReport, Rerating, Resolution, Resolved, SettleBatch, Statement,
    StatementCursor, StatementPage, Sweep, Swept, Unconfirmed, UnconfirmedDelivery,
    UnconfirmedFilter, Wallet,
};
use crate::id::{AccountId, BudgetId, EndUserId, EntryId, NodeId};
use crate::money::NanoUsd;
use crate::store::{Listed, Page, StoreError};

#[async_trait]
impl LedgerStore for MemoryStore {
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    async fn open_node(
        &self,
        _scope: &SweeperScope,
        _instance: Uuid,
        name: &str,
        ttl: Duration,
    ) -> Result<NodeId, StoreError> {
        Ok(self.lock().nodes.open(name, ttl, self.now()))
    }

    async fn heartbeat(
        &self,
        _scope: &SweeperScope,
        node: NodeId,
        ttl: Duration,
        acked_control: i64,
    ) -> Result<(), StoreError> {
        let expires_at = after(self.now(), ttl);
        self.lock().nodes.heartbeat(node, expires_at, acked_control)
    }

    async fn drain_node(&self, _scope: &SweeperScope, node: NodeId) -> Result<(), StoreError> {
        self.lock().nodes.drain(node)
    }

    async fn close_node(&self, _scope: &SweeperScope, node: NodeId) -> Result<(), StoreError> {
        self.lock().retire(node, None, self.now()).map(|_| ())
    }

    async fn sweep(
        &self,
        _scope: &SweeperScope,
        which: Sweep,
        unconfirmed: UnconfirmedDelivery,
    ) -> Result<Vec<Swept>, StoreError> {
        let which = match which {
            Sweep::All if self.is_shared => Sweep::Expired {
                grace: Duration::ZERO,
            },
            which => which,
        };
        self.lock().sweep(which, unconfirmed, self.now())
    }

    async fn settle_late(
        &self,
        _scope: &SweeperScope,
        exact: &LedgerEntry,
    ) -> Result<LateSettlement, StoreError> {
        self.lock().settle_late(exact, self.now())
    }

    async fn slot(
        &self,
        _scope: &SweeperScope,
        node: NodeId,
        account: AccountId,
    ) -> Result<Amounts, StoreError> {
        let state = self.lock();
        let account = state.books.accounts.get(&account);
        Ok(account.map_or(Amounts::ZERO, |account| account.slot(node)))
    }

    async fn recall(&self, _scope: &SweeperScope, account: AccountId) -> Result<i64, StoreError> {
        Ok(self.lock().books.controls.recall(account, self.now()))
    }

    async fn controls(&self, _scope: &SweeperScope) -> Result<Vec<Control>, StoreError> {
        Ok(self.lock().books.controls.shown(self.now()))
    }

    async fn is_acked(
        &self,
        _scope: &SweeperScope,
        seq: i64,
        except: Option<NodeId>,
    ) -> Result<bool, StoreError> {
        Ok(self.lock().nodes.have_acked(seq, except, self.now()))
    }

    async fn due_periods(
        &self,
        _scope: &SweeperScope,
        most: u32,
    ) -> Result<Vec<AccountId>, StoreError> {
        let mut due = self.lock().books.due(self.now());
        due.truncate(most as usize);
        Ok(due)
    }

    async fn prune_controls(&self, _scope: &SweeperScope) -> Result<u64, StoreError> {
        Ok(self.lock().books.controls.prune(self.now()))
    }

    async fn lane(
        &self,
        _scope: &SweeperScope,
        node: NodeId,
        lane: Lane,
    ) -> Result<LanePosition, StoreError> {
        self.lock().nodes.position(node, lane)
    }

    async fn settle(&self, _scope: &SweeperScope, batch: &SettleBatch) -> Result<(), StoreError> {
        self.lock().settle(batch, self.now())
    }

    async fn lease(
        &self,
        _scope: &SweeperScope,
        batch: &LeaseBatch,
    ) -> Result<Vec<LeaseGrant>, StoreError> {
        self.lock().lease(batch, self.is_shared, self.now())
    }

    async fn reset_period(
        &self,
        _scope: &SweeperScope,
        account: AccountId,
    ) -> Result<bool, StoreError> {
        let mut state = self.lock();
        let end_user = state
            .books
            .accounts
            .get(&account)
            .and_then(|account| account.end_user);
        end_user.map_or(Ok(false), |end_user| state.reset_due(end_user, self.now()))
    }

    async fn budget_account(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
    ) -> Result<Option<AccountId>, StoreError> {
        let state = self.lock();
        let record = state.books.budgets.get(&end_user);
        let active =
            record.filter(|record| record.is_active && record.platform_id == scope.platform_id());
        Ok(active.map(|record| record.account))
    }

    async fn wallet(&self, scope: &PlatformScope) -> Result<Wallet, StoreError> {
        self.lock().books.wallet(scope.platform_id())
    }

    async fn budget(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
    ) -> Result<Option<Budget>, StoreError> {
        let mut state = self.lock();
        if state.end_user(scope.platform_id(), end_user).is_err() {
            return Ok(None);
        }
        state.reset_due(end_user, self.now())?;
        state.books.budget(end_user)
    }

    async fn apply(
        &self,
        scope: &PlatformScope,
        act: &LedgerAct,
        context: &ActContext,
        idempotency: Option<Idempotency>,
    ) -> Result<Result<Applied, ActRefusal>, StoreError> {
        let mut state = self.lock();
        let platform_id = scope.platform_id();
        state.platform(platform_id)?;
        if let Some(end_user) = act.end_user() {
            state.end_user(platform_id, end_user)?;
            state.reset_due(end_user, self.now())?;
        }
        let now = self.now();
        let before = Before {
            budget: act.end_user().and_then(|id| state.books.record_of(id)),
            wallet: state.books.wallet(platform_id).ok(),
        };
        let applied = state
            .books
            .apply(platform_id, act, context, idempotency, now)?;
        if let Ok(applied) = &applied
            && !applied.replayed
        {
            let entry = before.entry(scope, act, &applied.outcome, now);
            state.audit.extend(entry);
        }
        Ok(applied)
    }

    async fn unconfirmed(
        &self,
        _scope: &OperatorScope,
        filter: &UnconfirmedFilter,
        page: Page,
    ) -> Result<Listed<Unconfirmed>, StoreError> {
        Ok(self.lock().books.unconfirmed(filter, page))
    }

    async fn resolve_unconfirmed(
        &self,
        _scope: &OperatorScope,
        charge: EntryId,
        resolution: Resolution,
        context: &ActContext,
        idempotency: Option<Idempotency>,
    ) -> Result<Result<Resolved, ActRefusal>, StoreError> {
        let mut state = self.lock();
        let end_user = state
            .books
            .entry(charge)
            .and_then(|entry| entry.end_user_id);
        if let Some(end_user) = end_user {
            state.reset_due(end_user, self.now())?;
        }
        state
            .books
            .resolve_unconfirmed(charge, resolution, context, idempotency, self.now())
    }

    async fn is_settling(
        &self,
        _scope: &OperatorScope,
        interval: &CallInterval,
    ) -> Result<bool, StoreError> {
        Ok(self.lock().is_settling(interval, self.now()))
    }

    async fn begin_rerate(
        &self,
        _scope: &OperatorScope,
        rerating: &Rerating,
    ) -> Result<Result<Option<RerateReport>, ActRefusal>, StoreError> {
        Ok(self.lock().books.begin_rerate(rerating))
    }

    async fn calls_charged(
        &self,
        _scope: &OperatorScope,
        interval: &CallInterval,
        besides: EntryId,
        after: Option<EntryId>,
        most: u32,
    ) -> Result<Vec<ChargeHistory>, StoreError> {
        let state = self.lock();
        state.books.calls_charged(interval, besides, after, most)
    }

    async fn compensate(
        &self,
        _scope: &OperatorScope,
        compensation: &Compensation,
    ) -> Result<NanoUsd, StoreError> {
        self.lock().compensate(compensation, self.now())
    }

    async fn finish_rerate(
        &self,
        _scope: &OperatorScope,
        report: &RerateReport,
    ) -> Result<RerateReport, StoreError> {
        self.lock().books.finish_rerate(report)
    }

    async fn entries(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Listed<EntryWithBalance>, StoreError> {
        let state = self.lock();
        match state.account_of(scope, of)? {
            Some(account) => state.books.list(account, of, filter, page),
            None => Ok(Listed {
                rows: Vec::new(),
                total: 0,
            }),
        }
    }

    async fn open_statement(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
    ) -> Result<Statement, StoreError> {
        let state = self.lock();
        let account = state.account_of(scope, of)?.ok_or(StoreError::NotFound)?;
        state.books.open_statement(account, of, filter, self.now())
    }

    async fn read_statement(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
        cursor: StatementCursor,
        most: u32,
    ) -> Result<StatementPage, StoreError> {
        let state = self.lock();
        let account = state.account_of(scope, of)?.ok_or(StoreError::NotFound)?;
        state
            .books
            .read_statement(account, of, filter, cursor, most)
    }

    async fn budget_id(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
    ) -> Result<Option<BudgetId>, StoreError> {
        let state = self.lock();
        let record = state.books.budgets.get(&end_user);
        let own = record.filter(|record| record.platform_id == scope.platform_id());
        Ok(own.map(|record| record.id))
    }

    async fn charge(
        &self,
        scope: &PlatformScope,
        uid: EntryId,
    ) -> Result<Option<LedgerEntry>, StoreError> {
        let state = self.lock();
        let own = |entry: &&LedgerEntry| {
            entry.kind == EntryKind::Charge && entry.platform_id == scope.platform_id()
        };
        Ok(state.books.entry(uid).filter(own).cloned())
    }

    async fn charges(
        &self,
        _scope: &SweeperScope,
        after: i64,
        most: u32,
    ) -> Result<Vec<PostedCharge>, StoreError> {
        let state = self.lock();
        let numbered = (1_i64..).zip(state.books.ledger());
        let charges = numbered
            .filter(|(number, entry)| *number > after && entry.kind == EntryKind::Charge)
            .map(|(number, entry)| PostedCharge {
                number,
                entry: entry.clone(),
                priced: entry
                    .metered
                    .map(|metered| (metered.model_id, metered.price_id)),
            });
        Ok(charges.take(most as usize).collect())
    }

    async fn nodes(&self, _scope: &OperatorScope) -> Result<Vec<NodeAudit>, StoreError> {
        let state = self.lock();
        Ok(state.nodes.audit(|node| state.books.slot_count(node)))
    }

    async fn audit(&self, _scope: &OperatorScope) -> Result<Vec<AccountAudit>, StoreError> {
        let state = self.lock();
        state
            .books
            .audit(|account| state.nodes.open_streams_on(account))
    }
}

// === impl State ===

impl State {
    fn account_of(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
    ) -> Result<Option<AccountId>, StoreError> {
        match of {
            EntriesOf::Wallet => self
                .books
                .wallet_account(scope.platform_id())
                .map(Some)
                .ok_or(StoreError::NotFound),
            EntriesOf::Budget(end_user) => {
                self.end_user(scope.platform_id(), end_user)?;
                Ok(self.books.budget_account(end_user))
            }
        }
    }
}
