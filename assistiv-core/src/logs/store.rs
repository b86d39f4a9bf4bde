//! What the log asks of a backend.

use async_trait::async_trait;

use super::{BillingStatus, LogRow, LogStatus, RequestType};
use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::clock::Timestamp;
use crate::id::{EndUserId, LogId, PlatformId};
use crate::money::NanoUsd;
use crate::routing::ModelSlug;
use crate::store::{Listed, Page, StoreError};

/// The length of a rollup's slot: a quarter of an hour, because zones differ by as little.
pub const SLOT_MICROS: i64 = 15 * 60 * 1_000_000;

/// Which rows are wanted. What is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogFilter {
    /// Of this model.
    pub model: Option<ModelSlug>,
    /// Of this end user.
    pub end_user_id: Option<EndUserId>,
    /// Of this type.
    pub request_type: Option<RequestType>,
    /// With this end.
    pub status: Option<LogStatus>,
    /// Billed like this.
    pub billing_status: Option<BillingStatus>,
    /// Of this request.
    pub request_id: Option<String>,
    /// Not older than this.
    pub from: Option<Timestamp>,
    /// Older than this.
    pub to: Option<Timestamp>,
}

/// What became of a row's charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The row.
    pub id: LogId,
    /// Where the charge is.
    pub billing_status: BillingStatus,
    /// The wallet leg of the charge, zero of an unbilled row.
    pub cost: NanoUsd,
}

/// What the log says of a call's charge.
pub type LogState = Outcome;

/// What usage is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UsageDimension {
    /// By the model's slug.
    Model,
    /// By the provider's slug.
    Provider,
    /// By the end user's id.
    EndUser,
    /// By the key's id.
    ApiKey,
    /// By the type of request.
    RequestType,
}

/// Equal steps of time, for a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The length of a step, in microseconds.
    pub micros: i64,
    /// Added to a time before it is divided by the length: where local time is by so much ahead of UTC.
    pub offset_micros: i64,
}

/// What usage is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageQuery {
    /// From then on.
    pub from: Timestamp,
    /// Until before then.
    pub to: Timestamp,
    /// Of this end user.
    pub end_user_id: Option<EndUserId>,
    /// Of this model.
    pub model: Option<ModelSlug>,
    /// A line for each of these.
    pub group_by: Option<UsageDimension>,
    /// A line for each step.
    pub step: Option<Step>,
}

/// Sums over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Client requests.
    pub requests: u64,
    /// Rows.
    pub rows: u64,
    /// Rows that failed.
    pub errors: u64,
    /// Rows that are billed.
    pub billed: u64,
    /// Rows whose charge is on its way.
    pub pending: u64,
    /// Rows of tools.
    pub tool_calls: u64,
    /// Input tokens.
    pub prompt_tokens: u64,
    /// Output tokens.
    pub completion_tokens: u64,
    /// The cost of billed rows.
    pub cost: NanoUsd,
}

/// One line of usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// What it is grouped by, as text; `None` where the rows have no such thing, and without grouping.
    pub key: Option<String>,
    /// The number of the step since 1970-01-01, offset included; 0 without steps.
    pub step: i64,
    /// The sums.
    pub sums: Sums,
}

/// The billed cost of one platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BilledSum {
    /// Whose.
    pub platform_id: PlatformId,
    /// By the rollups: everything that was ever billed.
    pub rolled_up: NanoUsd,
    /// By the rollups, as far as the rows reach back.
    pub rolled_up_kept: NanoUsd,
    /// By the rows that are kept.
    pub rows: NanoUsd,
}

