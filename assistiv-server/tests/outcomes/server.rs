//! The server as the `serve` command puts it together.

use std::sync::Arc;
use std::time::Duration;

use assistiv_server::api::{self, ApiState};
use assistiv_server::config::{Config, Outbound, Provider};
use assistiv_server::http::{
    DrainOptions, HttpOptions, HttpService, Readiness, Server, ServerOptions,
};
use assistiv_server::node::{self, Node};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A configuration whose providers are all at one address.
pub(crate) fn config(dir: &std::path::Path, base_url: &str, change: fn(&mut Config)) -> Config {
    let mut config = Config::default();
    config.server.data_dir = dir.join("data");
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.drain_delay = Duration::ZERO;
    config.security.outbound_allow = vec![Outbound::Network("127.0.0.1/32".parse().unwrap())];
    config.security.webhook_allow = config.security.outbound_allow.clone();
    for slug in ["anthropic", "google", "openai", "xai"] {
        let mut provider = Provider::default();
        provider.base_url = Some(base_url.to_owned());
        config.providers.insert(slug.to_owned(), provider);
    }
    change(&mut config);
    config
}

/// Serves until it is told to stop, then closes the database.
pub(crate) async fn serve(
    node: Node,
    config: Config,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let docs_url: Arc<str> = node::public_url(&config).into();
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
    let service = HttpService::new(node.gateway().clone(), management, options);
    let server = Server::new(ServerOptions::new(&config.limits));
    let closed = server.closed();
    let patience = config.limits.stream_drain;
    let requests = patience + Duration::from_secs(10);
    let drain = DrainOptions {
        delay: config.server.drain_delay,
        requests,
    };
    service.readiness().ready();
    let closing = async {
        closed.cancelled().await;
        node.close(patience).await.unwrap();
    };
    tokio::join!(server.run(listener, service, stop, drain), closing);
}
