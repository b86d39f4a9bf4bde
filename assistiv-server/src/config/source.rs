//! Where configuration comes from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

/// What [`Config::load`](super::Config::load) reads. No `Debug`: the environment holds secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file that the caller named; it must exist. `None` reads `assistiv.toml` in the working
    /// directory when there is one.
    pub config: Option<PathBuf>,
    /// Where relative paths start. Empty means the working directory of the process.
    pub working_dir: PathBuf,
    /// The environment. Names that start with `ASSISTIV_` are settings, any other may be named by
    /// `env:NAME`.
    pub env: BTreeMap<OsString, OsString>,
    /// Values given on the command line by key, such as `("server.listen", "127.0.0.1:0")`. When a
    /// key is repeated the last one counts. A secret is accepted as a reference only.
    pub flags: Vec<(String, String)>,
}

/// Where one effective value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// The built-in default.
    Default,
    /// A line of the configuration file, counted from 1.
    File {
        /// The file, as the caller spelled it.
        path: PathBuf,
        /// `None` when the problem is the file as a whole.
        line: Option<usize>,
    },
    /// The environment variable of this name.
    Env(String),
    /// A flag, spelled as on the command line.
    Flag(String),
}

// === impl Sources ===

impl Sources {
    /// The environment and working directory of this process.
    ///
    /// # Errors
    ///
    /// When the working directory is gone or may not be read.
    pub fn from_process(config: Option<PathBuf>, flags: Vec<(String, String)>) -> io::Result<Self> {
        Ok(Self {
            config,
            working_dir: std::env::current_dir()?,
            env: std::env::vars_os().collect(),
            flags,
        })
    }
}

// === impl Source ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
