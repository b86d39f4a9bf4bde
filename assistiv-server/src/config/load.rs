//! Putting the layers together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::check;
use super::entry::{self, Entry};
use super::file::{self, Parsed};
use super::problem::{Problem, ProblemKind};
use super::reference::{self, References};
use super::source::{Source, Sources};
use super::{CONFIG_FILE, Config, Origin};

/// See [`Config::load`].
pub(super) fn load(sources: &Sources) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let (mut entries, file_dir, parsed) = read_file(sources, &mut problems);
    entries.extend(entry::from_env(&sources.env, &mut problems));
    entries.extend(entry::from_flags(&sources.flags, &mut problems));

    let mut config = Config::default();
    let places = Places {
        env: &sources.env,
        file: &file_dir,
        other: &sources.working_dir,
    };
    let given = apply(entries, &places, &mut config, &mut problems);
    problems.sort_by(|a, b| a.source.cmp(&b.source));
    if config.server.data_dir.is_relative() {
        config.server.data_dir = sources.working_dir.join(&config.server.data_dir);
    }
    if parsed == Parsed::Whole {
        check::cross_check(&config, &given, &mut problems);
    }
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

/// Every key that was given, also in vain, with its winning place.
pub(super) type Given = BTreeMap<String, Source>;

/// Where references lead to, by where they stand.
struct Places<'a> {
    env: &'a BTreeMap<OsString, OsString>,
    file: &'a Path,
    other: &'a Path,
}

fn read_file(sources: &Sources, problems: &mut Vec<Problem>) -> (Vec<Entry>, PathBuf, Parsed) {
    let name = sources
        .config
        .clone()
        .unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
    let path = sources.working_dir.join(&name);
    let dir = path.parent().unwrap_or(Path::new("")).to_owned();
    match reference::read_text(&path) {
        Ok((text, _)) => {
            let (entries, parsed) = file::from_toml(&name, &text, problems);
            (entries, dir, parsed)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && sources.config.is_none() => {
            (Vec::new(), dir, Parsed::Whole)
        }
        Err(error) => {
            let source = Source::File {
                path: name,
                line: None,
            };
            let message = format!("cannot read the configuration file: {error}");
            problems.push(Problem::new(ProblemKind::Unreadable, source, message));
            (Vec::new(), dir, Parsed::Broken)
        }
    }
}

/// Stores the entries, of which later ones override earlier ones.
fn apply(
    entries: Vec<Entry>,
    places: &Places<'_>,
    config: &mut Config,
    problems: &mut Vec<Problem>,
) -> Given {
    let mut last = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        last.insert(entry.found.path.clone(), index);
    }
    let mut given = Given::new();
    for (index, Entry { found, raw, source }) in entries.into_iter().enumerate() {
        given.insert(found.path.clone(), source.clone());
        let wins = last.get(&found.path) == Some(&index);
        if !wins && reference::has_reference(&raw) {
            continue;
        }
        let dir = match source {
            Source::File { .. } => places.file,
            _ => places.other,
        };
        let secret = found.key.secret;
        let result = References {
            env: places.env,
            dir,
            secret,
        }
        .resolve(raw)
        .and_then(|input| {
            let shown = if secret {
                "(hidden)".to_owned()
            } else {
                input.raw.shown()
            };
            (found.key.apply)(config, &found.slug, input).map(|()| shown)
        });
        match result {
            Ok(shown) => {
                config.origins.insert(found.path, Origin { shown, source });
            }
            Err(fault) => {
                problems.push(Problem::new(fault.kind, source, fault.message).about(found.path));
            }
        }
    }
    given
}
