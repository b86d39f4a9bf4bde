use std::future::pending;

use async_trait::async_trait;
use http::StatusCode;

use super::*;
use crate::billing::LedgerAct;
use crate::clock::ManualClock;
use crate::events::EventType;
use crate::id::PlatformId;
use crate::provider::{Transport, full_body};
use crate::secrets::MasterKeyCipher;
use crate::store::memory::MemoryStore;
use crate::store::{Page, StoredSecret, Stores};
use crate::testing::fixtures;
use crate::testing::world::{BEGIN, Tenant, World};
use crate::webhooks::{DISABLED_AFTER, Delivery, DeliveryStatus, DisabledReason, Webhook, later};

/// Answers by the host: `fine` takes, `broken` does not, `dead` never answers.
#[derive(Default)]
struct Net(Mutex<Vec<Request<Bytes>>>);

#[async_trait]
impl Transport for Net {
    async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, TransportError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push(request);
        let status = match host.as_str() {
            "fine" => StatusCode::NO_CONTENT,
            "dead" => pending().await,
            "elsewhere" => StatusCode::FOUND,
            "endless" => {
                let endless = futures_util::stream::repeat_with(|| {
                    Ok(http_body::Frame::data(Bytes::from_static(&[0; 1024])))
                });
                let body = http_body_util::StreamBody::new(endless);
                return Ok(http::Response::new(body.boxed_unsync()));
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut response = http::Response::new(full_body("no"));
        *response.status_mut() = status;
        Ok(response)
    }
}

impl WebhookTransport for Net {
    fn check_url(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

struct Site {
    world: World,
    acme: Tenant,
    net: Arc<Net>,
    cipher: Arc<MasterKeyCipher>,
    stop: CancellationToken,
}

impl Site {
    /// A courier at work.
    async fn new() -> Self {
        let clock = ManualClock::new(BEGIN.parse().unwrap());
        let stores: Stores = MemoryStore::stores(Arc::new(clock.clone()));
        let world = World { stores, clock };
        let acme = world.tenant("acme").await;
        // What happened before anybody listened.
        let scope = SweeperScope::engine();
        world.stores.webhooks.fan_out(&scope, 100).await.unwrap();
        let runtime = Runtime::default();
        let key = MasterKeyCipher::generate_key().unwrap();
        let (net, cipher) = (
            Arc::new(Net::default()),
            Arc::new(MasterKeyCipher::new(&key)),
        );
        let courier = Courier {
            store: world.stores.webhooks.clone(),
            cipher: cipher.clone(),
            clock: Arc::new(world.clock.clone()),
            transport: net.clone(),
            runtime: runtime.clone(),
            options: CourierOptions::default(),
            under_way: Arc::default(),
        };
        let stop = runtime.stopping();
        runtime.spawn(courier.run(stop.clone()));
        Self {
            world,
            acme,
            net,
            cipher,
            stop,
        }
    }

    async fn endpoint(&self, url: &str) -> WebhookId {
        let id = WebhookId::new();
        let secret = WebhookSecret::generate().unwrap();
        let sealed = self.cipher.seal(webhook_place(id), &secret).unwrap();
        let webhook = Webhook {
            id,
            platform_id: PlatformId::new(),
            url: url.to_owned(),
            description: None,
            event_types: vec![EventType::WalletToppedUp],
            is_active: true,
            disabled_reason: None,
            created_at: self.world.now(),
            updated_at: self.world.now(),
        };
        let store = &self.world.stores.webhooks;
        let made = store.create_webhook(&self.acme.scope, webhook, StoredSecret(sealed));
        made.await.unwrap().id
    }

    async fn happen(&self, times: u32) {
        for _ in 0..times {
            let amount = fixtures::dollars(1);
            let act = LedgerAct::TopUpWallet { amount };
            self.world.apply(&self.acme, act).await;
        }
    }

    async fn deliveries(&self, id: WebhookId) -> Vec<Delivery> {
        let page = Page {
            page: 1,
            limit: 100,
        };
        let store = &self.world.stores.webhooks;
        let listed = store.deliveries(&self.acme.scope, id, page).await;
        listed.unwrap().rows
    }

    /// Waits, on a clock that runs by itself while nothing else does.
    async fn until(&self, id: WebhookId, is_so: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        for _ in 0..1_000 {
            let deliveries = self.deliveries(id).await;
            if is_so(&deliveries) {
                return deliveries;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it did not come to it: {:?}", self.deliveries(id).await);
    }

    fn ids(&self) -> Vec<String> {
        let sent = self.net.0.lock().unwrap();
        let id = |request: &Request<Bytes>| {
            let id = request.headers()["svix-id"].to_str();
            id.unwrap().to_owned()
        };
        sent.iter().map(id).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_sent_again_by_the_timetable_under_one_id() {
    let site = Site::new().await;
    let hook = site.endpoint("https://broken/hook").await;
    site.happen(1).await;
    for (ended, pause) in TIMETABLE.into_iter().enumerate().skip(1) {
        let is_so = |all: &[Delivery]| all.iter().any(|d| d.attempt as usize == ended);
        let delivery = site.until(hook, is_so).await.remove(0);
        assert_eq!(delivery.status, DeliveryStatus::Pending);
        assert_eq!(delivery.response_status, Some(500));
        let next = delivery.next_attempt_at.unwrap();
        let now = site.world.now();
        assert!(next >= later(now, pause), "attempt {ended}");
        assert!(next <= later(now, pause * 11 / 10), "attempt {ended}");
        // Not a moment before.
        let early = crate::clock::Timestamp::from_micros(next.as_micros() - 1);
        site.world.clock.set(early);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(site.ids().len(), ended);
        site.world.clock.set(next);
    }
    let failed = |all: &[Delivery]| all[0].status == DeliveryStatus::Failed;
    let delivery = site.until(hook, failed).await.remove(0);
    assert_eq!(delivery.attempt as usize, TIMETABLE.len());
    assert_eq!(delivery.next_attempt_at, None);
    let ids = site.ids();
    assert_eq!(ids, vec![delivery.message_id(); TIMETABLE.len()]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_delays_nobody_else() {
    let site = Site::new().await;
    let dead = site.endpoint("https://dead/").await;
    let fine = site.endpoint("https://fine/").await;
    site.happen(30).await;
    let began = tokio::time::Instant::now();
    let all = |all: &[Delivery]| {
        all.len() == 30 && all.iter().all(|d| d.status == DeliveryStatus::Delivered)
    };
    site.until(fine, all).await;
    // Nobody waited for the dead one's time to run out, and it had five requests at most.
    assert!(began.elapsed() < CourierOptions::default().timeout);
    let sent = site.net.0.lock().unwrap().len();
    assert_eq!(sent, 30 + 5);
    let timed_out = |all: &[Delivery]| all.iter().filter(|d| d.attempt == 1).count() >= 5;
    let late = site.until(dead, timed_out).await;
    let late = late.iter().find(|d| d.attempt == 1).unwrap();
    assert_eq!(late.error.as_deref(), Some("no answer in time"));
}

#[tokio::test(start_paused = true)]
async fn redirects_are_failures_and_endless_answers_are_cut() {
    let site = Site::new().await;
    let elsewhere = site.endpoint("https://elsewhere/").await;
    let endless = site.endpoint("https://endless/").await;
    site.happen(1).await;
    let ended = |all: &[Delivery]| all.iter().any(|d| d.attempt == 1);
    let redirected = site.until(elsewhere, ended).await.remove(0);
    assert_eq!(redirected.status, DeliveryStatus::Pending);
    assert_eq!(redirected.response_status, Some(302));
    let taken = site.until(endless, ended).await.remove(0);
    assert_eq!(taken.status, DeliveryStatus::Delivered);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_for_five_days_is_switched_off() {
    let site = Site::new().await;
    let hook = site.endpoint("https://broken/").await;
    site.happen(1).await;
    site.until(hook, |all| all.iter().any(|d| d.attempt == 1))
        .await;
    site.world.pass(DISABLED_AFTER);
    site.until(hook, |all| all[0].attempt == 2).await;
    let store = &site.world.stores.webhooks;
    let (webhook, _) = store.webhook(&site.acme.scope, hook).await.unwrap();
    assert!(!webhook.is_active);
    assert_eq!(webhook.disabled_reason, Some(DisabledReason::Failing));
    // It is told nothing from here on.
    site.happen(1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(site.deliveries(hook).await.len(), 1);
    assert_eq!(site.ids().len(), 2);
}
