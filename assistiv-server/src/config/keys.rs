//! The schema table.

use std::ops::RangeInclusive;

use super::Config;
use super::groups::Provider;
use super::parse;
use super::schema::{Apply, Key, KeyDefault};
use super::value::Fault;

use KeyDefault::{Absent, Value};

const ADDRESS: &str = "an address such as 127.0.0.1:8080";
const DATABASE: &str = "a URL such as sqlite://./assistiv.db or postgres://user@host/assistiv";
const SECRET: &str = "a string";
const URL: &str = "a URL such as https://gateway.example.com";
const BYTES_MAX: usize = 1 << 30;
const COUNT_MAX: usize = 1_000_000;
/// The HTTP server cannot read through a smaller buffer.
const HEADER_BYTES: RangeInclusive<usize> = 8 * 1024..=1 << 20;
/// The HTTP library holds no longer request target.
const URI_BYTES: RangeInclusive<usize> = 64..=65_534;

/// Every setting, in the order in which the reference and `config show` list them.
///
/// A key stands here when what it configures exists: an accepted setting without effect misleads.
pub static KEYS: &[Key] = &[
    key(
        "server.listen",
        "listen",
        Value("127.0.0.1:8080"),
        "address and port of the API",
        |c, _, v| {
            set(
                &mut c.server.listen,
                v.parsed(ADDRESS, |text| text.parse().ok()),
            )
        },
    ),
    key(
        "server.public_url",
        "public-url",
        Absent("from `server.listen`"),
        "base URL used in answers and redirects",
        |c, _, v| set_some(&mut c.server.public_url, v.checked(URL, parse::base_url)),
    ),
    key(
        "server.data_dir",
        "data-dir",
        Value("./assistiv-data"),
        "folder of the SQLite file and the master key file, made with mode 0700",
        |c, _, v| set(&mut c.server.data_dir, v.checked("a path", parse::path)),
    ),
    key(
        "server.drain_delay",
        "drain-delay",
        Value("5s"),
        "how long new connections are still accepted after a stop signal",
        |c, _, v| set(&mut c.server.drain_delay, v.duration()),
    ),
    key(
        "database.url",
        "database-url",
        Absent("SQLite in `server.data_dir`"),
        "`sqlite://…` or `postgres://…`",
        |c, _, v| {
            set_some(
                &mut c.database.url,
                v.checked(DATABASE, parse::database_url),
            )
        },
    ),
    key(
        "database.max_connections",
        "database-max-connections",
        Absent("by cores"),
        "connections to PostgreSQL at the most, from 5; on SQLite how many read at the same time",
        |c, _, v| {
            let count = v.integer(5..=1_000).map(|count| u32::try_from(count).ok());
            set(&mut c.database.max_connections, count)
        },
    ),
    secret(
        "security.master_key",
        "security-master-key",
        Absent("generated into `server.data_dir`"),
        "base64 of 32 bytes that encrypt provider keys, such as `openssl rand -base64 32` prints",
        |c, _, v| {
            set_some(
                &mut c.security.master_key,
                v.checked(SECRET, parse::master_key),
            )
        },
    ),
    secret(
        "security.operator_key",
        "security-operator-key",
        Absent("none until set up"),
        "operator key, as `assistiv-server setup` prints it",
        |c, _, v| {
            set_some(
                &mut c.security.operator_key,
                v.checked(SECRET, parse::operator_key),
            )
        },
    ),
    key(
        "security.outbound_allow",
        "security-outbound-allow",
        Value(""),
        "hosts, addresses and networks that outbound calls may reach although they are private; \
         in the environment separated by commas",
        |c, _, v| set(&mut c.security.outbound_allow, v.list(parse::outbound)),
    ),
    key(
        "security.webhook_allow",
        "security-webhook-allow",
        Value(""),
        "hosts, addresses and networks that webhooks may reach although they are private, over plain \
         HTTP, too; in the environment separated by commas",
        |c, _, v| set(&mut c.security.webhook_allow, v.list(parse::outbound)),
    ),
    per_provider(
        "providers.SLUG.base_url",
        Absent("the vendor's"),
        "where a provider is called",
        |c, slug, v| {
            set_some(
                &mut provider(c, slug).base_url,
                v.checked(URL, parse::base_url_text),
            )
        },
    ),
    key(
        "billing.delivery_gate",
        "billing-delivery-gate",
        Value("strict"),
        "`strict`: content waits until its charge is durable; `relaxed`: it does not, and a crash \
         loses what was not written yet",
        |c, _, v| set(&mut c.billing.delivery_gate, v.choice()),
    ),
    key(
        "billing.gate_timeout",
        "billing-gate-timeout",
        Value("5s"),
        "how long delivery waits for the database; above zero",
        |c, _, v| set(&mut c.billing.gate_timeout, v.positive_duration()),
    ),
    key(
        "billing.gate_timeout_action",
        "billing-gate-timeout-action",
        Value("fail_closed"),
        "what delivery does after that: `fail_closed` ends the answer with an error, `release` lets \
         it out and charges it when the database is back",
        |c, _, v| set(&mut c.billing.gate_timeout_action, v.choice()),
    ),
    key(
        "billing.outage_policy",
        "billing-outage-policy",
        Value("fail_closed"),
        "whether calls are accepted while the database is away: `fail_closed`, or `grace`: from what \
         was leased, until the time of the node runs out",
        |c, _, v| set(&mut c.billing.outage_policy, v.choice()),
    ),
    key(
        "billing.db_fail_after",
        "billing-db-fail-after",
        Value("500ms"),
        "after how long without an answer the database counts as away; above zero",
        |c, _, v| set(&mut c.billing.db_fail_after, v.positive_duration()),
    ),
    key(
        "billing.ttl",
        "billing-ttl",
        Value("10s"),
        "how long a node counts as alive after it said so; above zero",
        |c, _, v| set(&mut c.billing.ttl, v.positive_duration()),
    ),
    key(
        "billing.heartbeat",
        "billing-heartbeat",
        Value("1s"),
        "how often a node says that it is alive; at most a fifth of `billing.ttl`",
        |c, _, v| set(&mut c.billing.heartbeat, v.positive_duration()),
    ),
    key(
        "billing.fence_grace",
        "billing-fence-grace",
        Value("2s"),
        "how much longer other nodes wait before they take over what a node left; at least a tenth \
         of `billing.ttl`",
        |c, _, v| set(&mut c.billing.fence_grace, v.duration()),
    ),
    key(
        "billing.recall_wait",
        "billing-recall-wait",
        Value("1200ms"),
        "how long a call waits for what other nodes do not use of an account; at least \
         `billing.heartbeat`",
        |c, _, v| set(&mut c.billing.recall_wait, v.positive_duration()),
    ),
    key(
        "billing.lease_idle_return",
        "billing-lease-idle-return",
        Value("5s"),
        "after how long without use a leased slice goes back to its account",
        |c, _, v| set(&mut c.billing.lease_idle_return, v.positive_duration()),
    ),
    key(
        "billing.checkpoint_interval",
        "billing-checkpoint-interval",
        Value("5s"),
        "how often the state of an open stream is written",
        |c, _, v| set(&mut c.billing.checkpoint_interval, v.positive_duration()),
    ),
    key(
        "billing.before_first_byte",
        "billing-before-first-byte",
        Value("charge_input"),
        "what a caller pays who left after the provider accepted and before any content was sent: \
         `charge_input` or `free`",
        |c, _, v| set(&mut c.billing.before_first_byte, v.choice()),
    ),
    key(
        "billing.midstream_error",
        "billing-midstream-error",
        Value("charge_observed"),
        "what an answer costs whose provider failed mid-stream: `charge_observed` or `free`",
        |c, _, v| set(&mut c.billing.midstream_error, v.choice()),
    ),
    key(
        "billing.last_request",
        "billing-last-request",
        Value("allow"),
        "whether a request whose hold exceeds a balance above zero runs on what is left: `allow` \
         or `refuse`",
        |c, _, v| set(&mut c.billing.last_request, v.choice()),
    ),
    key(
        "billing.on_exhausted",
        "billing-on-exhausted",
        Value("cut"),
        "what happens to a stream that used up wallet or budget: `cut` or `finish`",
        |c, _, v| set(&mut c.billing.on_exhausted, v.choice()),
    ),
    key(
        "billing.suspend_inflight",
        "billing-suspend-inflight",
        Value("finish"),
        "what happens to the streams of an end user who is suspended: `finish` or `cut`",
        |c, _, v| set(&mut c.billing.suspend_inflight, v.choice()),
    ),
    key(
        "billing.unconfirmed_delivery",
        "billing-unconfirmed-delivery",
        Value("stands"),
        "what happens to charges of a node that died whose delivery cannot be proved: `stands` or \
         `refund`",
        |c, _, v| set(&mut c.billing.unconfirmed_delivery, v.choice()),
    ),
    key(
        "billing.recon_full",
        "billing-recon-full",
        Value("24h"),
        "how often the books are reconciled whole; `0s` for never",
        |c, _, v| set(&mut c.billing.recon_full, v.duration()),
    ),
    key(
        "billing.recon_incremental",
        "billing-recon-incremental",
        Value("1h"),
        "how often what is new in the books is reconciled; `0s` for never",
        |c, _, v| set(&mut c.billing.recon_incremental, v.duration()),
    ),
    key(
        "billing.drain_max",
        "billing-drain-max",
        Value("60s"),
        "how long an answer whose caller left is read on, where the provider bills it to its end",
        |c, _, v| set(&mut c.billing.drain_max, v.duration()),
    ),
    key(
        "billing.drain_concurrency",
        "billing-drain-concurrency",
        Value("256"),
        "how many such answers are read at a time",
        |c, _, v| set(&mut c.billing.drain_concurrency, v.integer(0..=COUNT_MAX)),
    ),
    key(
        "billing.stream_max",
        "billing-stream-max",
        Value("1h"),
        "how long a stream may last; above zero",
        |c, _, v| set(&mut c.billing.stream_max, v.positive_duration()),
    ),
    key(
        "billing.hold_input_factor",
        "billing-hold-input-factor",
        Value("1.10"),
        "by what the estimated input is multiplied in a hold, from 1 to 10",
        |c, _, v| set(&mut c.billing.hold_input_factor, v.per_mille(1000..=10_000)),
    ),
    key(
        "billing.queue_max",
        "billing-queue-max",
        Value("65536"),
        "how many holds may be open or waiting for their settlement",
        |c, _, v| set(&mut c.billing.queue_max, v.integer(1..=COUNT_MAX)),
    ),
    key(
        "billing.batch_max",
        "billing-batch-max",
        Value("1000"),
        "the most operations that are written to the ledger at once",
        |c, _, v| set(&mut c.billing.batch_max, v.integer(1..=10_000)),
    ),
    key(
        "billing.lane_stall",
        "billing-lane-stall",
        Value("2s"),
        "no new calls while a charge waits longer than this; above zero",
        |c, _, v| set(&mut c.billing.lane_stall, v.positive_duration()),
    ),
    key(
        "limits.body_bytes",
        "limits-body-bytes",
        Value("10485760"),
        "largest request body",
        |c, _, v| set(&mut c.limits.body_bytes, v.integer(1..=BYTES_MAX)),
    ),
    key(
        "limits.header_bytes",
        "limits-header-bytes",
        Value("65536"),
        "largest request header block, 8192 at least",
        |c, _, v| set(&mut c.limits.header_bytes, v.integer(HEADER_BYTES)),
    ),
    key(
        "limits.header_count",
        "limits-header-count",
        Value("100"),
        "most header fields of a request",
        |c, _, v| set(&mut c.limits.header_count, v.integer(10..=10_000)),
    ),
    key(
        "limits.uri_bytes",
        "limits-uri-bytes",
        Value("8192"),
        "longest request target",
        |c, _, v| set(&mut c.limits.uri_bytes, v.integer(URI_BYTES)),
    ),
    key(
        "limits.header_timeout",
        "limits-header-timeout",
        Value("10s"),
        "how long a request header may take to arrive",
        |c, _, v| set(&mut c.limits.header_timeout, v.positive_duration()),
    ),
    key(
        "limits.body_timeout",
        "limits-body-timeout",
        Value("30s"),
        "how long a request body may make no progress",
        |c, _, v| set(&mut c.limits.body_timeout, v.positive_duration()),
    ),
    key(
        "limits.idle_timeout",
        "limits-idle-timeout",
        Value("75s"),
        "how long an idle connection is kept",
        |c, _, v| set(&mut c.limits.idle_timeout, v.positive_duration()),
    ),
    key(
        "limits.connections",
        "limits-connections",
        Value("4096"),
        "most open connections",
        |c, _, v| set(&mut c.limits.connections, v.integer(1..=COUNT_MAX)),
    ),
    key(
        "limits.concurrent_calls",
        "limits-concurrent-calls",
        Value("2048"),
        "most calls of providers at once",
        |c, _, v| set(&mut c.limits.concurrent_calls, v.integer(1..=COUNT_MAX)),
    ),
    key(
        "limits.upstream_connect_timeout",
        "limits-upstream-connect-timeout",
        Value("10s"),
        "how long connecting to a provider may take",
        |c, _, v| {
            set(
                &mut c.limits.upstream_connect_timeout,
                v.positive_duration(),
            )
        },
    ),
    key(
        "limits.first_byte_timeout",
        "limits-first-byte-timeout",
        Value("120s"),
        "how long a provider may take to its first byte",
        |c, _, v| set(&mut c.limits.first_byte_timeout, v.positive_duration()),
    ),
    key(
        "limits.upstream_idle_timeout",
        "limits-upstream-idle-timeout",
        Value("60s"),
        "how long a provider may be silent after its first byte",
        |c, _, v| set(&mut c.limits.upstream_idle_timeout, v.positive_duration()),
    ),
    key(
        "limits.upstream_total_timeout",
        "limits-upstream-total-timeout",
        Value("600s"),
        "how long a call of a provider may take altogether",
        |c, _, v| set(&mut c.limits.upstream_total_timeout, v.positive_duration()),
    ),
    key(
        "limits.stream_drain",
        "limits-stream-drain",
        Value("30s"),
        "how long open streams may go on after a stop signal",
        |c, _, v| set(&mut c.limits.stream_drain, v.duration()),
    ),
    key(
        "api.wallet_topup",
        "api-wallet-topup",
        Value("platform"),
        "who may top up a wallet: `platform` keys too, or the `operator` alone",
        |c, _, v| set(&mut c.api.wallet_topup, v.choice()),
    ),
    key(
        "api.require_idempotency_key",
        "api-require-idempotency-key",
        Value("false"),
        "whether a changing call without `Idempotency-Key` is refused",
        |c, _, v| set(&mut c.api.require_idempotency_key, v.boolean()),
    ),
    key(
        "log.format",
        "log-format",
        Value("auto"),
        "`pretty`, `json`, or `auto`: pretty on a terminal, JSON otherwise",
        |c, _, v| set(&mut c.log.format, v.choice()),
    ),
    key(
        "log.level",
        "log-level",
        Value("info"),
        "least level that is logged, or a filter such as `info,hyper=warn`",
        |c, _, v| {
            set(
                &mut c.log.level,
                v.checked("a level or a log filter", parse::log_filter),
            )
        },
    ),
];

const fn key(
    path: &'static str,
    flag: &'static str,
    default: KeyDefault,
    meaning: &'static str,
    apply: Apply,
) -> Key {
    Key {
        path,
        flag: Some(flag),
        default,
        secret: false,
        meaning,
        apply,
    }
}

const fn secret(
    path: &'static str,
    flag: &'static str,
    default: KeyDefault,
    meaning: &'static str,
    apply: Apply,
) -> Key {
    Key {
        path,
        flag: Some(flag),
        default,
        secret: true,
        meaning,
        apply,
    }
}

const fn per_provider(
    path: &'static str,
    default: KeyDefault,
    meaning: &'static str,
    apply: Apply,
) -> Key {
    Key {
        path,
        flag: None,
        default,
        secret: false,
        meaning,
        apply,
    }
}

fn set<T>(field: &mut T, value: Result<T, Fault>) -> Result<(), Fault> {
    *field = value?;
    Ok(())
}

fn set_some<T>(field: &mut Option<T>, value: Result<T, Fault>) -> Result<(), Fault> {
    *field = Some(value?);
    Ok(())
}

fn provider<'a>(config: &'a mut Config, slug: &str) -> &'a mut Provider {
    config.providers.entry(slug.to_owned()).or_default()
}
