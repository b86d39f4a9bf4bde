//! The typed groups of [`Config`](super::Config), each with its built-in defaults.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::choice::{
    BeforeFirstByte, DeliveryGate, GateTimeoutAction, LastRequest, LogFormat, MidstreamError,
    OnExhausted, OutagePolicy, SuspendInflight, UnconfirmedDelivery, WalletTopup,
};

/// `server.*`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Server {
    /// Where the API is served.
    pub listen: SocketAddr,
    /// The base URL used in answers and redirects, without query and fragment; `None` means that
    /// it follows from the address listened on.
    pub public_url: Option<Url>,
    /// The folder of the database, the master key file and backups.
    pub data_dir: PathBuf,
    /// How long new connections are still accepted after a stop signal; may be zero.
    pub drain_delay: Duration,
}

/// `database.*`
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Database {
    /// Where it is; `None` means a SQLite file in [`Server::data_dir`].
    pub url: Option<DatabaseUrl>,
    /// How many connections to PostgreSQL are open at the most, or how many read from SQLite; by
    /// the number of cores unless given.
    pub max_connections: Option<u32>,
}

/// The address of a database.
#[derive(Clone, Debug)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server. The URL may have a password in it.
    Postgres(SecretString),
}

/// `security.*`
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Security {
    /// Base64 of 32 bytes, checked; see [`decode_master_key`](super::decode_master_key). `None`
    /// means the generated file in [`Server::data_dir`].
    pub master_key: Option<SecretString>,
    /// `sk-admin_` and 56 lower-case hexadecimal digits, checked. `None` until set up.
    pub operator_key: Option<SecretString>,
    /// What outbound calls may reach although it is private.
    pub outbound_allow: Vec<Outbound>,
    /// What webhooks may reach although it is private: apart from the above, because platforms choose where
    /// their webhooks go, and the operator where providers are.
    pub webhook_allow: Vec<Outbound>,
}

/// One entry of [`Security::outbound_allow`]. Complete: a destination is a name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// A host name in lower case without a final dot; it covers neither its subdomains nor its
    /// addresses under other names.
    Host(String),
    /// A network; a single address is a network of one.
    Network(IpNet),
}

/// `providers.SLUG.*`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provider {
    /// Where the provider is called: `http` or `https`, without credentials, query and fragment,
    /// spelled as given. `None` means the vendor's address.
    pub base_url: Option<String>,
}

/// `billing.*`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Billing {
    /// What has to be durable before content is delivered.
    pub delivery_gate: DeliveryGate,
    /// How long delivery waits for that; above zero.
    pub gate_timeout: Duration,
    /// What delivery does after that.
    pub gate_timeout_action: GateTimeoutAction,
    /// Whether calls are accepted while the database is away.
    pub outage_policy: OutagePolicy,
    /// After how long without an answer the database counts as away; above zero.
    pub db_fail_after: Duration,
    /// How long a node counts as alive after a heartbeat; above zero.
    pub ttl: Duration,
    /// How often a node says that it is alive; above zero, at most a fifth of `ttl`.
    pub heartbeat: Duration,
    /// How much longer others wait before they take over what a node left; at least a tenth of
    /// `ttl`.
    pub fence_grace: Duration,
    /// How long a call waits for what other nodes do not use; at least `heartbeat`.
    pub recall_wait: Duration,
    /// After how long without use a leased slice goes back to its account; above zero.
    pub lease_idle_return: Duration,
    /// How often the state of an open stream is written; above zero.
    pub checkpoint_interval: Duration,
    /// What a caller pays who left before any content was sent.
    pub before_first_byte: BeforeFirstByte,
    /// What an answer costs whose provider failed mid-stream.
    pub midstream_error: MidstreamError,
    /// What happens to a request whose hold exceeds a balance above zero.
    pub last_request: LastRequest,
    /// What happens to a stream that has used up what it may cost.
    pub on_exhausted: OnExhausted,
    /// What happens to the streams of an end user who is suspended.
    pub suspend_inflight: SuspendInflight,
    /// What happens to charges whose delivery cannot be proved.
    pub unconfirmed_delivery: UnconfirmedDelivery,
    /// How often the books are reconciled whole; zero for never.
    pub recon_full: Duration,
    /// How often what is new in the books is reconciled; zero for never.
    pub recon_incremental: Duration,
    /// How long an answer without its caller is read on; may be zero.
    pub drain_max: Duration,
    /// How many such answers are read at a time.
    pub drain_concurrency: usize,
    /// How long a stream may last; above zero.
    pub stream_max: Duration,
    /// By what the estimated input is multiplied in a hold, in parts per thousand: 1100 is 1.10.
    /// From 1000 to 10000.
    pub hold_input_factor: u32,
    /// How many holds may be open or waiting for their settlement.
    pub queue_max: usize,
    /// The most operations that are written at once.
    pub batch_max: usize,
    /// How old the oldest charge may be that waits to be written before calls are refused; above
    /// zero.
    pub lane_stall: Duration,
}

