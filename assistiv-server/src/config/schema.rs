//! What a key is, how it is spelled and how it is found.

use std::fmt;
use std::fmt::Write as _;

use super::Config;
use super::keys::KEYS;
use super::parse;
use super::value::{Fault, Input};

/// What the environment variables of settings start with.
pub(super) const ENV_PREFIX: &str = "ASSISTIV_";

/// The part of a key that stands for the slug of any provider.
const PLACEHOLDER: &str = "SLUG";

/// One setting.
#[non_exhaustive]
pub struct Key {
    /// The spelling of the file, such as `server.listen`. In keys per provider the part `SLUG`
    /// stands for the provider.
    pub path: &'static str,
    /// The flag without its dashes; `None` for keys per provider, which have `--set KEY=VALUE`.
    pub flag: Option<&'static str>,
    /// What holds when nothing is set.
    pub default: KeyDefault,
    /// Whether the value is never shown.
    pub secret: bool,
    /// What it is for, as Markdown without a full stop.
    pub meaning: &'static str,
    /// Checks a value and stores it; the text is the slug in keys per provider.
    pub(super) apply: Apply,
}

pub(super) type Apply = fn(&mut Config, &str, Input) -> Result<(), Fault>;

/// What holds when a key is not set. Complete: there is a value or there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDefault {
    /// This value, spelled as in the environment.
    Value(&'static str),
    /// No value, with this consequence.
    Absent(&'static str),
}

/// A key as it is spelled somewhere, with the provider's slug if it has one.
pub(super) struct Found {
    pub(super) key: &'static Key,
    pub(super) path: String,
    pub(super) slug: String,
}

// === impl Key ===

impl Key {
    /// The environment variable, such as `ASSISTIV_SERVER__LISTEN`.
    pub fn env(&self) -> String {
        env_of(self.path)
    }

    /// Whether the key exists once per provider.
    pub fn is_pattern(&self) -> bool {
        self.path.split('.').any(|part| part == PLACEHOLDER)
    }

    /// The key of one provider; the key itself when it is not per provider.
    pub(super) fn path_for(&self, slug: &str) -> String {
        let parts = self.path.split('.');
        parts
            .map(|part| if part == PLACEHOLDER { slug } else { part })
            .collect::<Vec<_>>()
            .join(".")
    }

    /// How the command line spells it.
    pub(super) fn flag_for(&self, path: &str) -> String {
        match self.flag {
            Some(flag) => format!("--{flag}"),
            None => format!("--set {path}"),
        }
    }
}

// === impl KeyDefault ===

impl fmt::Display for KeyDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(text) | Self::Absent(text) => f.write_str(text),
        }
    }
}

/// The settings as a Markdown table: key, environment variable, default, meaning.
pub fn reference_markdown() -> String {
    let mut table = String::from("| Key | Environment | Default | Meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = match key.default {
            KeyDefault::Value("") => "empty".to_owned(),
            KeyDefault::Value(text) => format!("`{text}`"),
            KeyDefault::Absent(text) => text.to_owned(),
        };
        let meaning = key.meaning.replace('|', "\\|");
        let meaning = if key.secret {
            format!("{meaning} (secret)")
        } else {
            meaning
        };
        // Writing into a string cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | `{}` | {default} | {meaning} |",
            key.path,
            key.env()
        );
    }
    table
}

/// The key that these parts spell, if there is one.
///
/// # Errors
///
/// When only the slug in it cannot be one.
pub(super) fn by_parts(parts: &[String]) -> Option<Result<Found, Fault>> {
    let key = KEYS.iter().find(|key| {
        let known: Vec<&str> = key.path.split('.').collect();
        known.len() == parts.len()
            && known
                .iter()
                .zip(parts)
                .all(|(known, part)| *known == PLACEHOLDER || known == part)
    })?;
    let mut slug = String::new();
    if let Some(at) = key.path.split('.').position(|part| part == PLACEHOLDER) {
        slug.clone_from(parts.get(at)?);
        if !parse::is_slug(&slug) {
            return Some(Err(Fault::bad(format!(
                "{slug:?} is not the slug of a provider: lower-case letters, digits and hyphens"
            ))));
        }
    }
    Some(Ok(Found {
        key,
        path: key.path_for(&slug),
        slug,
    }))
}

