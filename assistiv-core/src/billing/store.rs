//! What the billing engine asks of a backend.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::account::{AccountKind, Budget, Wallet};
use super::act::{ActContext, ActRefusal, Applied, Idempotency, LedgerAct};
use super::amounts::{Amounts, Legs};
use super::control::Control;
use super::lease::{LeaseGrant, LeaseRequest};
use super::ledger::{EntryWithBalance, LedgerEntry};
use super::rerate::{CallInterval, ChargeHistory, Compensation, RerateReport, Rerating};
use super::statement::{EntriesOf, EntryFilter, Statement, StatementCursor, StatementPage};
use super::unconfirmed::{Resolution, Resolved, Unconfirmed, UnconfirmedFilter};
use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::clock::Timestamp;
use crate::id::{
    AccountId, BudgetId, EndUserId, EntryId, LogId, ModelId, NodeId, PlatformId, PriceId,
};
use crate::money::NanoUsd;
use crate::store::{Listed, Page, StoreError};

/// A single-writer queue of one node to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Lane A: open records, checkpoints, settlements. Never touches accounts.
    Settle = 0,
    /// Lane B: grants and returns.
    Lease = 1,
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanePosition {
    /// The number of the last batch that was applied.
    pub seq: i64,
    /// Whether the node was fenced.
    pub fenced: bool,
}

/// A stream that is being delivered, with what it has cost so far.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenStream {
    /// The call.
    pub log_id: LogId,
    /// Its platform.
    pub platform_id: PlatformId,
    /// Its end user.
    pub end_user_id: Option<EndUserId>,
    /// The wallet's account.
    pub wallet: AccountId,
    /// The budget's account.
    pub budget: Option<AccountId>,
    /// What a crash would charge: at least the prompt.
    pub accrued: Legs,
    /// What is held for it.
    pub held: Legs,
    /// The price it is charged by.
    pub price_id: PriceId,
    /// The model.
    pub model_id: ModelId,
}

/// A numbered batch of lane A. Applied whole, once, or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct SettleBatch {
    /// Whose batch.
    pub node: NodeId,
    /// One more than the last; never reused for other content.
    pub seq: i64,
    /// Every answer that waited on batches up to this one was handed over.
    pub delivered_seq: i64,
    /// Streams to insert, or to update where they exist.
    pub opened: Vec<OpenStream>,
    /// Streams to delete; unknown ones are passed over.
    pub closed: Vec<LogId>,
    /// Entries to append. `posted_by` is this batch.
    pub entries: Vec<LedgerEntry>,
    /// What to take from the node's slots, one row for each account, in the order of accounts.
    pub debits: Vec<(AccountId, Amounts)>,
}

/// A numbered batch of lane B.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseBatch {
    /// Whose batch.
    pub node: NodeId,
    /// One more than the last.
    pub seq: i64,
    /// One request for each account, in the order of accounts.
    pub requests: Vec<LeaseRequest>,
}

/// What the sweep of a dead node found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The node.
    pub node: Option<NodeId>,
    /// Streams that were charged what their last record said.
    pub streams: u64,
    /// Slots that returned to their accounts.
    pub slots: u64,
    /// Charges whose delivery cannot be proved.
    pub unconfirmed: u64,
}

/// A node that is not closed, or that left something behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAudit {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Whether it may hold slots and streams.
    pub is_open: bool,
    /// Until when it counts as alive. Where only one process uses the database, nobody renews it.
    pub expires_at: Timestamp,
    /// Streams that it has open.
    pub streams: u64,
    /// Slots that it holds.
    pub slots: u64,
}

/// A charge with its place in the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct PostedCharge {
    /// Its number: later charges have greater ones, but may become visible before earlier ones.
    pub number: i64,
    /// The entry.
    pub entry: LedgerEntry,
    /// The model and the version of the price. Those of a stream that was swept are known where the backend keeps
    /// them; its entry has no metering, because nobody counted.
    pub priced: Option<(ModelId, PriceId)>,
}

impl PostedCharge {
    /// What the wallet paid.
    pub fn cost(&self) -> NanoUsd {
        self.entry
            .wallet
            .map_or(NanoUsd::ZERO, |(_, change)| change.negated())
    }
}

