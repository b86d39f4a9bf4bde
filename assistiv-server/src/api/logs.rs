//! The request log and usage (`docs/api-design.md`).

use assistiv_core::billing::CountMethod;
use assistiv_core::clock::{Clock, SystemClock, Timestamp};
use assistiv_core::id::{EndUserId, KeyId, LogId, ModelId, PlatformId, PriceId, ProviderId};
use assistiv_core::json::RawObject;
use assistiv_core::logs::{
    ListLogs, LogFilter, LogRow, ReadLog, ReadUsage, ScanLogs, Sums, UsageGroup, UsageSeries,
};
use assistiv_core::money::NanoUsd;
use assistiv_core::store::Page;
use axum::extract::State;
use futures_util::stream::{self, Stream};
use http::StatusCode;
use serde::Serialize;

use super::caller::OnPlatform;
use super::export::{Export, Wanted, line};
use super::path::{LogRef, Named};
use super::query::Query;
use super::refusal::{Handled, Refusal};
use super::{ApiState, answer};

/// A row on the wire.
#[derive(Serialize)]
struct LogView<'a> {
    id: LogId,
    platform_id: PlatformId,
    end_user_id: Option<EndUserId>,
    request_type: &'static str,
    provider_id: Option<ProviderId>,
    model_id: Option<ModelId>,
    provider_model_id: Option<&'a str>,
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    latency_ms: u64,
    /// The one amount that is written as a string.
    estimated_cost_usd: String,
    status: &'static str,
    error_message: Option<&'a str>,
    token_count_method: &'static str,
    billing_status: &'static str,
    metadata: MetadataView<'a>,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct MetadataView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overhead_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_id: Option<PriceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(flatten)]
    further: &'a RawObject,
}

/// Sums on the wire.
#[derive(Serialize)]
struct SumsView {
    requests: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    tool_calls: u64,
    errors: u64,
    cost_usd: NanoUsd,
}

#[derive(Serialize)]
struct GroupView<'a> {
    key: Option<&'a str>,
    #[serde(flatten)]
    sums: SumsView,
}

#[derive(Serialize)]
struct SeriesView<'a> {
    start: Timestamp,
    key: Option<&'a str>,
    #[serde(flatten)]
    sums: SumsView,
}

#[derive(Serialize)]
struct UsageView<'a> {
    from: Timestamp,
    to: Timestamp,
    group_by: Option<&'static str>,
    interval: Option<&'static str>,
    timezone: &'a str,
    groups: Vec<GroupView<'a>>,
    series: Vec<SeriesView<'a>>,
    totals: SumsView,
}

impl<'a> LogView<'a> {
    fn of(row: &'a LogRow) -> Self {
        Self {
            id: row.id,
            platform_id: row.platform_id,
            end_user_id: row.end_user_id,
            request_type: row.request_type.as_str(),
            provider_id: row.provider.as_ref().map(|(id, _)| *id),
            model_id: row.model.as_ref().map(|(id, _)| *id),
            provider_model_id: row.provider_model_id.as_deref(),
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            total_tokens: row.total_tokens(),
            latency_ms: row.latency_ms,
            estimated_cost_usd: row.cost.to_string(),
            status: row.status.as_str(),
            error_message: row.error_message.as_deref(),
            token_count_method: match row.count_method {
                CountMethod::Reported => "reported",
                CountMethod::Estimated => "estimated",
            },
            billing_status: row.billing_status.as_str(),
            metadata: MetadataView {
                request_id: row.request_id.as_deref(),
                overhead_us: row.overhead_us,
                price_id: row.price_id,
                api_key_id: row.api_key_id,
                model: row.model.as_ref().map(|(_, slug)| slug.as_str()),
                provider: row.provider.as_ref().map(|(_, slug)| slug.as_str()),
                reason: row.reason.as_deref(),
                further: &row.metadata,
            },
            created_at: row.created_at,
        }
    }
}

impl<'a> GroupView<'a> {
    fn of(group: &'a UsageGroup) -> Self {
        Self {
            key: group.key.as_deref(),
            sums: SumsView::of(&group.sums),
        }
    }
}

impl<'a> SeriesView<'a> {
    fn of(line: &'a UsageSeries) -> Self {
        Self {
            start: line.start,
            key: line.key.as_deref(),
            sums: SumsView::of(&line.sums),
        }
    }
}

impl SumsView {
    fn of(sums: &Sums) -> Self {
        Self {
            requests: sums.requests,
            prompt_tokens: sums.prompt_tokens,
            completion_tokens: sums.completion_tokens,
            total_tokens: sums.total_tokens(),
            tool_calls: sums.tool_calls,
            errors: sums.errors,
            cost_usd: sums.cost,
        }
    }
}

