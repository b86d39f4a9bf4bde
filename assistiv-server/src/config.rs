//! The configuration of the server: one schema, three spellings.
//!
//! A value is named `server.listen` in `assistiv.toml`, `ASSISTIV_SERVER__LISTEN` in the
//! environment and `--listen` on the command line. Precedence is built-in default, file,
//! environment, flag. The schema is the table [`KEYS`]; reading, checking, `config show` and the
//! reference page all come from it, so that they cannot disagree.
//!
//! Any string may be `env:NAME` or `file:PATH`. The path is relative to the configuration file
//! when it stands there, else to the working directory. A reference that a later layer overrides
//! is not followed: a base file may name secrets that only exist in production.
//!
//! [`Config::load`] reports every problem at once and never starts from half a configuration.

mod check;
mod choice;
mod entry;
mod file;
mod groups;
mod keys;
mod load;
mod nearest;
mod parse;
mod problem;
mod reference;
mod schema;
mod source;
mod value;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::choice::{
    BeforeFirstByte, DeliveryGate, GateTimeoutAction, LastRequest, LogFormat, MidstreamError,
    OnExhausted, OutagePolicy, SuspendInflight, UnconfirmedDelivery, WalletTopup,
};
pub use self::groups::{
    Api, Billing, Database, DatabaseUrl, Limits, Log, Outbound, Provider, Security, Server,
};
pub use self::keys::KEYS;
pub use self::parse::decode_master_key;
pub use self::problem::{Problem, ProblemKind};
pub use self::schema::{Key, KeyDefault, reference_markdown};
pub use self::source::{Source, Sources};

/// The name of the generated master key file in [`Server::data_dir`].
pub const MASTER_KEY_FILE: &str = "master.key";

/// The name of the configuration file that is read when none is named.
pub const CONFIG_FILE: &str = "assistiv.toml";

/// Every setting of the server, checked.
///
/// [`Default`] gives the built-in defaults. `Debug` hides secrets.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Addresses, folders and the way down.
    pub server: Server,
    /// Where the data lives.
    pub database: Database,
    /// Keys, and where outbound calls may go.
    pub security: Security,
    /// Settings of providers by slug; providers without any are absent.
    pub providers: BTreeMap<String, Provider>,
    /// Hold, lease and settlement parameters.
    pub billing: Billing,
    /// Sizes, counts and deadlines.
    pub limits: Limits,
    /// Policies of the API.
    pub api: Api,
    /// What is logged and how.
    pub log: Log,
    origins: BTreeMap<String, Origin>,
}

/// Where an effective value came from, and how it may be shown.
#[derive(Clone, Debug)]
struct Origin {
    shown: String,
    source: Source,
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Shown {
    /// The key as the file spells it, such as `server.listen`.
    pub key: String,
    /// The effective value; `(hidden)` for a secret that is set.
    pub value: String,
    /// Where the value came from.
    pub source: Source,
}

// === impl Config ===

impl Config {
    /// Reads and checks the configuration.
    ///
    /// Values of a layer that a later layer overrides are checked too; only references in them are
    /// not followed. A relative `server.data_dir` is taken from the working directory.
    ///
    /// # Errors
    ///
    /// Every problem found, in the order file (by line), environment, flags, cross checks. When the
    /// file cannot be read or parsed, the cross checks are left out, since they would complain
    /// about values that the file may hold.
    pub fn load(sources: Sources) -> Result<Self, Vec<Problem>> {
        load::load(&sources)
    }

    /// Every effective value as loaded and where it came from, in the order of [`KEYS`].
    ///
    /// Keys per provider appear once for each provider that sets them. Changes made to the fields
    /// after loading are not reflected.
    pub fn show(&self) -> Vec<Shown> {
        let mut lines = Vec::with_capacity(KEYS.len());
        for key in KEYS {
            if !key.is_pattern() {
                lines.push(self.shown(key.path.to_owned(), key));
                continue;
            }
            for slug in self.providers.keys() {
                let path = key.path_for(slug);
                if self.origins.contains_key(&path) {
                    lines.push(self.shown(path, key));
                }
            }
        }
        lines
    }

    fn shown(&self, path: String, key: &Key) -> Shown {
        match self.origins.get(&path) {
            Some(origin) => Shown {
                key: path,
                value: origin.shown.clone(),
                source: origin.source.clone(),
            },
            None => Shown {
                key: path,
                value: key.default.to_string(),
                source: Source::Default,
            },
        }
    }
}