/// Which nodes to sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// All that are not closed: at the start of a process that alone owns the database. A database that several
    /// processes may use treats it as [`Sweep::Expired`] without grace.
    All,
    /// Those that have sent no heartbeat until their time ran out, and then `grace` more. Nodes that another
    /// sweeper has in its hands are passed over.
    Expired {
        /// What is added to the time that a node was given.
        grace: Duration,
    },
}

/// What a sweep does with charges whose delivery cannot be proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnconfirmedDelivery {
    /// The charge stands, listed until an operator resolves it.
    #[default]
    Stands,
    /// It is refunded in the transaction of the sweep, and listed as refunded.
    Refund,
}

/// What the late path did with a stream that a sweep had charged already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateSettlement {
    /// The charge of the sweep was exact, or was corrected before.
    Exact,
    /// One correction was posted.
    Corrected,
    /// There is no charge: the stream was never recorded, and is not charged.
    Uncharged,
}

/// One account's sums, which must agree: `free + slots = ledger` in every dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountAudit {
    /// The account.
    pub account: AccountId,
    /// Wallet or budget.
    pub kind: AccountKind,
    /// Its platform.
    pub platform_id: PlatformId,
    /// What is unleased.
    pub free: Amounts,
    /// What nodes hold.
    pub slots: Amounts,
    /// The sum of the ledger.
    pub ledger: Amounts,
    /// The limits as the ledger has them.
    pub ledger_limits: Amounts,
    /// The limits as the budget's row has them.
    pub limits: Amounts,
    /// Streams that are still open on it.
    pub open_streams: u64,
}

impl AccountAudit {
    /// Whether the books balance.
    pub fn balances(&self) -> bool {
        self.free.checked_add(self.slots) == Ok(self.ledger) && self.ledger_limits == self.limits
    }
}

