//! A configuration file, an environment and flags for the tests of the layers together.

use std::path::Path;

use tempfile::TempDir;

use super::{CONFIG_FILE, Config, Problem, ProblemKind, Sources};

pub(super) const MASTER_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

pub(super) fn operator_key() -> String {
    let key = assistiv_core::auth::PresentedKey::generate(assistiv_core::auth::KeyKind::Operator);
    key.unwrap().reveal().to_owned()
}

/// A folder with a configuration file, an environment and flags.
pub(super) struct Setup {
    dir: TempDir,
    pub(super) sources: Sources,
}

impl Setup {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let working_dir = dir.path().to_owned();
        Self {
            dir,
            sources: Sources {
                working_dir,
                ..Sources::default()
            },
        }
    }

    pub(super) fn toml(text: &str) -> Self {
        Self::new().write(CONFIG_FILE, text, 0o644)
    }

    pub(super) fn write(self, name: &str, text: &str, mode: u32) -> Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        set_mode(&path, mode);
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.env.insert(name.into(), value.into());
        self
    }

    pub(super) fn flag(mut self, key: &str, value: &str) -> Self {
        self.sources.flags.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn load(&self) -> Result<Config, Vec<Problem>> {
        Config::load(self.sources.clone())
    }

    pub(super) fn config(&self) -> Config {
        self.load()
            .unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// Every problem as it is printed.
    pub(super) fn problems(&self) -> Vec<String> {
        self.load()
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    pub(super) fn problem(&self) -> (ProblemKind, String) {
        let problems = self.load().unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        (problems[0].kind, problems[0].to_string())
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_path: &Path, _mode: u32) {}

/// Value and source of a key in `config show`.
pub(super) fn shown(config: &Config, key: &str) -> (String, String) {
    let line = config
        .show()
        .into_iter()
        .find(|line| line.key == key)
        .unwrap();
    (line.value, line.source.to_string())
}

pub(super) fn pair(value: &str, source: &str) -> (String, String) {
    (value.to_owned(), source.to_owned())
}
