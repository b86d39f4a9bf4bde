//! `GET /metrics`, in Prometheus' text format, for holders of an operator key.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use assistiv_core::auth::PresentedKey;
use assistiv_core::{Error, Gateway};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::Full;
use metrics::Counter;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::response::ResponseBody;

/// Gateways of one process share one recorder.
static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

const SECONDS: [f64; 14] = [
    0.000_01, 0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0,
];
const OPERATIONS: [f64; 7] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0];
/// How often samples are put into their buckets, should nobody read them.
const UPKEEP: Duration = Duration::from_secs(5);

/// Requests by route and status: both are of this server's making.
#[derive(Default)]
pub(super) struct Requests(RwLock<HashMap<(Cow<'static, str>, u16), Counter>>);

/// Installs the recorder of this process, before its first gateway is built. Has no effect a second time, or when
/// the program has a recorder of its own.
pub(crate) fn install() {
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&SECONDS)
            .and_then(|builder| {
                let name = Matcher::Full("billing_batch_ops".to_owned());
                builder.set_buckets_for_metric(name, &OPERATIONS)
            })
            .map(PrometheusBuilder::build_recorder)
            .ok()?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        Some(handle)
    });
}

/// Keeps the memory of samples small for as long as it is polled.
pub(crate) async fn keep_up() {
    let mut every = tokio::time::interval(UPKEEP);
    loop {
        every.tick().await;
        if let Some(handle) = handle() {
            handle.run_upkeep();
        }
    }
}

/// The metrics of this process.
pub(super) async fn answer(
    gateway: &Gateway,
    key: &PresentedKey,
) -> Result<Response<ResponseBody>, Error> {
    gateway.principal(key).await?.operate()?;
    let text = handle().map(PrometheusHandle::render).unwrap_or_default();
    let mut response = Response::new(ResponseBody::from(Full::new(Bytes::from(text))));
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    Ok(response)
}

fn handle() -> Option<&'static PrometheusHandle> {
    HANDLE.get().and_then(Option::as_ref)
}

// === impl Requests ===

impl Requests {
    /// Counts one. `status` is 0 where its caller left first.
    pub(super) fn count(&self, route: Cow<'static, str>, status: u16) {
        let key = (route, status);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = known.get(&key) {
            return counter.increment(1);
        }
        drop(known);
        let (route, status) = (key.0.clone().into_owned(), status.to_string());
        let counter =
            metrics::counter!("http_requests_total", "route" => route, "status" => status);
        counter.increment(1);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, counter);
    }
}
