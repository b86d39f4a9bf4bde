//! One value as it was given, and its way to a type.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::choice::Choice;
use super::parse;
use super::problem::ProblemKind;

/// A value before its key is asked what it should be. No `Debug`: it may be a secret.
pub(super) enum Raw {
    /// From the environment, a flag or a reference: text stands for a value of any type.
    Text(String),
    /// A TOML string.
    String(String),
    /// A TOML integer, in decimal.
    Integer(String),
    /// A TOML float, digit by digit as written, so that decimals stay exact.
    Float(String),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Anything else, by the name of its type.
    Other(&'static str),
}

/// A value whose references are resolved.
pub(super) struct Input {
    pub(super) raw: Raw,
    pub(super) quote: Quote,
}

/// Whether a message may contain the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    Allowed,
    /// Secrets, and whatever came through a reference and may be anything.
    Never,
}

/// Why a value was refused.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: ProblemKind,
    pub(super) message: String,
}

// === impl Fault ===

impl Fault {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self {
            kind: ProblemKind::BadValue,
            message: message.into(),
        }
    }

    pub(super) fn reference(message: impl Into<String>) -> Self {
        Self {
            kind: ProblemKind::Reference,
            message: message.into(),
        }
    }
}

// === impl Raw ===

impl Raw {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a boolean",
            Self::List(_) => "an array",
            Self::Other(name) => name,
        }
    }

    /// The value on one line.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::String(text) => without_password(text),
            Self::Integer(text) | Self::Float(text) => text.clone(),
            Self::Bool(value) => value.to_string(),
            Self::List(items) => items.join(", "),
            Self::Other(name) => (*name).to_owned(),
        }
    }
}

/// A URL without the password in it; any other text as it is.
pub(super) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (address, query) = match rest.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (rest, None),
    };
    let authority_end = address.find('/').unwrap_or(address.len());
    // A password may have an `@` in it that was not encoded.
    let user_end = address[..authority_end].rfind('@');
    let password = user_end.and_then(|end| Some(address[..end].find(':')? + 1..end));
    let mut shown = format!("{scheme}://{address}");
    if let Some(password) = password {
        let begin = scheme.len() + "://".len();
        shown.replace_range(begin + password.start..begin + password.end, "(hidden)");
    }
    if let Some(query) = query {
        let parts = query.split('&').map(|part| match part.split_once('=') {
            Some(("password", _)) => "password=(hidden)",
            _ => part,
        });
        shown.push('?');
        shown.push_str(&parts.collect::<Vec<_>>().join("&"));
    }
    shown
}

// === impl Input ===

impl Input {
    /// A string that `parse` understands; `expected` completes "… is not".
    pub(super) fn parsed<T>(
        self,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Fault> {
        let text = match &self.raw {
            Raw::Text(text) | Raw::String(text) => text,
            _ => return Err(self.wrong_type(expected)),
        };
        parse(text).ok_or_else(|| Fault::bad(format!("{} is not {expected}", self.quoted())))
    }

    /// A string that `parse` understands, or its reason against it.
    pub(super) fn checked<T>(
        self,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Fault> {
        match &self.raw {
            Raw::Text(text) | Raw::String(text) => parse(text).map_err(Fault::bad),
            _ => Err(self.wrong_type(expected)),
        }
    }

    /// A whole number in `range`.
    pub(super) fn integer(self, range: RangeInclusive<usize>) -> Result<usize, Fault> {
        let (Raw::Integer(text) | Raw::Text(text)) = &self.raw else {
            return Err(self.wrong_type("a whole number"));
        };
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                let quoted = self.quoted();
                let (min, max) = (range.start(), range.end());
                Fault::bad(format!(
                    "{quoted} is not a whole number from {min} to {max}"
                ))
            })
    }

