//! The layers together.

use secrecy::ExposeSecret as _;

use super::testing::{MASTER_KEY, Setup, operator_key, pair, shown};
use super::*;

#[test]
fn nothing_set_is_the_defaults() {
    let setup = Setup::new();
    let config = setup.config();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.data_dir, setup.path().join("./assistiv-data"));
    assert_eq!(config.billing.hold_input_factor, 1100);
    assert_eq!(
        shown(&config, "server.listen"),
        pair("127.0.0.1:8080", "default")
    );
    assert_eq!(
        shown(&config, "database.url"),
        pair("SQLite in `server.data_dir`", "default")
    );
    assert!(
        config
            .show()
            .iter()
            .all(|line| !line.key.starts_with("providers."))
    );
}

#[test]
fn every_layer_overrides_the_one_before() {
    let setup = Setup::toml("[server]\n\nlisten = \"127.0.0.1:1\"\n");
    let config = setup.config();
    assert_eq!(config.server.listen.port(), 1);
    assert_eq!(
        shown(&config, "server.listen"),
        pair("127.0.0.1:1", "assistiv.toml:3")
    );

    let setup = setup.env("ASSISTIV_SERVER__LISTEN", "127.0.0.1:2");
    let config = setup.config();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(
        shown(&config, "server.listen"),
        pair("127.0.0.1:2", "ASSISTIV_SERVER__LISTEN")
    );

    let setup = setup
        .flag("server.listen", "127.0.0.1:3")
        .flag("server.listen", "127.0.0.1:4");
    let config = setup.config();
    assert_eq!(config.server.listen.port(), 4);
    assert_eq!(
        shown(&config, "server.listen"),
        pair("127.0.0.1:4", "--listen")
    );
}

#[test]
fn the_file_sets_every_type() {
    let config = Setup::toml(
        r#"
        server = { public_url = "https://gateway.example.com/base", drain_delay = "0s" }
        security.outbound_allow = ["localhost", "10.0.0.0/8"]
        [providers.openai]
        base_url = "http://localhost:9000/v1"
        [billing]
        delivery_gate = "relaxed"
        gate_timeout = "1500ms"
        hold_input_factor = 1.25
        queue_max = 0x10
        [limits]
        body_bytes = 1_000
        [api]
        require_idempotency_key = true
        wallet_topup = "operator"
        [log]
        format = "json"
        level = "warn,assistiv_server=debug"
        "#,
    )
    .config();
    assert_eq!(config.server.public_url.as_ref().unwrap().path(), "/base");
    assert!(config.server.drain_delay.is_zero());
    assert_eq!(config.security.outbound_allow.len(), 2);
    assert_eq!(
        config.providers["openai"].base_url.as_deref(),
        Some("http://localhost:9000/v1")
    );
    assert_eq!(config.billing.delivery_gate, DeliveryGate::Relaxed);
    assert_eq!(config.billing.gate_timeout.as_millis(), 1500);
    assert_eq!(config.billing.hold_input_factor, 1250);
    assert_eq!(config.billing.queue_max, 16);
    assert_eq!(config.limits.body_bytes, 1000);
    assert!(config.api.require_idempotency_key);
    assert_eq!(config.api.wallet_topup, WalletTopup::Operator);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(
        shown(&config, "providers.openai.base_url"),
        pair("http://localhost:9000/v1", "assistiv.toml:5")
    );
    assert_eq!(
        shown(&config, "security.outbound_allow"),
        pair("localhost, 10.0.0.0/8", "assistiv.toml:3")
    );
}

#[test]
fn the_environment_sets_every_type() {
    let config = Setup::new()
        .env("ASSISTIV_LIMITS__CONNECTIONS", "10")
        .env("ASSISTIV_API__REQUIRE_IDEMPOTENCY_KEY", "true")
        .env("ASSISTIV_BILLING__HOLD_INPUT_FACTOR", "2")
        .env("ASSISTIV_SECURITY__OUTBOUND_ALLOW", "127.0.0.1, ollama.lan")
        .env("ASSISTIV_PROVIDERS__MY_VLLM__BASE_URL", "http://vllm:8000")
        .env("PATH", "/bin")
        .config();
    assert_eq!(config.limits.connections, 10);
    assert!(config.api.require_idempotency_key);
    assert_eq!(config.billing.hold_input_factor, 2000);
    assert_eq!(config.security.outbound_allow.len(), 2);
    assert_eq!(
        config.providers["my-vllm"].base_url.as_deref(),
        Some("http://vllm:8000")
    );
}

#[test]
fn all_problems_come_at_once_in_order() {
    let problems = Setup::toml(
        "[server]\nlisen = \"127.0.0.1:1\"\ndrain_delay = 5\n[billing]\ngate_timeout = \"0s\"\n\
         [limits]\nbody_bytes = \"10\"\n[providers.openai]\nbase_ul = \"https://x\"\n",
    )
    .env("ASSISTIV_LOG__LEVL", "info")
    .env("ASSISTIV_LOG__FORMAT", "xml")
    .flag("server.listen", "0.0.0.0:99999")
    .flag("server.listn", "x")
    .problems();
    assert_eq!(
        problems,
        [
            "assistiv.toml:2: server.lisen: unknown key, the nearest known one is server.listen",
            "assistiv.toml:3: server.drain_delay: expected a duration such as 500ms, 5s, 2m or 1h \
             (168h at most), found an integer",
            "assistiv.toml:5: billing.gate_timeout: must be above zero",
            "assistiv.toml:7: limits.body_bytes: expected a whole number, found a string",
            "assistiv.toml:9: providers.openai.base_ul: unknown key, the nearest known one is \
             providers.openai.base_url",
            "ASSISTIV_LOG__FORMAT: log.format: \"xml\" is not one of auto, pretty, json",
            "ASSISTIV_LOG__LEVL: unknown variable, the nearest known one is ASSISTIV_LOG__LEVEL",
            "--listen: server.listen: \"0.0.0.0:99999\" is not an address such as 127.0.0.1:8080",
            "--set server.listn: server.listn: unknown key, the nearest known one is server.listen",
        ]
    );
}