/// Accounts, slots, streams and the ledger.
///
/// Invariant of every committed state, for every account and dimension: `free + Σ slots = Σ ledger`. Time is
/// the backend's own.
#[async_trait]
pub trait LedgerStore: Send + Sync + 'static {
    /// Whether other processes may use the same database: then nodes need heartbeats, and slots may be recalled.
    fn is_shared(&self) -> bool;

    /// Registers a run of a process, with both lanes open at 0. Without a heartbeat it is dead after `ttl`, by the
    /// clock of the backend.
    async fn open_node(
        &self,
        scope: &SweeperScope,
        instance: Uuid,
        name: &str,
        ttl: Duration,
    ) -> Result<NodeId, StoreError>;

    /// Says that a node is alive for `ttl` more, and up to which number it has acted on messages.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when the node was fenced or closed.
    async fn heartbeat(
        &self,
        scope: &SweeperScope,
        node: NodeId,
        ttl: Duration,
        acked_control: i64,
    ) -> Result<(), StoreError>;

    /// Marks a node that authorises nothing more and ends in good order.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when the node was fenced or closed.
    async fn drain_node(&self, scope: &SweeperScope, node: NodeId) -> Result<(), StoreError>;

    /// Marks a node that has settled everything and returned its slots as closed. What is left of its slots
    /// returns to the accounts.
    async fn close_node(&self, scope: &SweeperScope, node: NodeId) -> Result<(), StoreError>;

    /// Fences dead nodes, charges their open streams what was recorded, returns their slots, and lists charges
    /// whose delivery cannot be proved.
    /// Each node in a transaction of its own.
    async fn sweep(
        &self,
        scope: &SweeperScope,
        which: Sweep,
        unconfirmed: UnconfirmedDelivery,
    ) -> Result<Vec<Swept>, StoreError>;

    /// Posts the exact cost of a stream that was recorded by a node which was fenced meanwhile: the difference to
    /// what the sweep charged, once, as a correction with the uid of [`LedgerEntry::correction_uid`].
    ///
    /// `exact` is the charge as it would have been posted. Changes the accounts' free parts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the stream's record still stands, that is before the sweep: try again.
    /// [`StoreError::Corrupt`] when the charge stands on other accounts than `exact`.
    async fn settle_late(
        &self,
        scope: &SweeperScope,
        exact: &LedgerEntry,
    ) -> Result<LateSettlement, StoreError>;

    /// What the node's slot of an account holds, for memory that lost a reply.
    async fn slot(
        &self,
        scope: &SweeperScope,
        node: NodeId,
        account: AccountId,
    ) -> Result<Amounts, StoreError>;

    /// Asks all other nodes to return what they do not use of an account; at most one message for each account and
    /// second. Returns the number of the message, which may be one that another node has sent just before.
    async fn recall(&self, scope: &SweeperScope, account: AccountId) -> Result<i64, StoreError>;

    /// Messages of the last 30 seconds, in the order of their numbers: callers drop those that they have seen.
    ///
    /// Whoever sees a message sees all that have smaller numbers, so a node may acknowledge the greatest number of
    /// what it has acted on.
    async fn controls(&self, scope: &SweeperScope) -> Result<Vec<Control>, StoreError>;

    /// Whether every live node other than `except` has acted on the messages up to `seq`. Nodes whose time ran out
    /// and nodes that drain authorise nothing and are not waited for.
    async fn is_acked(
        &self,
        scope: &SweeperScope,
        seq: i64,
        except: Option<NodeId>,
    ) -> Result<bool, StoreError>;

    /// Accounts of active budgets whose period is over, at most `most`, oldest boundary first.
    async fn due_periods(
        &self,
        scope: &SweeperScope,
        most: u32,
    ) -> Result<Vec<AccountId>, StoreError>;

    /// Removes messages older than an hour.
    async fn prune_controls(&self, scope: &SweeperScope) -> Result<u64, StoreError>;

    /// Where a lane stands: tells whether a batch whose outcome is unknown was applied.
    async fn lane(
        &self,
        scope: &SweeperScope,
        node: NodeId,
        lane: Lane,
    ) -> Result<LanePosition, StoreError>;

    /// Applies a batch of lane A, if its number is the next and the lane is not fenced.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when the number or the fence stands against it: nothing was applied, ask
    /// [`LedgerStore::lane`]. After [`StoreError::Unavailable`] the outcome is unknown.
    async fn settle(&self, scope: &SweeperScope, batch: &SettleBatch) -> Result<(), StoreError>;

    /// Applies a batch of lane B; one grant for each request whose account exists, in their order.
    ///
    /// # Errors
    /// As [`LedgerStore::settle`].
    async fn lease(
        &self,
        scope: &SweeperScope,
        batch: &LeaseBatch,
    ) -> Result<Vec<LeaseGrant>, StoreError>;

    /// Applies a due period reset of a budget's account, once for each boundary; says whether one was due.
    async fn reset_period(
        &self,
        scope: &SweeperScope,
        account: AccountId,
    ) -> Result<bool, StoreError>;

    /// The account of an end user's active budget.
    async fn budget_account(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
    ) -> Result<Option<AccountId>, StoreError>;

    /// The platform's wallet, in one snapshot.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn wallet(&self, scope: &PlatformScope) -> Result<Wallet, StoreError>;

    /// An end user's active budget, in one snapshot, after applying a due reset.
    async fn budget(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
    ) -> Result<Option<Budget>, StoreError>;

    /// Performs an act: effect, entries and the stored outcome for repeats commit together.
    ///
    /// With [`Idempotency`], a repeat of the same request gives the stored outcome, and another request under
    /// the same scope is refused with [`ActRefusal::KeyReused`]. Of concurrent repeats one takes effect.
    /// A refused act does not consume the key.
    ///
    /// # Errors
    /// The outer error is the store's; [`StoreError::NotFound`] when platform or end user are gone.
    async fn apply(
        &self,
        scope: &PlatformScope,
        act: &LedgerAct,
        context: &ActContext,
        idempotency: Option<Idempotency>,
    ) -> Result<Result<Applied, ActRefusal>, StoreError>;

    /// Charges whose delivery cannot be proved, those that were found last first.
    async fn unconfirmed(
        &self,
        scope: &OperatorScope,
        filter: &UnconfirmedFilter,
        page: Page,
    ) -> Result<Listed<Unconfirmed>, StoreError>;

    /// Resolves an unconfirmed delivery, once: item and refund commit together.
    ///
    /// The same resolution again gives the item as it is. The refund has the uid of [`LedgerEntry::unconfirmed_refund_uid`],
    /// whatever the context says. Repeats are handled as in [`LedgerStore::apply`].
    ///
    /// # Errors
    /// The inner error: [`ActRefusal::TransactionNotFound`], [`ActRefusal::AlreadyResolved`],
    /// [`ActRefusal::AlreadyRefunded`], [`ActRefusal::KeyReused`].
    async fn resolve_unconfirmed(
        &self,
        scope: &OperatorScope,
        charge: EntryId,
        resolution: Resolution,
        context: &ActContext,
        idempotency: Option<Idempotency>,
    ) -> Result<Result<Resolved, ActRefusal>, StoreError>;

    /// Whether calls that began in the interval may still be charged: a stream of it is open, or it ended less than
    /// five seconds ago.
    async fn is_settling(
        &self,
        scope: &OperatorScope,
        interval: &CallInterval,
    ) -> Result<bool, StoreError>;

    /// Records a re-rating before it begins. Of one that is recorded and finished it gives the report; one that was
    /// broken off is taken up again.
    ///
    /// # Errors
    /// The inner error: [`ActRefusal::KeyReused`] when it was recorded for another request.
    async fn begin_rerate(
        &self,
        scope: &OperatorScope,
        rerating: &Rerating,
    ) -> Result<Result<Option<RerateReport>, ActRefusal>, StoreError>;

    /// Charges of calls that began in the interval, in the order of their ids, those behind `after`, at most `most`.
    /// What the re-rating `besides` has given back is left out.
    async fn calls_charged(
        &self,
        scope: &OperatorScope,
        interval: &CallInterval,
        besides: EntryId,
        after: Option<EntryId>,
        most: u32,
    ) -> Result<Vec<ChargeHistory>, StoreError>;

    /// Gives back what is owed for charges on one account, in one entry with the uid of [`Compensation::uid`], once;
    /// returns how much that is. What refunds and other re-ratings did until now is counted, under the lock of the
    /// account. A repeat returns what the first one moved. Of a dry run it is what would be moved.
    async fn compensate(
        &self,
        scope: &OperatorScope,
        compensation: &Compensation,
    ) -> Result<NanoUsd, StoreError>;

    /// Keeps what a re-rating did, for repeats of its request. The first report stands, and is returned.
    async fn finish_rerate(
        &self,
        scope: &OperatorScope,
        report: &RerateReport,
    ) -> Result<RerateReport, StoreError>;

    /// Entries that match, newest first, with balances.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the wallet or the end user is gone. An end user who never had a budget has no
    /// entries.
    async fn entries(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Listed<EntryWithBalance>, StoreError>;

    /// Fixes what an export covers.
    ///
    /// # Errors
    /// As [`LedgerStore::entries`].
    async fn open_statement(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
    ) -> Result<Statement, StoreError>;

    /// Reads on in an export, newest first: at most `most` entries are looked at.
    ///
    /// # Errors
    /// As [`LedgerStore::entries`].
    async fn read_statement(
        &self,
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
        cursor: StatementCursor,
        most: u32,
    ) -> Result<StatementPage, StoreError>;

    /// The id of an end user's budget, in force or not.
    async fn budget_id(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
    ) -> Result<Option<BudgetId>, StoreError>;

    /// All entries of the platform's wallet, newest first, with balances.
    async fn wallet_entries(
        &self,
        scope: &PlatformScope,
        page: Page,
    ) -> Result<Listed<EntryWithBalance>, StoreError> {
        self.entries(scope, EntriesOf::Wallet, &EntryFilter::default(), page)
            .await
    }

    /// All entries of an end user's budget, newest first, with balances.
    async fn budget_entries(
        &self,
        scope: &PlatformScope,
        end_user: EndUserId,
        page: Page,
    ) -> Result<Listed<EntryWithBalance>, StoreError> {
        let of = EntriesOf::Budget(end_user);
        self.entries(scope, of, &EntryFilter::default(), page).await
    }

    /// The entry of a call's charge.
    async fn charge(
        &self,
        scope: &PlatformScope,
        uid: EntryId,
    ) -> Result<Option<LedgerEntry>, StoreError>;

    /// Charges of all platforms with a number above `after`, in the order of their numbers, at most `most`.
    async fn charges(
        &self,
        scope: &SweeperScope,
        after: i64,
        most: u32,
    ) -> Result<Vec<PostedCharge>, StoreError>;

    /// Nodes that are not closed and nodes that have slots or streams, in the order of their numbers.
    async fn nodes(&self, scope: &OperatorScope) -> Result<Vec<NodeAudit>, StoreError>;

    /// The sums of every account, in one snapshot.
    async fn audit(&self, scope: &OperatorScope) -> Result<Vec<AccountAudit>, StoreError>;
}
