//! A server with two platforms, one that would rather know what is left out, in front of the recorded provider.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use assistiv_core::Gateway;
use assistiv_core::auth::{KeyKind, PresentedKey};
use assistiv_core::billing::{ChargeFlags, EntryKind, LedgerEntry};
use assistiv_core::clock::{Clock, Timestamp};
use assistiv_core::id::{EntryId, PlatformId};
use assistiv_core::store::Page;
use assistiv_server::node::Node;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client;
use crate::upstream::Upstream;

#[path = "../outcomes/server.rs"]
mod server;

/// The day of the prices in the vectors.
const DAY: &str = "2026-11-23T12:00:00Z";
const PROVIDER_KEY: &str = "sk-upstream-secret";

pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) address: SocketAddr,
    gateway: Gateway,
    drops: Platform,
    refuses: Platform,
    _dir: tempfile::TempDir,
}

pub(crate) struct Platform {
    id: PlatformId,
    pub(crate) key: String,
}

/// Runs from that day on.
struct From(Timestamp, Instant);

impl Clock for From {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.1.elapsed().as_micros()).unwrap();
        Timestamp::from_micros(self.0.as_micros() + passed)
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let upstream = Upstream::start().await;
        let dir = tempfile::tempdir().unwrap();
        let base_url = format!("http://{}/v1", upstream.address);
        let config = server::config(dir.path(), &base_url, |_| ());
        let clock = From(DAY.parse().unwrap(), Instant::now());
        let node = Node::open_by(&config, std::sync::Arc::new(clock))
            .await
            .unwrap();
        let operator = PresentedKey::generate(KeyKind::Operator).unwrap();
        node.add_operator_key(&operator).await.unwrap();
        let gateway = node.gateway().clone();
        let listener = TcpListener::bind(config.server.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        run(server::serve(
            node,
            config,
            listener,
            CancellationToken::new(),
        ));
        let drops = Platform::make(address, operator.reveal(), "drop").await;
        let refuses = Platform::make(address, operator.reveal(), "error").await;
        Self {
            upstream,
            address,
            gateway,
            drops,
            refuses,
            _dir: dir,
        }
    }

    /// The platform that a vector wants.
    pub(crate) fn platform(&self, vector: &Value) -> &Platform {
        match vector["gateway_config"]["unsupported_params"].as_str() {
            Some("error") => &self.refuses,
            _ => &self.drops,
        }
    }

    /// The platform's newest charge, once nothing is held any more.
    pub(crate) async fn last_charge(&self, platform: &Platform) -> Option<LedgerEntry> {
        let settled = async {
            while self.gateway.billing().open_holds() > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), settled)
            .await
            .unwrap();
        let scope = self.gateway.local_operator().manage(platform.id).unwrap();
        let page = Page { page: 1, limit: 1 };
        let ledger = &self.gateway.stores().ledger;
        let entries = ledger.wallet_entries(&scope, page).await.unwrap();
        let newest = entries.rows.into_iter().next()?.entry;
        (newest.kind == EntryKind::Charge).then_some(newest)
    }

    /// A charge as the vectors write it, if it is another one than `before`.
    pub(crate) async fn usage(
        &self,
        platform: &Platform,
        before: Option<EntryId>,
    ) -> Option<Value> {
        let charge = self.last_charge(platform).await?;
        if Some(charge.uid) == before {
            return None;
        }
        let metered = charge.metered.unwrap();
        let usage = charge.usage().unwrap();
        let catalogue = self.gateway.router().catalogue();
        let model = catalogue.model_by_id(metered.model_id).unwrap();
        let mut prices = catalogue.prices();
        let (.., price) = prices
            .find(|(.., price)| price.id == metered.price_id)
            .unwrap();
        let long = price.long_context.as_ref();
        let is_long = long.is_some_and(|long| usage.input_total() > long.above_input_tokens);
        let is_estimated = charge.flags.contains(ChargeFlags::ESTIMATED);
        let (_, change) = charge.wallet.unwrap();
        Some(json!({
            "model": model.slug.as_str(),
            "prompt_tokens_total": usage.input_total(), "input_uncached": usage.input,
            "input_cached": usage.cached_input, "cache_write_5m": usage.cache_write_5m,
            "cache_write_30m": usage.cache_write_30m, "cache_write_1h": usage.cache_write_1h,
            "cache_write_12h": usage.cache_write_12h, "audio_input": usage.audio_input,
            "image_input": usage.image_input, "output_tokens": usage.output_total(),
            "reasoning_tokens": usage.reasoning, "audio_output": usage.audio_output,
            "image_output": usage.image_output, "total_tokens": usage.total(),
            "service_tier": price.service_tier,
            "context_tier": if is_long { "long" } else { "base" },
            "source": if is_estimated { "estimated" } else { "provider" },
            "nano_usd": -change.get(),
        }))
    }
}

impl Platform {
    async fn make(address: SocketAddr, operator: &str, unsupported_params: &str) -> Self {
        let body = json!({"name": unsupported_params, "initial_balance_usd": "1000"});
        let made = call(address, "POST", "/v1/admin/platforms", operator, &body).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (id, key) = (text(&made["id"]), text(&made["api_key"]["raw_key"]));
        let path = format!("/v1/platforms/{id}");
        let settings = json!({"settings": {"unsupported_params": unsupported_params}});
        call(address, "PATCH", &path, &key, &settings).await;
        for provider in ["anthropic", "google", "openai", "xai"] {
            let body = json!({"provider": provider, "api_key": PROVIDER_KEY});
            call(address, "POST", &format!("{path}/llm-configs"), &key, &body).await;
        }
        Self {
            id: id.parse().unwrap(),
            key,
        }
    }
}

/// A management call that succeeds; gives the object.
async fn call(address: SocketAddr, method: &str, path: &str, key: &str, body: &Value) -> Value {
    let answer = client::send(address, method, path, key, body, None).await;
    let text = String::from_utf8(answer.body).unwrap();
    assert!((200..300).contains(&answer.status), "{path}: {text}");
    let mut made: Value = serde_json::from_str(&text).unwrap();
    made["data"].take()
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests run things beside each other"
)]
pub(crate) fn run<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(work)
}
