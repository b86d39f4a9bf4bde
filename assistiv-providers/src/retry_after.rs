//! How long a provider asks to wait.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// Longer waits are taken for this: nobody sleeps for a day because of one header.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads `retry-after-ms` (OpenAI API reference, "Debugging requests") or `retry-after` in seconds or as a date
/// (RFC 9110, section 10.2.3; both read on 2026-11-23), rounded up to whole seconds.
///
/// A date is compared with the answer's own `date`, so that neither side's clock matters.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let number = |text: &str| text.parse::<f64>().ok();
    let wait = match text("retry-after-ms").and_then(number) {
        Some(ms) => Duration::try_from_secs_f64(ms / 1000.0).ok()?,
        None => {
            let after = text(RETRY_AFTER.as_str())?;
            match number(after) {
                Some(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
                None => {
                    let until = httpdate::parse_http_date(after).ok()?;
                    let now = httpdate::parse_http_date(text(DATE.as_str())?).ok()?;
                    until.duration_since(now).unwrap_or_default()
                }
            }
        }
    };
    Some(whole_seconds(wait))
}

/// A wait, rounded up to whole seconds, and no longer than anybody waits.
pub(crate) fn whole_seconds(wait: Duration) -> Duration {
    let up = u64::from(wait.subsec_nanos() > 0);
    Duration::from_secs(wait.as_secs().saturating_add(up)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_rounded_up_to_seconds() {
        let date = ("date", "Mon, 23 Nov 2026 10:00:00 GMT");
        for (headers, seconds) in [
            (vec![("retry-after", "2")], Some(2)),
            (vec![("retry-after", "0")], Some(0)),
            (vec![("retry-after", "0.2")], Some(1)),
            (
                vec![("retry-after-ms", "1500"), ("retry-after", "9")],
                Some(2),
            ),
            (
                vec![("retry-after-ms", "soon"), ("retry-after", "9")],
                Some(9),
            ),
            (
                vec![("retry-after", "Mon, 23 Nov 2026 10:01:30 GMT"), date],
                Some(90),
            ),
            (
                vec![("retry-after", "Mon, 23 Nov 2026 09:00:00 GMT"), date],
                Some(0),
            ),
            (vec![("retry-after", "Mon, 23 Nov 2026 10:01:30 GMT")], None),
            (vec![("retry-after", "-1")], None),
            (vec![("retry-after", "NaN")], None),
            (vec![("retry-after", "1e300")], None),
            (vec![("retry-after", "999999999")], Some(86_400)),
            (vec![("retry-after", "soon")], None),
            (vec![], None),
        ] {
            let map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            assert_eq!(
                retry_after(&map),
                seconds.map(Duration::from_secs),
                "{headers:?}"
            );
        }
    }
}