#[test]
fn tables_and_values_are_told_apart() {
    let problems =
        Setup::toml("log = 5\n[server.listen]\nx = 1\n[servr]\n[providers]\nopenai = 1\n")
            .problems();
    assert_eq!(
        problems,
        [
            "assistiv.toml:1: log: expected a table",
            "assistiv.toml:2: server.listen: expected an address such as 127.0.0.1:8080, found a \
             table",
            "assistiv.toml:4: servr: unknown key, the nearest known one is server",
            "assistiv.toml:6: providers.openai: expected a table",
        ]
    );
}

#[test]
fn slugs_of_providers_are_checked() {
    let (kind, text) = Setup::toml("[providers.\"Open AI\"]\nbase_url = \"https://x\"\n").problem();
    assert_eq!(kind, ProblemKind::BadValue);
    assert!(text.starts_with("assistiv.toml:2: providers.Open AI.base_url: \"Open AI\" is not"));
}

#[test]
fn a_file_with_syntax_errors_says_where_and_shows_no_secret() {
    let setup =
        Setup::toml("[log]\nlevel = \"info\"\n[security]\noperator_key = sk-admin_c0ffee\n")
            .flag("server.listen", "0.0.0.0:1");
    let problems = setup.load().unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(problems[0].kind, ProblemKind::Syntax);
    assert!(problems[0].to_string().starts_with("assistiv.toml:4: "));
    assert!(!problems[0].to_string().contains("c0ffee"));
}

#[test]
fn a_named_file_must_exist_and_be_readable() {
    let mut setup = Setup::new();
    setup.sources.config = Some("other.toml".into());
    let (kind, text) = setup.problem();
    assert_eq!(kind, ProblemKind::Unreadable);
    assert!(
        text.starts_with("other.toml: cannot read the configuration file: "),
        "{text}"
    );

    let mut setup = setup.write("other.toml", "log.level = \"warn\"", 0o644);
    assert_eq!(setup.config().log.level, "warn");

    setup.sources.config = Some(".".into());
    assert!(setup.problem().1.ends_with("not a regular file"));
}

#[test]
fn secrets_are_never_shown() {
    let key = operator_key();
    let config = Setup::toml("[security]\nmaster_key = \"env:MASTER\"\n")
        .env("MASTER", MASTER_KEY)
        .env("ASSISTIV_SECURITY__OPERATOR_KEY", &key)
        .config();
    assert_eq!(
        config.security.master_key.as_ref().unwrap().expose_secret(),
        MASTER_KEY
    );
    assert_eq!(
        config
            .security
            .operator_key
            .as_ref()
            .unwrap()
            .expose_secret(),
        key
    );
    assert_eq!(
        shown(&config, "security.master_key"),
        pair("(hidden)", "assistiv.toml:2")
    );
    let output = format!(
        "{config:?} {:?} {}",
        config.show(),
        serde_json::to_string(&config.show()).unwrap()
    );
    assert!(!output.contains(MASTER_KEY) && !output.contains(&key));
}

#[test]
fn bad_secrets_are_never_shown() {
    let problems = Setup::toml("[security]\nmaster_key = \"c0ffee\"\n")
        .env("ASSISTIV_SECURITY__OPERATOR_KEY", "sk-admin_c0ffee")
        .flag("security.operator_key", "c0ffee")
        .load()
        .unwrap_err();
    assert_eq!(problems.len(), 3);
    assert!(
        problems
            .iter()
            .all(|problem| problem.kind == ProblemKind::BadValue)
    );
    assert!(!format!("{problems:?}").contains("c0ffee"));
}

#[test]
fn a_secret_flag_is_a_reference() {
    let config = Setup::new()
        .write("key", &operator_key(), 0o600)
        .flag("security.operator_key", "file:key")
        .config();
    assert_eq!(
        shown(&config, "security.operator_key"),
        pair("(hidden)", "--security-operator-key")
    );
}

#[test]
fn a_password_in_a_url_is_never_shown() {
    let (kind, text) = Setup::new()
        .env("ASSISTIV_DATABASE__URL", "mysql://u:hush@h/d")
        .problem();
    assert_eq!(kind, ProblemKind::BadValue);
    assert!(text.contains("postgres://") && !text.contains("hush"));
    let config = Setup::new()
        .env(
            "ASSISTIV_DATABASE__URL",
            "postgres://u:hush@h/d?sslmode=require",
        )
        .config();
    assert_eq!(
        shown(&config, "database.url"),
        pair(
            "postgres://u:(hidden)@h/d?sslmode=require",
            "ASSISTIV_DATABASE__URL"
        )
    );
    assert!(!format!("{config:?}").contains("hush"));
    let (kind, text) = Setup::new()
        .flag("database.url", "postgres://u:hush@h/d")
        .problem();
    assert_eq!(kind, ProblemKind::BadValue);
    assert!(text.contains("must not be arguments") && !text.contains("hush"));
    let config = Setup::new()
        .flag("database.url", "postgres://u@h/d")
        .config();
    assert_eq!(
        shown(&config, "database.url"),
        pair("postgres://u@h/d", "--database-url")
    );
}

#[test]
fn the_documentation_lists_every_key() {
    let page = include_str!("../../../docs/operations.md");
    assert!(
        page.contains(reference_markdown().trim_end()),
        "docs/operations.md must end with what `assistiv-server config reference` prints"
    );
}
