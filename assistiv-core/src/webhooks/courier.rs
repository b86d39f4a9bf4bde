//! The courier: fans events out, sends what is due, and writes down how it went.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::commands::webhook_place;
use super::{
    Attempt, ClaimedDelivery, SignatureHeaders, TIMETABLE, WebhookSecret, WebhookStore,
    WebhookTransport,
};
use crate::auth::SweeperScope;
use crate::clock::Clock;
use crate::id::WebhookId;
use crate::provider::{TransportError, TransportErrorKind, UpstreamBody};
use crate::runtime::Runtime;
use crate::secrets::SecretCipher;
use crate::store::StoreError;

/// Events that are fanned out in one act.
const FAN_OUT: u32 = 100;
/// Endpoints that are looked at in one round.
const ENDPOINTS: u32 = 64;
/// What is read of an answer. Nothing is made of it; it is read so that the connection can be used again.
const ANSWER_MAX: usize = 16 * 1024;
/// How long after a failure of the store to try again.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// What an attempt gets to end in when the gateway stops. Its lease runs out when it does not, and it is made again.
const STOP_GRACE: Duration = Duration::from_secs(2);
const PRUNE_EVERY: Duration = Duration::from_mins(10);

/// How messages are sent.
#[derive(Clone, Copy, Debug)]
pub struct CourierOptions {
    /// What an endpoint has to answer within. 15 s.
    pub timeout: Duration,
    /// How long a delivery belongs to the courier that claimed it: longer than `timeout`. 40 s.
    pub lease: Duration,
    /// How often to look for new events and what is due. 500 ms.
    pub look_every: Duration,
    /// Requests at a time to one endpoint, of this node. 5.
    pub per_endpoint: u32,
    /// Requests at a time to all of them, of this node. Half of them at most go to endpoints that fail. 256.
    pub places: u32,
}

/// Sends what happened to those who want to be told.
#[derive(Clone)]
pub(crate) struct Courier {
    pub(crate) store: Arc<dyn WebhookStore>,
    pub(crate) cipher: Arc<dyn SecretCipher>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) transport: Arc<dyn WebhookTransport>,
    pub(crate) runtime: Runtime,
    pub(crate) options: CourierOptions,
    pub(crate) under_way: Arc<UnderWay>,
}

/// How many requests are under way.
#[derive(Default)]
pub(crate) struct UnderWay {
    places: Mutex<Places>,
    /// Rings when one ends.
    ended: Notify,
}

#[derive(Default)]
struct Places {
    by_endpoint: HashMap<WebhookId, u32>,
    all: u32,
    to_failing: u32,
}

/// A request's place, until it is dropped.
struct Place {
    under_way: Arc<UnderWay>,
    webhook: WebhookId,
    is_failing: bool,
}

// === impl CourierOptions ===

impl Default for CourierOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            lease: Duration::from_secs(40),
            look_every: Duration::from_millis(500),
            per_endpoint: 5,
            places: 256,
        }
    }
}

// === impl Courier ===

