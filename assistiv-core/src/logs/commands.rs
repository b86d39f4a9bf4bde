//! Commands on the log.

use std::sync::Arc;

use super::usage::{self, Interval};
use super::{LogFilter, LogRow, LogStore, Sums, UsageDimension, UsageQuery};
use crate::auth::PlatformScope;
use crate::billing::ZoneName;
use crate::clock::{Clock, Timestamp};
use crate::command::{Command, CommandError, all_valid};
use crate::error::{FieldError, Reason};
use crate::id::{EndUserId, LogId};
use crate::routing::{ModelSlug, Router};
use crate::store::{Listed, Page, TenancyStore};

const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// The longest time that usage is told of.
const DAYS_MAX: i64 = 400;
/// The longest time that usage is told of by the hour.
const DAYS_BY_HOUR_MAX: i64 = 31;

/// The domain of the request log.
pub struct Logs {
    pub(crate) store: Arc<dyn LogStore>,
    pub(crate) tenancy: Arc<dyn TenancyStore>,
    pub(crate) router: Router,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Lists rows, newest first.
#[derive(Clone, Debug, Default)]
pub struct ListLogs {
    /// Which ones. An alias of a model stands for the model.
    pub filter: LogFilter,
    /// Which page.
    pub page: Page,
}

/// Reads rows in parts, newest first: for exports.
#[derive(Clone, Debug, Default)]
pub struct ScanLogs {
    /// Which ones.
    pub filter: LogFilter,
    /// Behind which row.
    pub after: Option<(Timestamp, LogId)>,
    /// How many at most.
    pub most: u32,
}

/// Reads a row.
#[derive(Clone, Copy, Debug)]
pub struct ReadLog(pub LogId);

/// Reads sums of usage.
#[derive(Clone, Debug, Default)]
pub struct ReadUsage {
    /// From then on; else from the beginning of the current month.
    pub from: Option<Timestamp>,
    /// Until before then; else until now.
    pub to: Option<Timestamp>,
    /// A group for each of these.
    pub group_by: Option<UsageDimension>,
    /// A line for each of these.
    pub interval: Option<Interval>,
    /// Where days and months begin.
    pub timezone: ZoneName,
    /// Of this end user alone.
    pub end_user_id: Option<EndUserId>,
    /// Of this model alone.
    pub model: Option<ModelSlug>,
}

/// Sums of usage.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// From then on.
    pub from: Timestamp,
    /// Until before then.
    pub to: Timestamp,
    /// By group, in the order of keys; empty without grouping.
    pub groups: Vec<UsageGroup>,
    /// By interval, then group; empty without an interval. Intervals without rows are left out.
    pub series: Vec<UsageSeries>,
    /// Everything together.
    pub totals: Sums,
}

/// The sums of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageGroup {
    /// What is grouped; `None` is what has no such thing.
    pub key: Option<String>,
    /// The sums.
    pub sums: Sums,
}

/// The sums of a group in an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageSeries {
    /// When the interval begins.
    pub start: Timestamp,
    /// What is grouped; `None` is what has no such thing, and everything without grouping.
    pub key: Option<String>,
    /// The sums.
    pub sums: Sums,
}

impl Command<Logs> for ListLogs {
    const NAME: &'static str = "list_logs";
    type Authority = PlatformScope;
    type Output = Listed<LogRow>;

    async fn run(
        self,
        domain: &Logs,
        scope: PlatformScope,
    ) -> Result<Listed<LogRow>, CommandError> {
        domain.tenancy.platform(&scope).await?;
        let filter = domain.canonical(self.filter);
        Ok(domain.store.list(&scope, &filter, self.page).await?)
    }
}

impl Command<Logs> for ScanLogs {
    const NAME: &'static str = "scan_logs";
    type Authority = PlatformScope;
    type Output = Vec<LogRow>;

    async fn run(self, domain: &Logs, scope: PlatformScope) -> Result<Vec<LogRow>, CommandError> {
        let filter = domain.canonical(self.filter);
        Ok(domain
            .store
            .list_after(&scope, &filter, self.after, self.most)
            .await?)
    }
}

impl Command<Logs> for ReadLog {
    const NAME: &'static str = "read_log";
    type Authority = PlatformScope;
    type Output = LogRow;

    async fn run(self, domain: &Logs, scope: PlatformScope) -> Result<LogRow, CommandError> {
        domain
            .store
            .row(&scope, self.0)
            .await
            .map_err(|error| CommandError::or_not_found(error, Reason::NOT_FOUND, "log row"))
    }
}

impl Command<Logs> for ReadUsage {
    const NAME: &'static str = "read_usage";
    type Authority = PlatformScope;
    type Output = Usage;

    async fn run(self, domain: &Logs, scope: PlatformScope) -> Result<Usage, CommandError> {
        let now = domain.clock.now();
        let from = self
            .from
            .unwrap_or_else(|| usage::month_of(now, &self.timezone));
        let to = self.to.unwrap_or_else(|| now.max(from));
        let most = match self.interval {
            Some(Interval::Hour) => DAYS_BY_HOUR_MAX,
            Some(Interval::Day | Interval::Month) | None => DAYS_MAX,
        };
        let field = |param: &str, message: String| FieldError {
            param: param.to_owned(),
            message,
        };
        let micros = to.as_micros().saturating_sub(from.as_micros());
        all_valid(
            [
                (micros < 0).then(|| field("to", "must not be before `from`".to_owned())),
                (micros > most * DAY_MICROS)
                    .then(|| field("to", format!("must be at most {most} days after `from`"))),
            ]
            .into_iter()
            .flatten(),
        )?;
        domain.tenancy.platform(&scope).await?;
        let query = UsageQuery {
            from,
            to,
            end_user_id: self.end_user_id,
            model: self.model.map(|model| domain.canonical_model(model)),
            group_by: self.group_by,
            step: None,
        };
        let store = &*domain.store;
        Ok(match self.interval {
            None => usage::whole(store, &scope, query).await?,
            Some(interval) => {
                usage::by_interval(store, &scope, query, interval, &self.timezone).await?
            }
        })
    }
}

// === impl Logs ===

impl Logs {
    fn canonical(&self, filter: LogFilter) -> LogFilter {
        LogFilter {
            model: filter.model.map(|model| self.canonical_model(model)),
            ..filter
        }
    }

    /// A model's own name instead of an alias. A model that the catalogue no longer has keeps the name it had.
    fn canonical_model(&self, name: ModelSlug) -> ModelSlug {
        let catalogue = self.router.catalogue();
        let model = catalogue.model(name.as_str());
        model.map_or(name, |model| model.slug.clone())
    }
}
