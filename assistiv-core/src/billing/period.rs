//! Budget periods: boundaries at local midnight (`docs/api-design.md`).

use std::fmt;
use std::str::FromStr;

use jiff::civil;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// How long a budget's limits last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// Never resets.
    #[default]
    OneTime = 0,
    /// From midnight.
    Daily = 1,
    /// From Monday, midnight.
    Weekly = 2,
    /// From the first of the month, midnight.
    Monthly = 3,
}

/// An IANA time zone, known to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneName(TimeZone);

/// The name is not a known IANA time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a known IANA time zone, for example `Europe/Berlin`")]
pub struct ZoneError;

/// The bounds of a period: from `start` until before `end`; a one-time period has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// When it began.
    pub start: Timestamp,
    /// When the next one begins.
    pub end: Option<Timestamp>,
}

// === impl Period ===

impl Period {
    /// The bounds of the period that `at` lies in. A one-time period begins at `at`.
    ///
    /// A local midnight that does not exist is the first instant after the gap; one that occurs twice is the
    /// first of the two.
    pub fn bounds(self, at: Timestamp, zone: &ZoneName) -> Bounds {
        let today = at.to_jiff().to_zoned_datetime(zone.0.clone()).date();
        let one_time = Bounds {
            start: at,
            end: None,
        };
        let (first, step) = match self {
            Self::OneTime => return one_time,
            Self::Daily => (today, jiff::Span::new().days(1)),
            Self::Weekly => {
                let since_monday = today.weekday().to_monday_zero_offset();
                (
                    today.saturating_sub(jiff::Span::new().days(i64::from(since_monday))),
                    jiff::Span::new().weeks(1),
                )
            }
            Self::Monthly => (today.first_of_month(), jiff::Span::new().months(1)),
        };
        let start = zone.midnight(first);
        // Where midnight is skipped, the first instant of a day may lie after `at`'s own civil date began.
        let first = if start > at {
            first.saturating_sub(step)
        } else {
            first
        };
        Bounds {
            start: zone.midnight(first),
            end: Some(zone.midnight(first.saturating_add(step))),
        }
    }

    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::OneTime, Self::Daily, Self::Weekly, Self::Monthly]
            .into_iter()
            .find(|p| *p as i16 == number)
    }
}

// === impl ZoneName ===

impl ZoneName {
    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// How far local time is ahead of UTC at an instant, in microseconds.
    pub(crate) fn offset_micros(&self, at: Timestamp) -> i64 {
        i64::from(self.0.to_offset(at.to_jiff()).seconds()) * 1_000_000
    }

    /// When the distance from UTC changes next.
    pub(crate) fn next_transition(&self, after: Timestamp) -> Option<Timestamp> {
        let next = self.0.following(after.to_jiff()).next()?;
        Some(Timestamp::from_jiff(next.timestamp())).filter(|at| *at > after)
    }

    /// When a local day begins, numbered from 1970-01-01.
    pub(crate) fn day_start(&self, number: i64) -> Timestamp {
        self.midnight(local_day(number))
    }

    /// When the month begins that a local day lies in, numbered from 1970-01-01.
    pub(crate) fn month_start(&self, day: i64) -> Timestamp {
        self.midnight(local_day(day).first_of_month())
    }

    fn midnight(&self, date: civil::Date) -> Timestamp {
        let at_midnight = self
            .0
            .to_ambiguous_timestamp(date.to_datetime(civil::Time::midnight()));
        let instant = match at_midnight.offset() {
            // In a gap the "earlier" reading is the one before the clocks went forward; the first instant after
            // the gap is the transition itself.
            jiff::tz::AmbiguousOffset::Gap { .. } => self.first_instant_after_gap(date),
            _ => at_midnight.earlier().ok(),
        };
        instant.map_or(Timestamp::from_micros(i64::MAX), Timestamp::from_jiff)
    }