/// `limits.*`; every deadline but [`stream_drain`](Limits::stream_drain) is above zero.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The largest request body.
    pub body_bytes: usize,
    /// The largest request header block.
    pub header_bytes: usize,
    /// The most header fields of a request.
    pub header_count: usize,
    /// The longest request target.
    pub uri_bytes: usize,
    /// How long a request header may take to arrive.
    pub header_timeout: Duration,
    /// How long a request body may make no progress.
    pub body_timeout: Duration,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// The most open connections.
    pub connections: usize,
    /// The most calls of providers at once.
    pub concurrent_calls: usize,
    /// How long connecting to a provider may take.
    pub upstream_connect_timeout: Duration,
    /// How long a provider may take to its first byte.
    pub first_byte_timeout: Duration,
    /// How long a provider may be silent afterwards.
    pub upstream_idle_timeout: Duration,
    /// How long a call of a provider may take altogether.
    pub upstream_total_timeout: Duration,
    /// How long open streams may go on after a stop signal; may be zero.
    pub stream_drain: Duration,
}

/// `api.*`
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Api {
    /// Who may top up a wallet.
    pub wallet_topup: WalletTopup,
    /// Whether a changing call without `Idempotency-Key` is refused.
    pub require_idempotency_key: bool,
}

/// `log.*`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// What is written: a filter of `tracing_subscriber::EnvFilter`, checked.
    pub level: String,
}

// === impl Outbound ===

impl fmt::Display for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

// === defaults ===

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            public_url: None,
            data_dir: PathBuf::from("./assistiv-data"),
            drain_delay: Duration::from_secs(5),
        }
    }
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            delivery_gate: DeliveryGate::default(),
            gate_timeout: Duration::from_secs(5),
            gate_timeout_action: GateTimeoutAction::default(),
            outage_policy: OutagePolicy::default(),
            db_fail_after: Duration::from_millis(500),
            ttl: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            fence_grace: Duration::from_secs(2),
            recall_wait: Duration::from_millis(1_200),
            lease_idle_return: Duration::from_secs(5),
            checkpoint_interval: Duration::from_secs(5),
            before_first_byte: BeforeFirstByte::default(),
            midstream_error: MidstreamError::default(),
            last_request: LastRequest::default(),
            on_exhausted: OnExhausted::default(),
            suspend_inflight: SuspendInflight::default(),
            unconfirmed_delivery: UnconfirmedDelivery::default(),
            recon_full: Duration::from_hours(24),
            recon_incremental: Duration::from_hours(1),
            drain_max: Duration::from_secs(60),
            drain_concurrency: 256,
            stream_max: Duration::from_secs(3_600),
            hold_input_factor: 1100,
            queue_max: 65_536,
            batch_max: 1_000,
            lane_stall: Duration::from_secs(2),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 10 * 1024 * 1024,
            header_bytes: 64 * 1024,
            header_count: 100,
            uri_bytes: 8 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            connections: 4096,
            concurrent_calls: 2048,
            upstream_connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(120),
            upstream_idle_timeout: Duration::from_secs(60),
            upstream_total_timeout: Duration::from_secs(600),
            stream_drain: Duration::from_secs(30),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            level: "info".to_owned(),
        }
    }
}
