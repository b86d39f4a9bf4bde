//! What no single value can tell.

use super::load::Given;
use super::problem::{Problem, ProblemKind};
use super::reference;
use super::source::Source;
use super::{Config, MASTER_KEY_FILE};

const LISTEN: &str = "server.listen";
const MASTER_KEY: &str = "security.master_key";

/// Refuses combinations that would be unsafe. Keys that were given in vain have their own problem
/// and are not reported as missing.
pub(super) fn cross_check(config: &Config, given: &Given, problems: &mut Vec<Problem>) {
    let key_file = config.server.data_dir.join(MASTER_KEY_FILE);
    let key_file_metadata = key_file
        .metadata()
        .ok()
        .filter(|metadata| metadata.is_file());

    if !given.contains_key(MASTER_KEY)
        && key_file_metadata
            .as_ref()
            .is_some_and(reference::is_world_readable)
    {
        let source = Source::File {
            path: key_file.clone(),
            line: None,
        };
        let message = "every user of this machine can read this key: run chmod 600 on it";
        problems.push(Problem::new(ProblemKind::Conflict, source, message).about(MASTER_KEY));
    }

    if config.server.listen.ip().to_canonical().is_loopback() {
        return;
    }
    if !given.contains_key(MASTER_KEY) && key_file_metadata.is_none() {
        let source = given.get(LISTEN).cloned().unwrap_or(Source::Default);
        let message = format!(
            "listening on {}, which other machines may reach, needs a master key that outlives \
             this start: make one with `openssl rand -base64 32` and set security.master_key or \
             ASSISTIV_SECURITY__MASTER_KEY, or start once on 127.0.0.1, which makes {}",
            config.server.listen,
            key_file.display()
        );
        problems.push(Problem::new(ProblemKind::Conflict, source, message).about(MASTER_KEY));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::ProblemKind;
    use crate::config::testing::{MASTER_KEY, Setup};

    #[test]
    fn listening_to_others_needs_a_master_key_that_stays() {
        let setup = Setup::new().flag("server.listen", "0.0.0.0:80");
        let problems = setup.load().unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(
            problems
                .iter()
                .all(|problem| problem.kind == ProblemKind::Conflict)
        );
        let texts = setup.problems();
        assert!(texts[0].starts_with("--listen: security.master_key: listening on 0.0.0.0:80"));
        assert!(texts[0].contains("openssl rand -base64 32"));
        setup
            .write("assistiv-data/master.key", MASTER_KEY, 0o600)
            .config();
        Setup::new()
            .flag("server.listen", "[::]:80")
            .env("ASSISTIV_SECURITY__MASTER_KEY", MASTER_KEY)
            .config();
    }

    #[test]
    fn loopback_needs_no_key() {
        for listen in [
            "127.0.0.1:0",
            "127.9.9.9:1",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
        ] {
            Setup::new().flag("server.listen", listen).config();
        }
    }

    #[test]
    fn a_bad_key_is_not_also_a_missing_one() {
        let problems = Setup::new()
            .flag("server.listen", "0.0.0.0:80")
            .env("ASSISTIV_SECURITY__OPERATOR_KEY", "x")
            .env("ASSISTIV_SECURITY__MASTER_KEY", "x")
            .load()
            .unwrap_err();
        assert!(
            problems
                .iter()
                .all(|problem| problem.kind == ProblemKind::BadValue)
        );
        assert_eq!(problems.len(), 2);
    }
}