    fn first_instant_after_gap(&self, date: civil::Date) -> Option<jiff::Timestamp> {
        let before = date
            .yesterday()
            .ok()?
            .to_datetime(civil::Time::constant(12, 0, 0, 0));
        let noon_before = self.0.to_ambiguous_timestamp(before).earlier().ok()?;
        self.0
            .following(noon_before)
            .next()
            .map(|transition| transition.timestamp())
    }
}

fn local_day(number: i64) -> civil::Date {
    let days = jiff::Span::new().try_days(number).unwrap_or_default();
    civil::date(1970, 1, 1).saturating_add(days)
}

impl Default for ZoneName {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ZoneName {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        if text == "UTC" {
            return Ok(Self::default());
        }
        let zone = TimeZone::get(text).map_err(|_| ZoneError)?;
        // Names are compared without case by the database; one zone has one spelling here.
        if zone.iana_name() == Some(text) {
            Ok(Self(zone))
        } else {
            Err(ZoneError)
        }
    }
}

impl Serialize for ZoneName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ZoneName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn bounds(period: Period, now: &str, zone: &str) -> (String, String) {
        let bounds = period.bounds(at(now), &zone.parse().unwrap());
        (bounds.start.to_string(), bounds.end.unwrap().to_string())
    }

    #[test]
    fn months_weeks_and_days_begin_at_local_midnight() {
        for (period, now, zone, start, end) in [
            (
                Period::Monthly,
                "2026-04-08T10:30:00Z",
                "UTC",
                "2026-04-01T00:00:00Z",
                "2026-05-01T00:00:00Z",
            ),
            (
                Period::Monthly,
                "2026-12-31T23:30:00Z",
                "Europe/Berlin",
                "2026-12-31T23:00:00Z",
                "2027-01-31T23:00:00Z",
            ),
            (
                Period::Monthly,
                "2028-02-29T12:00:00Z",
                "UTC",
                "2028-02-01T00:00:00Z",
                "2028-03-01T00:00:00Z",
            ),
            (
                Period::Weekly,
                "2026-11-23T00:00:00Z",
                "UTC",
                "2026-11-23T00:00:00Z",
                "2026-11-30T00:00:00Z",
            ),
            (
                Period::Weekly,
                "2026-11-22T23:59:59Z",
                "UTC",
                "2026-11-16T00:00:00Z",
                "2026-11-23T00:00:00Z",
            ),
            // The clocks go forward on 2026-03-29 and back on 2026-10-25: days of 23 and of 25 hours.
            (
                Period::Daily,
                "2026-03-29T12:00:00Z",
                "Europe/Berlin",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                Period::Daily,
                "2026-10-25T12:00:00Z",
                "Europe/Berlin",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
        ] {
            assert_eq!(
                bounds(period, now, zone),
                (start.to_owned(), end.to_owned()),
                "{now} {zone}"
            );
        }
    }

    #[test]
    fn a_midnight_that_is_skipped_is_the_first_instant_after_the_gap() {
        // Beirut, 2026-03-29: 00:00 +02 is 01:00 +03.
        let (start, end) = bounds(Period::Daily, "2026-03-29T10:00:00Z", "Asia/Beirut");
        assert_eq!(
            (start.as_str(), end.as_str()),
            ("2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z")
        );
    }

    #[test]
    fn a_midnight_that_occurs_twice_is_the_first() {
        // Havana, 2026-11-01: 01:00 −04 is 00:00 −05.
        let (start, _) = bounds(Period::Daily, "2026-11-01T12:00:00Z", "America/Havana");
        assert_eq!(start, "2026-11-01T04:00:00Z");
    }

    #[test]
    fn unknown_zones_are_refused() {
        for name in ["", "utc", "Mars/Olympus", "europe/berlin", "+02:00"] {
            assert_eq!(name.parse::<ZoneName>(), Err(ZoneError), "{name}");
        }
    }
}