    /// `true` or `false`.
    pub(super) fn boolean(self) -> Result<bool, Fault> {
        match &self.raw {
            Raw::Bool(value) => Ok(*value),
            Raw::Text(_) => self.parsed("true or false", |text| text.parse().ok()),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    /// A duration that may be zero.
    pub(super) fn duration(self) -> Result<Duration, Fault> {
        self.parsed(
            "a duration such as 500ms, 5s, 2m or 1h (168h at most)",
            parse::duration,
        )
    }

    /// A duration above zero.
    pub(super) fn positive_duration(self) -> Result<Duration, Fault> {
        match self.duration()? {
            Duration::ZERO => Err(Fault::bad("must be above zero")),
            duration => Ok(duration),
        }
    }

    /// A decimal as parts per thousand.
    pub(super) fn per_mille(self, range: RangeInclusive<u32>) -> Result<u32, Fault> {
        let expected = format!(
            "a decimal such as 1.10 from {} to {} with at most three decimals",
            range.start() / 1000,
            range.end() / 1000
        );
        let (Raw::Text(text) | Raw::String(text) | Raw::Integer(text) | Raw::Float(text)) =
            &self.raw
        else {
            return Err(self.wrong_type(&expected));
        };
        parse::per_mille(text)
            .filter(|number| range.contains(number))
            .ok_or_else(|| Fault::bad(format!("{} is not {expected}", self.quoted())))
    }

    /// One word out of a few.
    pub(super) fn choice<T: Choice>(self) -> Result<T, Fault> {
        let words: Vec<&str> = T::ALL.iter().map(|(word, _)| *word).collect();
        self.parsed(&format!("one of {}", words.join(", ")), |text| {
            T::ALL
                .iter()
                .find(|(word, _)| *word == text)
                .map(|(_, value)| *value)
        })
    }

    /// An array of strings, or text with commas or line breaks between the items.
    pub(super) fn list<T>(
        self,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Fault> {
        let quote = self.quote;
        let items: Vec<&str> = match &self.raw {
            Raw::List(items) => items.iter().map(|item| item.trim()).collect(),
            Raw::Text(text) | Raw::String(text) => text
                .split([',', '\n'])
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect(),
            _ => return Err(self.wrong_type("an array of strings")),
        };
        items
            .into_iter()
            .map(|item| {
                parse(item)
                    .map_err(|reason| Fault::bad(format!("{} {reason}", quoted(item, quote))))
            })
            .collect()
    }

    fn wrong_type(&self, expected: &str) -> Fault {
        Fault {
            kind: ProblemKind::WrongType,
            message: format!("expected {expected}, found {}", self.raw.type_name()),
        }
    }

    fn quoted(&self) -> String {
        quoted(&self.raw.shown(), self.quote)
    }
}

/// Long enough for every sensible value, short enough for a line of output.
const QUOTED_CHARS_MAX: usize = 80;

fn quoted(text: &str, quote: Quote) -> String {
    match quote {
        Quote::Never => "the value".to_owned(),
        Quote::Allowed => {
            let mut quoted = format!(
                "{:?}",
                text.chars().take(QUOTED_CHARS_MAX).collect::<String>()
            );
            if text.chars().count() > QUOTED_CHARS_MAX {
                quoted.push('…');
            }
            quoted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeliveryGate;

    fn input(raw: Raw) -> Input {
        Input {
            raw,
            quote: Quote::Allowed,
        }
    }

    fn text(text: &str) -> Input {
        input(Raw::Text(text.to_owned()))
    }

    #[test]
    fn integers_keep_to_their_range() {
        assert_eq!(input(Raw::Integer("7".into())).integer(1..=9).unwrap(), 7);
        assert_eq!(text("7").integer(1..=9).unwrap(), 7);
        for bad in ["0", "10", "-1", "x", "1.0", "", "99999999999999999999999"] {
            let fault = text(bad).integer(1..=9).unwrap_err();
            assert_eq!(fault.kind, ProblemKind::BadValue);
            assert!(
                fault.message.ends_with("is not a whole number from 1 to 9"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_toml_string_is_no_number_and_no_boolean() {
        let fault = input(Raw::String("7".into())).integer(1..=9).unwrap_err();
        assert_eq!(fault.kind, ProblemKind::WrongType);
        assert_eq!(fault.message, "expected a whole number, found a string");
        let fault = input(Raw::String("true".into())).boolean().unwrap_err();
        assert_eq!(fault.kind, ProblemKind::WrongType);
    }

    #[test]
    fn a_choice_names_its_words() {
        assert_eq!(
            text("relaxed").choice::<DeliveryGate>().unwrap(),
            DeliveryGate::Relaxed
        );
        let fault = text("Strict").choice::<DeliveryGate>().unwrap_err();
        assert_eq!(fault.message, r#""Strict" is not one of strict, relaxed"#);
    }

    #[test]
    fn what_may_not_be_quoted_is_not() {
        let hidden = Input {
            raw: Raw::Text("hunter2".into()),
            quote: Quote::Never,
        };
        assert_eq!(
            hidden.choice::<DeliveryGate>().unwrap_err().message,
            "the value is not one of strict, relaxed"
        );
    }

    #[test]
    fn lists_come_as_arrays_or_text() {
        let upper = |item: &str| match item {
            "" => Err("is empty".to_owned()),
            item => Ok(item.to_uppercase()),
        };
        let array = input(Raw::List(vec!["a".into(), " b ".into()]));
        assert_eq!(array.list(upper).unwrap(), ["A", "B"]);
        assert_eq!(text("a, b\nc,").list(upper).unwrap(), ["A", "B", "C"]);
        assert_eq!(text("").list(upper).unwrap(), Vec::<String>::new());
        assert!(input(Raw::List(vec![String::new()])).list(upper).is_err());
        assert_eq!(
            input(Raw::Bool(true)).list(upper).unwrap_err().kind,
            ProblemKind::WrongType
        );
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        let fault = text(&"x".repeat(500)).boolean().unwrap_err();
        assert!(fault.message.len() < 150);
    }
}
