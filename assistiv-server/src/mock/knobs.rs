//! Knobs: words in the last user message that bend the answer. The list is in [`super`]'s docs.

use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;

/// Marks a word as a knob.
const PREFIX: &str = "mock:";

const WORDS_MAX: usize = 20_000;

/// What the knobs of one message ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Knobs {
    pub(super) fault: Option<Fault>,
    pub(super) words: Option<usize>,
    pub(super) delay: Option<Duration>,
    pub(super) first: Option<Duration>,
    pub(super) prompt_tokens: Option<u64>,
    pub(super) completion_tokens: Option<u64>,
    pub(super) cached_tokens: Option<u64>,
    pub(super) reasoning_tokens: Option<u64>,
    pub(super) usage: UsageReport,
    pub(super) no_done: bool,
    pub(super) secret_header: bool,
    pub(super) crlf: bool,
    pub(super) comments: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Status(StatusCode),
    Quota,
    Hang,
    HangMid,
    Cut,
    EndEarly,
    Garbage,
    Html,
    ErrorMid,
    ErrorFirst,
}

/// How the answer reports its usage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum UsageReport {
    #[default]
    Honest,
    Absent,
    Zero,
}

/// A knob that does not exist, or whose value makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown mock knob: {0}")]
pub(super) struct UnknownKnob(String);

// === impl Knobs ===

impl Knobs {
    /// The knobs in `text`, and the number of its other words.
    pub(super) fn parse(text: &str) -> Result<(Self, usize), UnknownKnob> {
        let mut knobs = Self::default();
        let mut others = 0;
        for word in text.split_whitespace() {
            match word.strip_prefix(PREFIX) {
                None => others += 1,
                Some(knob) => {
                    knobs
                        .set(knob)
                        .ok_or_else(|| UnknownKnob(knob.to_owned()))?;
                }
            }
        }
        Ok((knobs, others))
    }

    fn set(&mut self, knob: &str) -> Option<()> {
        match knob.split_once('=') {
            Some((name, value)) => self.set_value(name, value),
            None => self.set_flag(knob),
        }
    }

    fn set_value(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "status" => self.fault = Some(Fault::Status(error_status(value)?)),
            "words" => self.words = Some(number(value).filter(|&words| words <= WORDS_MAX)?),
            "delay_ms" => self.delay = Some(millis(value)?),
            "first_ms" => self.first = Some(millis(value)?),
            "prompt_tokens" => self.prompt_tokens = Some(number(value)?),
            "completion_tokens" => self.completion_tokens = Some(number(value)?),
            "cached_tokens" => self.cached_tokens = Some(number(value)?),
            "reasoning_tokens" => self.reasoning_tokens = Some(number(value)?),
            _ => return None,
        }
        Some(())
    }

    fn set_flag(&mut self, name: &str) -> Option<()> {
        match name {
            "quota" => self.fault = Some(Fault::Quota),
            "hang" => self.fault = Some(Fault::Hang),
            "hang_mid" => self.fault = Some(Fault::HangMid),
            "cut" => self.fault = Some(Fault::Cut),
            "end_early" => self.fault = Some(Fault::EndEarly),
            "garbage" => self.fault = Some(Fault::Garbage),
            "html" => self.fault = Some(Fault::Html),
            "error_mid" => self.fault = Some(Fault::ErrorMid),
            "error_first" => self.fault = Some(Fault::ErrorFirst),
            "no_usage" => self.usage = UsageReport::Absent,
            "zero_usage" => self.usage = UsageReport::Zero,
            "no_done" => self.no_done = true,
            "header_secret" => self.secret_header = true,
            "crlf" => self.crlf = true,
            "comments" => self.comments = true,
            _ => return None,
        }
        Some(())
    }
}

fn number<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

fn millis(value: &str) -> Option<Duration> {
    number::<u32>(value).map(|ms| Duration::from_millis(ms.into()))
}

fn error_status(value: &str) -> Option<StatusCode> {
    let status = StatusCode::from_bytes(value.as_bytes()).ok()?;
    (status.is_client_error() || status.is_server_error()).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_are_found_between_words() {
        let (knobs, words) =
            Knobs::parse("please mock:words=200\nbe slow mock:delay_ms=10 mock:crlf").unwrap();
        assert_eq!(words, 3);
        assert_eq!(knobs.words, Some(200));
        assert_eq!(knobs.delay, Some(Duration::from_millis(10)));
        assert!(knobs.crlf && !knobs.comments);
    }

    #[test]
    fn the_last_fault_counts() {
        let (knobs, _) = Knobs::parse("mock:hang mock:status=503").unwrap();
        assert_eq!(
            knobs.fault,
            Some(Fault::Status(StatusCode::SERVICE_UNAVAILABLE))
        );
    }

    #[test]
    fn typing_errors_are_refused() {
        for text in [
            "mock:",
            "mock:hnag",
            "mock:hang=1",
            "mock:words",
            "mock:words=x",
            "mock:words=20001",
            "mock:delay_ms=-1",
            "mock:status=200",
            "mock:status=600",
        ] {
            assert!(Knobs::parse(text).is_err(), "{text}");
        }
    }
}
