//! Values with their key and place, from the environment and the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::nearest::nearest;
use super::problem::{Problem, ProblemKind};
use super::reference;
use super::schema::{self, ENV_PREFIX, Found};
use super::source::Source;
use super::value::{Raw, without_password};

/// One value that was given for a known key.
pub(super) struct Entry {
    pub(super) found: Found,
    pub(super) raw: Raw,
    pub(super) source: Source,
}

/// The settings in the environment; variables of other programs are left alone.
pub(super) fn from_env(
    env: &BTreeMap<OsString, OsString>,
    problems: &mut Vec<Problem>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, value) in env {
        let name = name.to_string_lossy();
        if !name.starts_with(ENV_PREFIX) {
            continue;
        }
        let source = Source::Env(name.to_string());
        let Some(found) = schema::by_env(&name) else {
            let near = nearest(&name, schema::env_candidates(&name));
            let message = format!("unknown variable{}", near_text(near));
            problems.push(Problem::new(ProblemKind::UnknownKey, source, message));
            continue;
        };
        match value.to_str() {
            Some(text) => {
                entries.push(Entry {
                    found,
                    raw: Raw::Text(text.to_owned()),
                    source,
                });
            }
            None => problems.push(
                Problem::new(ProblemKind::BadValue, source, "the value is not UTF-8")
                    .about(found.path),
            ),
        }
    }
    entries
}

/// The settings on the command line.
pub(super) fn from_flags(flags: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (path, text) in flags {
        let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
        let found = match schema::by_parts(&parts) {
            Some(Ok(found)) => found,
            Some(Err(fault)) => {
                let source = Source::Flag(format!("--set {path}"));
                problems.push(Problem::new(fault.kind, source, fault.message));
                continue;
            }
            None => {
                let source = Source::Flag(format!("--set {path}"));
                problems.push(unknown_key(&parts, source));
                continue;
            }
        };
        let source = Source::Flag(found.key.flag_for(&found.path));
        let is_secret = found.key.secret || without_password(text) != *text;
        if is_secret && !reference::is_reference(text) {
            let message = "secrets must not be arguments, which other users of the machine can \
                           see: give file:PATH or env:NAME";
            problems.push(Problem::new(ProblemKind::BadValue, source, message).about(found.path));
            continue;
        }
        entries.push(Entry {
            found,
            raw: Raw::Text(text.clone()),
            source,
        });
    }
    entries
}

/// The problem of a key that is not in the schema.
pub(super) fn unknown_key(parts: &[String], source: Source) -> Problem {
    let path = parts.join(".");
    let near = nearest(&path, schema::candidates(parts));
    // Quoted keys may contain anything, also what would garble a terminal.
    let path = path.escape_debug().to_string();
    Problem::new(
        ProblemKind::UnknownKey,
        source,
        format!("unknown key{}", near_text(near)),
    )
    .about(path)
}

fn near_text(near: Option<String>) -> String {
    near.map(|name| format!(", the nearest known one is {}", name.escape_debug()))
        .unwrap_or_default()
}
