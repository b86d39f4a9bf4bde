//! `serve`: the gateway, until it is told to stop.

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{CliError, terminal};
use crate::api::{self, ApiState};
use crate::config::{Config, LogFormat};
use crate::http::{DrainOptions, HttpOptions, HttpService, Readiness, Server, ServerOptions};
use crate::node::{self, Node};

/// What writing the last charges and returning the leases may take after the calls have ended.
const CLOSING: Duration = Duration::from_secs(10);

/// Starts the gateway of the configuration.
pub(super) async fn run(mut config: Config) -> Result<ExitCode, CliError> {
    start_log(&config);
    usable(&config)?;
    let listener = listen(config.server.listen).await?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    // Port 0 is any free one: from here on the one that was found.
    config.server.listen = address;
    let node = Node::open(&config).await?;
    terminal::message(&format!("assistiv-server listens on http://{address}"));
    terminal::message(&format!("API             {}/v1", node::public_url(&config)));
    let has_operator_key = node.has_operator_key().await?;
    if !has_operator_key && !is_loopback(address.ip()) {
        node.close(Duration::ZERO).await?;
        return Err(CliError::Usage(format!(
            "server.listen: {address} may be reached by other machines, and nobody can act as operator yet: run \
             `assistiv-server setup` first, set security.operator_key, or listen on 127.0.0.1"
        )));
    }
    if !has_operator_key {
        terminal::message(
            "no operator key exists yet: stop the server and run `assistiv-server setup --platform NAME`, \
             or set security.operator_key",
        );
    }
    run_until_stopped(node, &config, listener).await?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a configuration with which no node can start.
pub(super) fn usable(config: &Config) -> Result<(), CliError> {
    let problems = node::problems(config);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(CliError::Usage(problems.join("\n")))
    }
}

/// Binds a listener.
pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("server.listen: {address} cannot be used"))
}

/// Serves a node until a signal comes, then shuts down in order. A second signal ends the process at once.
pub(super) async fn run_until_stopped(
    node: Node,
    config: &Config,
    listener: TcpListener,
) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let service = service(&node, config);
    let server = Server::new(ServerOptions::new(&config.limits));
    let closed = server.closed();
    let patience = config.limits.stream_drain;
    let drain = DrainOptions {
        delay: config.server.drain_delay,
        requests: patience + CLOSING,
    };
    service.readiness().ready();
    let serving = server.run(listener, service, stop.clone(), drain);
    let closing = async {
        closed.cancelled().await;
        node.close(patience).await
    };
    tokio::select! {
        (_, closed) = async { tokio::join!(serving, closing) } => closed,
        () = crate::http::metrics::keep_up() => Ok(()),
        () = stop_on_signals(stop) => anyhow::bail!("ended by a second signal"),
    }
}

fn service(node: &Node, config: &Config) -> HttpService {
    let docs_url: Arc<str> = node::public_url(config).into();
    let store = node.store().clone();
    let readiness = Readiness::new(move || {
        let store = store.clone();
        async move { store.ping().await.is_ok() }
    });
    let options = HttpOptions::new(&config.limits, docs_url.clone(), Arc::new(readiness));
    let management = api::router(ApiState {
        gateway: node.gateway().clone(),
        docs_url,
        body: options.body,
        require_idempotency_key: config.api.require_idempotency_key,
    });
    HttpService::new(node.gateway().clone(), management, options)
}

/// Cancels the token at the first signal; resolves at the second.
async fn stop_on_signals(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    for first in [true, false] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if first {
            tracing::info!("shutting down");
            stop.cancel();
        }
    }
}

/// Writes the log to standard error: pretty for people, JSON for programs.
pub(super) fn start_log(config: &Config) {
    let filter = EnvFilter::try_new(&config.log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    // Says at every start that there is nothing to migrate.
    let filter = match "sea_orm_migration=warn".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour);
    let pretty = match config.log.format {
        LogFormat::Pretty => true,
        LogFormat::Json => false,
        _ => terminal,
    };
    // A second gateway in one process writes to the log of the first.
    let _ = if pretty {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}

/// How long the demo waits for calls that are under way when it stops.
pub(super) const DEMO_DRAIN: Duration = Duration::from_secs(2);

/// Whether an address can be reached from this machine alone.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
