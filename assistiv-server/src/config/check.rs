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

    check_times(config, given, problems);
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

/// Refuses times with which nodes would take over from others that are alive, or calls would wait
/// for what cannot come.
fn check_times(config: &Config, given: &Given, problems: &mut Vec<Problem>) {
    let billing = &config.billing;
    let rules = [
        (
            billing.heartbeat * 5 <= billing.ttl,
            "billing.heartbeat",
            "must be at most a fifth of billing.ttl",
        ),
        (
            billing.fence_grace * 10 >= billing.ttl,
            "billing.fence_grace",
            "must be at least a tenth of billing.ttl",
        ),
        (
            billing.recall_wait >= billing.heartbeat,
            "billing.recall_wait",
            "must be at least billing.heartbeat",
        ),
        (
            billing.gate_timeout < billing.ttl,
            "billing.gate_timeout",
            "must be less than billing.ttl",
        ),
    ];
    for (_, key, message) in rules.into_iter().filter(|(holds, ..)| !holds) {
        let of = |key: &str| given.get(key).cloned();
        // The other side of the rule may be what was given.
        let source = of(key)
            .or_else(|| of("billing.ttl"))
            .or_else(|| of("billing.heartbeat"));
        let source = source.unwrap_or(Source::Default);
        problems.push(Problem::new(ProblemKind::Conflict, source, message).about(key));
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

    #[test]
    fn times_of_nodes_must_fit_each_other() {
        for (key, value, text) in [
            (
                "billing.heartbeat",
                "2001ms",
                "billing.heartbeat: must be at most a fifth",
            ),
            (
                "billing.fence_grace",
                "999ms",
                "billing.fence_grace: must be at least a tenth",
            ),
            (
                "billing.recall_wait",
                "999ms",
                "billing.recall_wait: must be at least",
            ),
            (
                "billing.gate_timeout",
                "10s",
                "billing.gate_timeout: must be less than",
            ),
        ] {
            let setup = Setup::new().flag(key, value);
            // A heartbeat that is too long for the ttl would also be longer than this wait.
            let setup = match key {
                "billing.heartbeat" => setup.flag("billing.recall_wait", "3s"),
                _ => setup,
            };
            let (kind, problem) = setup.problem();
            assert_eq!(kind, ProblemKind::Conflict);
            assert!(problem.contains(text), "{problem}");
        }
        // At their bounds, and with everything scaled.
        Setup::new()
            .flag("billing.ttl", "20s")
            .flag("billing.heartbeat", "4s")
            .flag("billing.recall_wait", "4s")
            .config();
        let texts = Setup::new().flag("billing.ttl", "4s").problems();
        assert_eq!(texts.len(), 2, "{texts:?}");
    }
}
