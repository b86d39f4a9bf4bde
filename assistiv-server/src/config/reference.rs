//! `env:NAME` and `file:PATH` in place of a value.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::path::Path;

use super::value::{Fault, Input, Quote, Raw};

/// More than any configuration needs, little enough to hold; a device would never end.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where references lead.
pub(super) struct References<'a> {
    pub(super) env: &'a BTreeMap<OsString, OsString>,
    /// Where relative paths start.
    pub(super) dir: &'a Path,
    /// Whether the key is a secret: its file must not be readable by everybody.
    pub(super) secret: bool,
}

/// Whether the text points elsewhere instead of being the value.
pub(super) fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

/// Whether any part of the value points elsewhere.
pub(super) fn has_reference(raw: &Raw) -> bool {
    match raw {
        Raw::Text(text) | Raw::String(text) => is_reference(text),
        Raw::List(items) => items.iter().any(|item| is_reference(item)),
        _ => false,
    }
}

/// Reads a whole text file of moderate size.
pub(super) fn read_text(path: &Path) -> Result<(String, Metadata), io::Error> {
    // A pipe without a writer would block in open.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("larger than 1 MiB"));
    }
    Ok((text, metadata))
}

/// Whether every user of the machine may read the file.
#[cfg(unix)]
pub(super) fn is_world_readable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    metadata.permissions().mode() & 0o004 != 0
}

/// Other systems have no such mode.
#[cfg(not(unix))]
pub(super) fn is_world_readable(_metadata: &Metadata) -> bool {
    false
}

// === impl References ===

impl References<'_> {
    /// Replaces references by what they lead to. What was found is not searched again.
    pub(super) fn resolve(&self, raw: Raw) -> Result<Input, Fault> {
        let quote = match self.secret || has_reference(&raw) {
            true => Quote::Never,
            false => Quote::Allowed,
        };
        let raw = match raw {
            Raw::Text(text) | Raw::String(text) if is_reference(&text) => {
                Raw::Text(self.follow(&text)?)
            }
            Raw::List(items) => Raw::List(
                items
                    .into_iter()
                    .map(|item| {
                        if is_reference(&item) {
                            self.follow(&item)
                        } else {
                            Ok(item)
                        }
                    })
                    .collect::<Result<_, _>>()?,
            ),
            other => other,
        };
        Ok(Input { raw, quote })
    }

    fn follow(&self, text: &str) -> Result<String, Fault> {
        if let Some(name) = text.strip_prefix("env:") {
            let value = self.env.get(OsStr::new(name)).ok_or_else(|| {
                Fault::reference(format!("the environment variable {name:?} is not set"))
            })?;
            return value.to_str().map(str::to_owned).ok_or_else(|| {
                Fault::reference(format!("the environment variable {name:?} is not UTF-8"))
            });
        }
        let name = text.strip_prefix("file:").unwrap_or(text);
        let path = self.dir.join(name);
        let shown = path.display();
        let (mut text, metadata) = read_text(&path)
            .map_err(|error| Fault::reference(format!("cannot read {shown}: {error}")))?;
        if self.secret && is_world_readable(&metadata) {
            return Err(Fault::reference(format!(
                "every user of this machine can read {shown}: run chmod 600 on it"
            )));
        }
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{MASTER_KEY, Setup, pair, shown};
    use crate::config::{LogFormat, Outbound, ProblemKind};

    #[test]
    fn references_are_followed() {
        let mut setup = Setup::new()
            .write(
                "etc/a.toml",
                "[server]\nlisten = \"env:LISTEN\"\n[log]\nlevel = \"file:level\"\n[limits]\n\
             connections = \"env:COUNT\"\n[security]\noutbound_allow = [\"env:HOST\", \"::1\"]\n",
                0o644,
            )
            .write("etc/level", "warn\r\n", 0o644)
            .write("format", "json\n", 0o644)
            .env("LISTEN", "127.0.0.1:7")
            .env("COUNT", "12")
            .env("HOST", "ollama")
            .env("ASSISTIV_LOG__FORMAT", "file:format");
        setup.sources.config = Some("etc/a.toml".into());
        let config = setup.config();
        assert_eq!(config.server.listen.port(), 7);
        assert_eq!(config.log.level, "warn");
        assert_eq!(config.limits.connections, 12);
        assert_eq!(
            config.security.outbound_allow[0],
            Outbound::Host("ollama".into())
        );
        assert_eq!(config.log.format, LogFormat::Json);
        assert_eq!(
            shown(&config, "server.listen"),
            pair("127.0.0.1:7", "etc/a.toml:2")
        );
    }

    #[test]
    fn references_that_lead_nowhere_are_problems() {
        let problems =
            Setup::toml("[server]\nlisten = \"env:NOPE\"\n[log]\nlevel = \"file:nope\"\n")
                .load()
                .unwrap_err();
        assert!(
            problems
                .iter()
                .all(|problem| problem.kind == ProblemKind::Reference)
        );
        assert_eq!(
            problems[0].to_string(),
            "assistiv.toml:2: server.listen: the environment variable \"NOPE\" is not set"
        );
        assert!(problems[1].message.starts_with("cannot read "));
    }

    #[test]
    fn an_overridden_reference_is_not_followed_but_an_overridden_value_is_checked() {
        let setup =
            Setup::toml("[log]\nlevel = \"file:nope\"\n").env("ASSISTIV_LOG__LEVEL", "warn");
        assert_eq!(setup.config().log.level, "warn");
        let setup = Setup::toml("[log]\nformat = \"xml\"\n").env("ASSISTIV_LOG__FORMAT", "json");
        assert_eq!(setup.problem().0, ProblemKind::BadValue);
    }

    #[test]
    fn what_a_reference_led_to_is_not_in_messages() {
        let setup =
            Setup::toml("[server]\nlisten = \"file:private\"\n").write("private", "hush", 0o600);
        let (_, text) = setup.problem();
        assert!(
            text.contains("the value is not an address") && !text.contains("hush"),
            "{text}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_file_that_everybody_can_read_is_refused() {
        let setup =
            Setup::toml("[security]\nmaster_key = \"file:key\"\n").write("key", MASTER_KEY, 0o644);
        let (kind, text) = setup.problem();
        assert_eq!(kind, ProblemKind::Reference);
        assert!(text.ends_with("run chmod 600 on it"), "{text}");
        setup.write("key", MASTER_KEY, 0o640).config();

        let setup = Setup::new().write("assistiv-data/master.key", MASTER_KEY, 0o644);
        assert_eq!(setup.problem().0, ProblemKind::Conflict);
    }

    #[cfg(unix)]
    #[test]
    fn values_that_are_not_utf8_are_problems() {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt as _;

        let mut setup = Setup::toml("[log]\nlevel = \"env:OTHER\"\n");
        let bad = OsString::from_vec(vec![0xff]);
        setup.sources.env.insert("OTHER".into(), bad.clone());
        setup.sources.env.insert("ASSISTIV_LOG__FORMAT".into(), bad);
        assert_eq!(
            setup.problems(),
            [
                "assistiv.toml:2: log.level: the environment variable \"OTHER\" is not UTF-8",
                "ASSISTIV_LOG__FORMAT: log.format: the value is not UTF-8",
            ]
        );
    }
}