const LOG_COLUMNS: [&str; 18] = [
    "id",
    "platform_id",
    "end_user_id",
    "request_type",
    "provider_id",
    "model_id",
    "provider_model_id",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "latency_ms",
    "estimated_cost_usd",
    "status",
    "error_message",
    "token_count_method",
    "billing_status",
    "metadata",
    "created_at",
];

const USAGE_COLUMNS: [&str; 9] = [
    "start",
    "key",
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "tool_calls",
    "errors",
    "cost_usd",
];

/// Rows of a file that are read at once.
const PART: u32 = 500;

/// `GET …/logs`
pub(super) async fn list(
    State(state): State<ApiState>,
    on: OnPlatform,
    Wanted(format): Wanted,
    mut query: Query,
) -> Handled {
    let page = match format {
        Some(_) => Page { page: 1, limit: 1 },
        None => query.page(),
    };
    let mut filter = LogFilter {
        model: query.parsed("model"),
        end_user_id: query.parsed("end_user_id"),
        request_type: query.parsed("request_type"),
        status: query.parsed("status"),
        billing_status: query.parsed("billing_status"),
        request_id: query.text("request_id"),
        from: query.parsed("from"),
        to: query.parsed("to"),
    };
    query.finish()?;
    if format.is_some() {
        // Calls that are made meanwhile are in the next file.
        filter.to = Some(filter.to.unwrap_or_else(|| SystemClock.now()));
    }
    let command = ListLogs {
        filter: filter.clone(),
        page,
    };
    let logs = state.gateway.logs();
    let listed = logs.run(&on.principal, on.platform, command).await?;
    let Some(format) = format else {
        return answer::list(&listed, page, LogView::of);
    };
    let export = Export {
        format,
        name: format!("logs-{}", on.platform),
        columns: &LOG_COLUMNS,
        rows: listed.total,
        standings: None,
    };
    export.answer(parts(state, on, filter)).await
}

/// The lines of the file, a part of the log at a time.
fn parts(
    state: ApiState,
    on: OnPlatform,
    filter: LogFilter,
) -> impl Stream<Item = Result<Vec<String>, Refusal>> + Send + 'static {
    let begin = (state, on, filter, None);
    stream::try_unfold(begin, |(state, on, filter, after)| async move {
        let command = ScanLogs {
            filter: filter.clone(),
            after,
            most: PART,
        };
        let logs = state.gateway.logs();
        let rows = logs.run(&on.principal, on.platform, command).await?;
        let Some(last) = rows.last() else {
            return Ok(None);
        };
        let after = Some((last.created_at, last.id));
        let lines = rows.iter().map(|row| line(&LogView::of(row)));
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        Ok(Some((lines, (state, on, filter, after))))
    })
}

/// `GET …/logs/{logId}`
pub(super) async fn read(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(LogRef(id)): Named<LogRef>,
) -> Handled {
    let row = state
        .gateway
        .logs()
        .run(&on.principal, on.platform, ReadLog(id))
        .await?;
    answer::one(StatusCode::OK, LogView::of(&row))
}

/// `GET …/usage`
pub(super) async fn usage(
    State(state): State<ApiState>,
    on: OnPlatform,
    Wanted(format): Wanted,
    mut query: Query,
) -> Handled {
    let command = ReadUsage {
        from: query.parsed("from"),
        to: query.parsed("to"),
        group_by: query.parsed("group_by"),
        interval: query.parsed("interval"),
        timezone: query.parsed("timezone").unwrap_or_default(),
        end_user_id: query.parsed("end_user_id"),
        model: query.parsed("model"),
    };
    query.finish()?;
    let (group_by, interval) = (command.group_by, command.interval);
    let timezone = command.timezone.clone();
    let usage = state
        .gateway
        .logs()
        .run(&on.principal, on.platform, command)
        .await?;
    if let Some(format) = format {
        // The series, or the groups where there is none.
        let series = usage.series.iter().map(|it| line(&SeriesView::of(it)));
        let groups = usage.groups.iter().map(|it| line(&GroupView::of(it)));
        let lines: Vec<_> = match interval {
            Some(_) => series.collect::<Result<_, _>>()?,
            None => groups.collect::<Result<_, _>>()?,
        };
        let export = Export {
            format,
            name: format!("usage-{}", on.platform),
            columns: if interval.is_some() {
                &USAGE_COLUMNS
            } else {
                &USAGE_COLUMNS[1..]
            },
            rows: lines.len() as u64,
            standings: None,
        };
        return export.answer(stream::iter([Ok(lines)])).await;
    }
    let view = UsageView {
        from: usage.from,
        to: usage.to,
        group_by: group_by.map(|dimension| dimension.as_str()),
        interval: interval.map(|interval| interval.as_str()),
        timezone: timezone.as_str(),
        groups: usage.groups.iter().map(GroupView::of).collect(),
        series: usage.series.iter().map(SeriesView::of).collect(),
        totals: SumsView::of(&usage.totals),
    };
    answer::one(StatusCode::OK, view)
}
