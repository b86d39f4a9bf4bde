//! What can be wrong with a configuration.

use std::fmt;

use serde::Serialize;

use super::source::Source;

/// One thing to correct. `Display` is one line: place, key, what is wrong and what to do.
///
/// Never contains the value of a secret or anything read through a reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// What sort of problem it is.
    pub kind: ProblemKind,
    /// Where it is; [`Source::Default`] when nothing was given.
    pub source: Source,
    /// The key that it is about, absent for whole files and unknown environment variables.
    pub key: Option<String>,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// The sort of a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// The configuration file cannot be read.
    Unreadable,
    /// The configuration file is not TOML.
    Syntax,
    /// There is no such key.
    UnknownKey,
    /// The value has the wrong type.
    WrongType,
    /// The value has the right type and cannot be used.
    BadValue,
    /// What `env:NAME` or `file:PATH` points at is not there or may not be used.
    Reference,
    /// Each value is fine by itself, together they are refused.
    Conflict,
}

// === impl Problem ===

impl Problem {
    pub(super) fn new(kind: ProblemKind, source: Source, message: impl Into<String>) -> Self {
        Self {
            kind,
            source,
            key: None,
            message: message.into(),
        }
    }

    pub(super) fn about(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source != Source::Default {
            write!(f, "{}: ", self.source)?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