/// The rows of the log and their rollups.
///
/// Rows and rollups change in one act. Rows that are older than what [`LogStore::prune`] was told last are gone
/// for every reader; their rollups stay.
#[async_trait]
pub trait LogStore: Send + Sync + 'static {
    /// Writes rows, with what they add to the rollups; those whose id is known are passed over. Says how many
    /// were new.
    async fn append(&self, scope: &SweeperScope, rows: &[LogRow]) -> Result<u64, StoreError>;

    /// Lets rows follow the ledger, and the rollups with them. Unknown rows are passed over, and so is a row that
    /// is billed already where the outcome says that it is not.
    async fn resolve(&self, scope: &SweeperScope, outcomes: &[Outcome]) -> Result<(), StoreError>;

    /// What the log says of these calls, in no order; unknown ones are left out.
    async fn states(
        &self,
        scope: &SweeperScope,
        ids: &[LogId],
    ) -> Result<Vec<LogState>, StoreError>;

    /// Rows of the platform, newest first by `created_at`, then `id`.
    async fn list(
        &self,
        scope: &PlatformScope,
        filter: &LogFilter,
        page: Page,
    ) -> Result<Listed<LogRow>, StoreError>;

    /// Rows of the platform behind the row `after`, in the order of [`LogStore::list`]: for reading all of them in
    /// parts, `most` at a time.
    async fn list_after(
        &self,
        scope: &PlatformScope,
        filter: &LogFilter,
        after: Option<(Timestamp, LogId)>,
        most: u32,
    ) -> Result<Vec<LogRow>, StoreError>;

    /// One row of the platform.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn row(&self, scope: &PlatformScope, id: LogId) -> Result<LogRow, StoreError>;

    /// Sums of the platform's usage, a line for each group and step that has rows, in the order of steps, then
    /// keys. Bounds that lie inside a slot of the rollups are exact only while the rows of that slot are kept.
    async fn usage(
        &self,
        scope: &PlatformScope,
        query: &UsageQuery,
    ) -> Result<Vec<UsageRow>, StoreError>;

    /// The billed cost of every platform that has rows or had some, in one snapshot, in the order of their ids.
    async fn billed(&self, scope: &OperatorScope) -> Result<Vec<BilledSum>, StoreError>;

    /// Rows older than `before` whose charge is still on its way, with their platforms, at most `most`.
    async fn pending(
        &self,
        scope: &SweeperScope,
        before: Timestamp,
        most: u32,
    ) -> Result<Vec<(PlatformId, LogId)>, StoreError>;

    /// Every platform that has rollups.
    async fn platforms(&self, scope: &SweeperScope) -> Result<Vec<PlatformId>, StoreError>;

    /// Up to which charge of the ledger every charge is known to have its row; 0 at first.
    async fn repaired_to(&self, scope: &SweeperScope) -> Result<i64, StoreError>;

    /// Notes up to which charge every charge has its row. A smaller number than the last changes nothing.
    async fn set_repaired_to(&self, scope: &SweeperScope, charge: i64) -> Result<(), StoreError>;

    /// Rows older than this are gone; `None` while nothing was pruned.
    async fn pruned_before(&self, scope: &SweeperScope) -> Result<Option<Timestamp>, StoreError>;

    /// Removes rows older than `before`, rounded down to a slot, at most `most` of them; says how many went.
    async fn prune(
        &self,
        scope: &SweeperScope,
        before: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError>;

    /// Removes rows and rollups of a platform, at most `most` of either; says how many went.
    async fn forget_platform(
        &self,
        scope: &SweeperScope,
        platform: PlatformId,
        most: u32,
    ) -> Result<u64, StoreError>;
}

// === impl LogFilter ===

impl LogFilter {
    /// Whether a row is wanted.
    pub fn matches(&self, row: &LogRow) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, found: Option<&T>) -> bool {
            wanted.as_ref().is_none_or(|wanted| found == Some(wanted))
        }
        is(&self.model, row.model.as_ref().map(|(_, slug)| slug))
            && is(&self.end_user_id, row.end_user_id.as_ref())
            && is(&self.request_type, Some(&row.request_type))
            && is(&self.status, Some(&row.status))
            && is(&self.billing_status, Some(&row.billing_status))
            && is(&self.request_id, row.request_id.as_ref())
            && self.from.is_none_or(|from| row.created_at >= from)
            && self.to.is_none_or(|to| row.created_at < to)
    }
}

// === impl UsageDimension ===

impl UsageDimension {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Provider => "provider",
            Self::EndUser => "end_user",
            Self::ApiKey => "api_key",
            Self::RequestType => "request_type",
        }
    }

    /// What a row is grouped under.
    pub fn key_of(self, row: &LogRow) -> Option<String> {
        match self {
            Self::Model => row.model.as_ref().map(|(_, slug)| slug.to_string()),
            Self::Provider => row.provider.as_ref().map(|(_, slug)| slug.to_string()),
            Self::EndUser => row.end_user_id.map(|id| id.to_string()),
            Self::ApiKey => row.api_key_id.map(|id| id.to_string()),
            Self::RequestType => Some(row.request_type.as_str().to_owned()),
        }
    }
}

super::parsed_by_name!(
    UsageDimension,
    "`model`, `provider`, `end_user`, `api_key` or `request_type`",
    [
        Model = "model",
        Provider = "provider",
        EndUser = "end_user",
        ApiKey = "api_key",
        RequestType = "request_type",
    ]
);

// === impl Step ===

impl Step {
    /// The number of the step that a time lies in.
    pub fn number(self, at: Timestamp) -> i64 {
        (at.as_micros() + self.offset_micros).div_euclid(self.micros)
    }
}

// === impl Sums ===

impl Sums {
    /// Both together. A sum beyond what its type holds stays at the largest value.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            rows: self.rows.saturating_add(other.rows),
            errors: self.errors.saturating_add(other.errors),
            billed: self.billed.saturating_add(other.billed),
            pending: self.pending.saturating_add(other.pending),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self
                .completion_tokens
                .saturating_add(other.completion_tokens),
            cost: self
                .cost
                .checked_add(other.cost)
                .unwrap_or(NanoUsd::new(i64::MAX)),
        }
    }

    /// Input and output together.
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

/// The slot that a time lies in.
pub(crate) fn slot(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros().div_euclid(SLOT_MICROS) * SLOT_MICROS)
}
