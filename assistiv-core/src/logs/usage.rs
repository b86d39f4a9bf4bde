//! Usage by local hours, days and months.
//!
//! A store knows equal steps of time alone. A zone is cut where its distance from UTC changes, so that each part
//! has equal steps, and what belongs to one day or month is put together again.

use std::collections::BTreeMap;

use super::commands::{Usage, UsageGroup, UsageSeries};
use super::{LogStore, Step, Sums, UsageQuery, UsageRow};
use crate::auth::PlatformScope;
use crate::billing::{Period, ZoneName};
use crate::clock::Timestamp;
use crate::store::StoreError;

const HOUR_MICROS: i64 = 3_600 * 1_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// What a series has a line for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Hours.
    Hour,
    /// Days of a time zone.
    Day,
    /// Months of a time zone.
    Month,
}

super::parsed_by_name!(
    Interval,
    "`hour`, `day` or `month`",
    [Hour = "hour", Day = "day", Month = "month"]
);

// === impl Interval ===

impl Interval {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    const fn step_micros(self) -> i64 {
        match self {
            Self::Hour => HOUR_MICROS,
            Self::Day | Self::Month => DAY_MICROS,
        }
    }

    /// When the interval began that a step lies in.
    fn start(self, step: Step, number: i64, zone: &ZoneName) -> Timestamp {
        match self {
            Self::Hour => Timestamp::from_micros(number * step.micros - step.offset_micros),
            Self::Day => zone.day_start(number),
            Self::Month => zone.month_start(number),
        }
    }
}

/// When the month began that `at` lies in.
pub(super) fn month_of(at: Timestamp, zone: &ZoneName) -> Timestamp {
    Period::Monthly.bounds(at, zone).start
}

/// Usage without a series.
pub(super) async fn whole(
    store: &dyn LogStore,
    scope: &PlatformScope,
    query: UsageQuery,
) -> Result<Usage, StoreError> {
    let rows = store.usage(scope, &query).await?;
    Ok(gathered(&query, &rows, Vec::new()))
}

/// Usage with a line for each interval.
pub(super) async fn by_interval(
    store: &dyn LogStore,
    scope: &PlatformScope,
    query: UsageQuery,
    interval: Interval,
    zone: &ZoneName,
) -> Result<Usage, StoreError> {
    let mut all = Vec::new();
    let mut lines: BTreeMap<(Timestamp, Option<String>), Sums> = BTreeMap::new();
    let mut from = query.from;
    while from < query.to {
        let to = zone
            .next_transition(from)
            .map_or(query.to, |at| at.min(query.to));
        let step = Step {
            micros: interval.step_micros(),
            offset_micros: zone.offset_micros(from),
        };
        let part = UsageQuery {
            from,
            to,
            step: Some(step),
            ..query.clone()
        };
        let rows = store.usage(scope, &part).await?;
        for row in &rows {
            let start = interval.start(step, row.step, zone);
            let line = lines.entry((start, row.key.clone())).or_default();
            *line = line.plus(&row.sums);
        }
        all.extend(rows);
        from = to;
    }
    let series = lines
        .into_iter()
        .map(|((start, key), sums)| UsageSeries { start, key, sums })
        .collect();
    Ok(gathered(&query, &all, series))
}

fn gathered(query: &UsageQuery, rows: &[UsageRow], series: Vec<UsageSeries>) -> Usage {
    let mut groups: BTreeMap<Option<&String>, Sums> = BTreeMap::new();
    let mut totals = Sums::default();
    for row in rows {
        let group = groups.entry(row.key.as_ref()).or_default();
        *group = group.plus(&row.sums);
        totals = totals.plus(&row.sums);
    }
    let groups = match query.group_by {
        None => Vec::new(),
        Some(_) => groups
            .into_iter()
            .map(|(key, sums)| UsageGroup {
                key: key.cloned(),
                sums,
            })
            .collect(),
    };
    Usage {
        from: query.from,
        to: query.to,
        groups,
        series,
        totals,
    }
}