/// The key of an environment variable, if there is one. An underscore in a provider's slug stands
/// for a hyphen, which shells do not allow in names.
pub(super) fn by_env(name: &str) -> Option<Found> {
    KEYS.iter().find_map(|key| {
        let known = key.env();
        if !key.is_pattern() {
            let path = key.path.to_owned();
            return (known == name).then_some(Found {
                key,
                path,
                slug: String::new(),
            });
        }
        let (before, after) = known.split_once(PLACEHOLDER)?;
        let slug = name.strip_prefix(before)?.strip_suffix(after)?;
        if slug.bytes().any(|b| b.is_ascii_lowercase()) {
            return None;
        }
        let slug = slug.to_ascii_lowercase().replace('_', "-");
        let path = key.path_for(&slug);
        parse::is_slug(&slug).then_some(Found { key, path, slug })
    })
}

/// Whether these parts name a table that holds keys.
pub(super) fn is_section(parts: &[String]) -> bool {
    KEYS.iter().any(|key| {
        let known: Vec<&str> = key.path.split('.').collect();
        known.len() > parts.len()
            && known
                .iter()
                .zip(parts)
                .all(|(known, part)| *known == PLACEHOLDER || known == part)
    })
}

/// The keys that a misspelled one is compared with; those per provider take its slug. A name without
/// a section may have been meant as one.
pub(super) fn candidates(parts: &[String]) -> impl Iterator<Item = String> {
    let slug = parts.get(1).map_or(PLACEHOLDER, String::as_str);
    let top = parts.len() == 1;
    let sections = KEYS
        .iter()
        .filter_map(|key| key.path.split('.').next())
        .map(str::to_owned);
    KEYS.iter()
        .map(move |key| key.path_for(slug))
        .chain(sections.filter(move |_| top))
}

/// The environment variables that a misspelled one is compared with.
pub(super) fn env_candidates(name: &str) -> impl Iterator<Item = String> {
    let slug = name.split("__").nth(1).unwrap_or(PLACEHOLDER).to_owned();
    KEYS.iter().map(move |key| env_of(&key.path_for(&slug)))
}

fn env_of(path: &str) -> String {
    let name = path
        .replace('.', "__")
        .replace('-', "_")
        .to_ascii_uppercase();
    format!("{ENV_PREFIX}{name}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::value::{Quote, Raw};

    fn parts(path: &str) -> Vec<String> {
        path.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn defaults_in_the_table_are_the_defaults_in_the_types() {
        for key in KEYS {
            let KeyDefault::Value(text) = key.default else {
                continue;
            };
            let mut config = Config::default();
            let input = Input {
                raw: Raw::Text(text.to_owned()),
                quote: Quote::Allowed,
            };
            (key.apply)(&mut config, "", input).unwrap();
            assert_eq!(
                format!("{config:?}"),
                format!("{:?}", Config::default()),
                "{}",
                key.path
            );
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        let mut names = BTreeSet::new();
        for key in KEYS {
            assert!(names.insert(key.path.to_owned()), "{}", key.path);
            assert!(names.insert(key.env()), "{}", key.path);
            assert!(names.insert(key.flag_for(key.path)), "{}", key.path);
            let path = key.path_for("openai");
            let found = by_parts(&parts(&path))
                .unwrap()
                .map_err(|fault| fault.message)
                .unwrap();
            assert_eq!(
                (found.key.path, found.path.as_str()),
                (key.path, path.as_str())
            );
            let found = by_env(&env_of(&path)).unwrap();
            assert_eq!((found.key.path, found.path), (key.path, path));
        }
    }

    #[test]
    fn environment_names_of_providers_carry_hyphens_as_underscores() {
        let found = by_env("ASSISTIV_PROVIDERS__MY_VLLM__BASE_URL").unwrap();
        assert_eq!(
            (found.path.as_str(), found.slug.as_str()),
            ("providers.my-vllm.base_url", "my-vllm")
        );
        assert!(by_env("ASSISTIV_PROVIDERS__openai__BASE_URL").is_none());
        assert!(by_env("ASSISTIV_PROVIDERS____BASE_URL").is_none());
    }

    #[test]
    fn sections_are_known() {
        assert!(is_section(&parts("server")));
        assert!(is_section(&parts("providers.openai")));
        assert!(!is_section(&parts("server.listen")));
        assert!(!is_section(&parts("servr")));
    }

    #[test]
    fn the_reference_has_a_row_per_key() {
        let table = reference_markdown();
        assert_eq!(table.lines().count(), KEYS.len() + 2);
        assert!(
            table.contains("| `server.listen` | `ASSISTIV_SERVER__LISTEN` | `127.0.0.1:8080` |")
        );
        assert!(table.contains("| `ASSISTIV_PROVIDERS__SLUG__BASE_URL` | the vendor's |"));
    }
}