impl Courier {
    /// Runs until the gateway stops.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let scope = SweeperScope::engine();
        let mut pruned_at = tokio::time::Instant::now();
        loop {
            let looked = tokio::select! {
                () = stopping.cancelled() => return,
                looked = self.look(&scope, &stopping) => looked,
            };
            let pause = match looked {
                Ok(true) => continue,
                Ok(false) => self.options.look_every,
                Err(error) => {
                    warn(&error, "webhooks cannot be sent");
                    STORE_PAUSE
                }
            };
            if pruned_at.elapsed() >= PRUNE_EVERY {
                pruned_at = tokio::time::Instant::now();
                if let Err(error) = self.store.prune_deliveries(&scope).await {
                    warn(&error, "old deliveries of webhooks cannot be removed");
                }
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.under_way.ended.notified(), if looked_well(pause, self.options) => {}
            }
        }
    }

    /// Fans out what is new and begins what is due; says whether there may be more of either.
    async fn look(
        &self,
        scope: &SweeperScope,
        stopping: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let fanned_out = self.store.fan_out(scope, FAN_OUT).await?;
        let busy = self.under_way.busy(self.options.per_endpoint);
        let due = self.store.due_webhooks(scope, &busy, ENDPOINTS).await?;
        let mut began = 0;
        for webhook in due {
            let places = self
                .under_way
                .take(webhook.id, webhook.is_failing, self.options);
            let most = u32::try_from(places.len()).unwrap_or(0);
            if most == 0 {
                continue;
            }
            let lease = self.options.lease;
            let claimed = self
                .store
                .claim_deliveries(scope, webhook.id, lease, most)
                .await?;
            began += claimed.len();
            for (delivery, place) in claimed.into_iter().zip(places) {
                let (courier, stopping) = (self.clone(), stopping.clone());
                self.runtime.spawn(async move {
                    courier.deliver(delivery, stopping).await;
                    drop(place);
                });
            }
        }
        Ok(fanned_out == FAN_OUT || began > 0)
    }

    async fn deliver(&self, claimed: ClaimedDelivery, stopping: CancellationToken) {
        let stopped = async {
            stopping.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        let mut attempt = tokio::select! {
            attempt = self.attempt(&claimed) => attempt,
            () = stopped => return,
        };
        let delivery = &claimed.delivery;
        if !attempt.is_success {
            attempt.again_in = pause_after(delivery.attempt, Uuid::new_v4());
        }
        let scope = SweeperScope::engine();
        let written = self
            .store
            .finish_attempt(&scope, delivery.id, claimed.claim, &attempt);
        match written.await {
            Ok(true) => tracing::warn!(
                event = "webhook.disabled",
                webhook = %delivery.webhook_id,
                "a webhook was switched off: nothing it was sent has arrived for five days"
            ),
            Ok(false) => {}
            Err(error) => warn(&error, "a delivery of a webhook cannot be written down"),
        }
    }

    async fn attempt(&self, claimed: &ClaimedDelivery) -> Attempt {
        let failed = |error: &str| Attempt {
            error: Some(error.to_owned()),
            ..Attempt::default()
        };
        let Some(request) = self.request(claimed) else {
            tracing::error!(
                webhook = %claimed.delivery.webhook_id,
                "a webhook's secret cannot be opened, so that its messages cannot be signed"
            );
            return failed("the message could not be signed");
        };
        let exchange = async {
            let response = self.transport.send(request).await?;
            let (head, body) = response.into_parts();
            Ok::<_, TransportError>((head.status, body))
        };
        let by = tokio::time::Instant::now() + self.options.timeout;
        let answer = tokio::time::timeout_at(by, exchange).await;
        let (status, body) = match answer {
            Err(_) => return failed("no answer in time"),
            Ok(Err(error)) => return failed(why(error.kind())),
            Ok(Ok(answer)) => answer,
        };
        let _ = tokio::time::timeout_at(by, read(body)).await;
        Attempt {
            is_success: status.is_success(),
            response_status: Some(status.as_u16()),
            ..Attempt::default()
        }
    }

    /// The signed message; `None` when no secret opens.
    fn request(&self, claimed: &ClaimedDelivery) -> Option<Request<Bytes>> {
        let delivery = &claimed.delivery;
        let place = webhook_place(delivery.webhook_id);
        let secrets: Option<Vec<_>> = claimed
            .secrets
            .iter()
            .map(|sealed| self.cipher.open(place, &sealed.0).ok())
            .map(|text| WebhookSecret::parse(&text?).ok())
            .collect();
        let secrets = secrets.filter(|secrets| !secrets.is_empty())?;
        let seconds = self.clock.now().as_micros().div_euclid(1_000_000);
        let body = Bytes::from(claimed.payload.clone());
        let signed = SignatureHeaders::sign(&delivery.message_id(), seconds, &body, &secrets);
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = claimed.url.parse().ok()?;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        signed.add_to(request.headers_mut());
        Some(request)
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// Endpoints that have no place left.
    fn busy(&self, per_endpoint: u32) -> Vec<WebhookId> {
        let places = self.lock();
        let full = places.by_endpoint.iter();
        full.filter(|(_, count)| **count >= per_endpoint)
            .map(|(webhook, _)| *webhook)
            .collect()
    }

    /// Places for an endpoint: as many as it may have. One that fails gets one.
    fn take(
        self: &Arc<Self>,
        webhook: WebhookId,
        is_failing: bool,
        options: CourierOptions,
    ) -> Vec<Place> {
        let mut guard = self.lock();
        let places = &mut *guard;
        let has = places.by_endpoint.get(&webhook).copied().unwrap_or(0);
        let may_have = if is_failing { 1 } else { options.per_endpoint };
        let mut left = options.places.saturating_sub(places.all);
        if is_failing {
            left = left.min((options.places / 2).saturating_sub(places.to_failing));
        }
        let taken = may_have.saturating_sub(has).min(left);
        if taken > 0 {
            places.by_endpoint.insert(webhook, has + taken);
            places.all += taken;
            places.to_failing += if is_failing { taken } else { 0 };
        }
        let place = |_| Place {
            under_way: self.clone(),
            webhook,
            is_failing,
        };
        (0..taken).map(place).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.under_way.lock();
        places.all = places.all.saturating_sub(1);
        if self.is_failing {
            places.to_failing = places.to_failing.saturating_sub(1);
        }
        if let Some(count) = places.by_endpoint.get_mut(&self.webhook) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                places.by_endpoint.remove(&self.webhook);
            }
        }
        drop(places);
        self.under_way.ended.notify_one();
    }
}

/// The pause after `ended` attempts and one that failed, made up to a tenth longer by chance, so that what failed
/// together is not sent again together; `None` when that was the last one.
fn pause_after(ended: u32, chance: Uuid) -> Option<Duration> {
    let next = usize::try_from(ended).ok()?.checked_add(1)?;
    let pause = *TIMETABLE.get(next)?;
    Some(pause + pause * u32::from(chance.as_bytes()[0]) / 2_550)
}

fn looked_well(pause: Duration, options: CourierOptions) -> bool {
    pause == options.look_every
}

async fn read(mut body: UpstreamBody) {
    let mut read = 0;
    while read < ANSWER_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

fn why(kind: TransportErrorKind) -> &'static str {
    match kind {
        TransportErrorKind::Connect => "no connection came about",
        TransportErrorKind::Refused => "the address may not be called",
        TransportErrorKind::Timeout => "no connection came about in time",
        TransportErrorKind::Broken => "the connection broke",
    }
}

fn warn(error: &StoreError, what: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}

#[cfg(test)]
mod tests;
