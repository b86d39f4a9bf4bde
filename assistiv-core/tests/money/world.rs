//! A gateway with one platform, in which a test makes calls.

use std::sync::Arc;
use std::time::Duration;

use assistiv_core::auth::PresentedKey;
use assistiv_core::billing::{
    AccountAudit, BillingOptions, Budget, BudgetChanges, BudgetOf, BudgetTerms, CreateBudget,
    DebitBudget, EntryKind, LedgerEntry, Limits, Period, ReadBudget, UpdateBudget, ZoneName,
};
use assistiv_core::clock::SystemClock;
use assistiv_core::dispatch::CallBody;
use assistiv_core::id::{EndUserId, PlatformId};
use assistiv_core::json::RawObject;
use assistiv_core::money::{NanoUsd, Tokens};
use assistiv_core::provider::Registered;
use assistiv_core::routing::Catalogue;
use assistiv_core::store::{Page, Stores, Upsert, memory::MemoryStore};
use assistiv_core::tenancy::{CreateEndUser, CreatePlatform, EndUserRef};
use assistiv_core::{Call, Error, Gateway, Operation};
use http::Response;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::provider::{Answer, Scripted};

const CATALOGUE: &str = r#"{
    "providers": [
        { "slug": "one", "name": "One", "base_url": "https://one.example" },
        { "slug": "two", "name": "Two", "base_url": "https://two.example" }
    ],
    "models": [
        { "slug": "m", "released": "2026-01-01T00:00:00Z", "max_output_tokens": 1000, "routes": [
            { "provider": "one", "provider_model_id": "m", "prices": [
                { "effective_from": "2026-01-01T00:00:00Z", "rates": { "input": "3", "output": "15" } } ] } ] },
        { "slug": "endless", "released": "2026-01-01T00:00:00Z", "routes": [
            { "provider": "one", "provider_model_id": "m", "prices": [
                { "effective_from": "2026-01-01T00:00:00Z", "rates": { "input": "3", "output": "15" } } ] } ] },
        { "slug": "two-ways", "released": "2026-01-01T00:00:00Z", "max_output_tokens": 1000, "routes": [
            { "provider": "one", "provider_model_id": "m", "priority": 1, "prices": [
                { "effective_from": "2026-01-01T00:00:00Z", "rates": { "input": "3", "output": "15" } } ] },
            { "provider": "two", "provider_model_id": "m", "priority": 2, "prices": [
                { "effective_from": "2026-01-01T00:00:00Z", "rates": { "input": "3", "output": "15" } } ] } ] }
    ]
}"#;

const MESSAGE: &str = r#"{"role":"user","content":"hello there"}"#;

/// What so many tokens cost, in nano-dollars.
pub fn cost_of(input: i64, output: i64) -> i64 {
    input * 3_000 + output * 15_000
}

/// The prompt as it is counted without a tokenizer: three bytes a token.
pub fn prompt_tokens() -> i64 {
    i64::try_from(MESSAGE.len().div_ceil(3)).unwrap()
}

#[derive(Clone, Copy)]
pub enum Backend {
    Memory,
    #[cfg(feature = "sqlite")]
    Sqlite,
}

/// Whose key a call is made with.
#[derive(Clone)]
pub struct Payer {
    key: PresentedKey,
    end_user: Option<EndUserId>,
}

pub struct World {
    pub gateway: Gateway,
    pub provider: Scripted,
    pub platform: Payer,
    platform_id: PlatformId,
    stores: Stores,
    _dir: Option<tempfile::TempDir>,
}

impl World {
    pub async fn new(backend: Backend, balance: NanoUsd) -> Self {
        let (stores, dir) = stores(backend).await;
        let world = Self::on(stores, BillingOptions::default(), balance).await;
        Self { _dir: dir, ..world }
    }

    /// A gateway on stores of the test's choice.
    pub async fn on(stores: Stores, options: BillingOptions, balance: NanoUsd) -> Self {
        let provider = Scripted::new();
        provider.answers([Answer::whole(1, 1)]);
        let gateway = gateway(&stores, &provider, options).await;
        let command = CreatePlatform {
            name: "Acme".into(),
            initial_balance: balance,
            ..CreatePlatform::default()
        };
        let made = gateway
            .tenancy()
            .run(&gateway.local_operator(), (), command)
            .await
            .unwrap();
        let platform = Payer {
            key: made.raw_key,
            end_user: None,
        };
        Self {
            gateway,
            provider,
            platform,
            platform_id: made.platform.id,
            stores,
            _dir: None,
        }
    }

    /// Another gateway for the same platform, with the same provider.
    #[cfg(feature = "testing")]
    pub async fn beside(&self, stores: Stores, options: BillingOptions) -> Self {
        Self {
            gateway: gateway(&stores, &self.provider, options).await,
            provider: self.provider.clone(),
            platform: self.platform.clone(),
            platform_id: self.platform_id,
            stores,
            _dir: None,
        }
    }

    pub fn answers(&self, answer: Answer) {
        self.provider.answers([answer]);
    }

    pub fn answers_in_turn(&self, answers: impl IntoIterator<Item = Answer>) {
        self.provider.answers(answers);
    }

    pub async fn end_user(&self, usd: Option<i64>, tokens: Option<i64>) -> Payer {
        let payer = self.end_user_without_budget().await;
        self.give_budget(&payer, usd, tokens).await;
        payer
    }

    pub async fn end_user_without_budget(&self) -> Payer {
        let local = self.gateway.local_operator();
        let command = CreateEndUser {
            external_id: "ada".into(),
            ..CreateEndUser::default()
        };
        let made = self
            .gateway
            .tenancy()
            .run(&local, self.platform_id, command)
            .await
            .unwrap();
        let Upsert::Created(user) = made.end_user else {
            panic!("a new user")
        };
        Payer {
            key: made.raw_key,
            end_user: Some(user.id),
        }
    }

    pub async fn give_budget(&self, payer: &Payer, usd: Option<i64>, tokens: Option<i64>) {
        let terms = BudgetTerms {
            limits: Limits {
                usd: usd.map(NanoUsd::new),
                tokens: tokens.map(Tokens::new),
            },
            period: Period::OneTime,
            timezone: ZoneName::default(),
            auto_replenish: false,
            replenish: Limits::default(),
            low_balance: Limits::default(),
        };
        self.on_budget(payer, CreateBudget { terms }).await;
    }

    pub async fn debit(&self, payer: &Payer, usd: i64) {
        let amounts = Limits {
            usd: Some(NanoUsd::new(usd)),
            tokens: None,
        };
        let command = DebitBudget {
            amounts,
            reason: None,
            metadata: RawObject::new(),
            request: None,
        };
        self.on_budget(payer, command).await;
    }

    pub async fn suspend(&self, payer: &Payer, is_suspended: bool) {
        let changes = BudgetChanges {
            is_suspended: Some(is_suspended),
            ..BudgetChanges::default()
        };
        let command = UpdateBudget {
            changes,
            reason: None,
            metadata: RawObject::new(),
            request: None,
        };
        self.on_budget(payer, command).await;
    }

    pub async fn budget(&self, payer: &Payer) -> Budget {
        self.on_budget(payer, ReadBudget).await
    }

    async fn on_budget<C, T>(&self, payer: &Payer, command: C) -> T
    where
        BudgetOf<C>: assistiv_core::command::Command<
                assistiv_core::billing::Wallets,
                Authority = assistiv_core::auth::PlatformScope,
                Output = T,
            >,
    {
        let command = BudgetOf {
            end_user: EndUserRef::Id(payer.end_user.unwrap()),
            command,
        };
        let local = self.gateway.local_operator();
        self.gateway
            .wallets()
            .run(&local, self.platform_id, command)
            .await
            .unwrap()
    }

    pub async fn call(
        &self,
        payer: &Payer,
        stream: bool,
        limit: u64,
    ) -> Result<Response<CallBody>, Error> {
        self.call_model(payer, "m", stream, limit).await
    }

    pub async fn call_model(
        &self,
        payer: &Payer,
        model: &str,
        stream: bool,
        limit: u64,
    ) -> Result<Response<CallBody>, Error> {
        self.gateway
            .inference()
            .oneshot(request(payer, model, stream, limit))
            .await
    }

    /// The whole of a stream for which neither caller nor model set a limit.
    pub async fn stream_without_limit(&self, payer: &Payer) -> String {
        use http_body_util::BodyExt;
        let body = format!(r#"{{"model":"endless","messages":[{MESSAGE}],"stream":true}}"#);
        let call = Call::new(payer.key.clone(), Operation::ChatCompletions, body);
        let response = self.gateway.inference().oneshot(call).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    pub fn spawn_call(
        &self,
        payer: &Payer,
        stream: bool,
        limit: u64,
    ) -> JoinHandle<Result<Response<CallBody>, Error>> {
        let call = self
            .gateway
            .inference()
            .oneshot(request(payer, "m", stream, limit));
        spawn(call)
    }

    /// Waits until so many of the calls were refused; gives the errors, and the calls that still run.
    pub async fn wait_for_refusals(
        &self,
        mut calls: Vec<JoinHandle<Result<Response<CallBody>, Error>>>,
        count: usize,
    ) -> (
        Vec<Error>,
        Vec<JoinHandle<Result<Response<CallBody>, Error>>>,
    ) {
        let mut refused = Vec::new();
        while refused.len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let (done, running): (Vec<_>, Vec<_>) =
                calls.into_iter().partition(JoinHandle::is_finished);
            calls = running;
            for call in done {
                refused.push(
                    call.await
                        .unwrap()
                        .expect_err("no call may end before the provider is let go"),
                );
            }
        }
        assert_eq!(refused.len(), count);
        self.provider.wait_for_requests(calls.len()).await;
        (refused, calls)
    }

    pub async fn balance(&self) -> NanoUsd {
        let scope = self
            .gateway
            .local_operator()
            .manage(self.platform_id)
            .unwrap();
        self.stores.ledger.wallet(&scope).await.unwrap().balance
    }

    pub async fn newest_charge(&self) -> LedgerEntry {
        let entry = self.entries().await.remove(0);
        assert_eq!(entry.kind, EntryKind::Charge);
        entry
    }

    /// The newest entries of the wallet.
    pub async fn entries(&self) -> Vec<LedgerEntry> {
        let scope = self
            .gateway
            .local_operator()
            .manage(self.platform_id)
            .unwrap();
        let page = Page {
            page: 1,
            limit: 100,
        };
        let entries = self.stores.ledger.wallet_entries(&scope, page).await;
        let rows = entries.unwrap().rows;
        rows.into_iter().map(|row| row.entry).collect()
    }

    /// What the request log says of a call's charge.
    #[cfg(feature = "testing")]
    pub async fn logged(
        &self,
        call: assistiv_core::id::LogId,
    ) -> Option<(assistiv_core::logs::BillingStatus, i64)> {
        let scope = assistiv_core::testing::scopes::engine();
        let states = self.stores.logs.states(&scope, &[call]).await.unwrap();
        let of = |state: &assistiv_core::logs::LogState| (state.billing_status, state.cost.get());
        states.first().map(of)
    }

    /// Every settlement that is on its way is durable, and nothing is held.
    pub async fn no_hold_is_left(&self) {
        let empty = async {
            while self.gateway.billing().open_holds() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), empty)
            .await
            .expect("a hold was left behind");
    }

    /// The books balance; gives them for further questions.
    pub async fn audit(&self) -> Vec<AccountAudit> {
        self.no_hold_is_left().await;
        let operator = self.gateway.local_operator().operate().unwrap();
        let accounts = self.stores.ledger.audit(&operator).await.unwrap();
        for account in &accounts {
            assert!(account.balances(), "{account:?}");
            assert_eq!(account.open_streams, 0, "{account:?}");
        }
        accounts
    }

    /// The same stores under a new gateway; the old one and the answer under way are forgotten, not closed.
    pub async fn killed(self, under_way: Response<CallBody>) -> Self {
        std::mem::forget(under_way);
        let gateway = gateway(&self.stores, &self.provider, BillingOptions::default()).await;
        let old = std::mem::replace(&mut { self.gateway }, gateway.clone());
        std::mem::forget(old);
        Self {
            gateway,
            provider: self.provider,
            platform: self.platform,
            platform_id: self.platform_id,
            stores: self.stores,
            _dir: self._dir,
        }
    }
}

async fn stores(backend: Backend) -> (Stores, Option<tempfile::TempDir>) {
    match backend {
        Backend::Memory => (MemoryStore::new(Arc::new(SystemClock)).into(), None),
        #[cfg(feature = "sqlite")]
        Backend::Sqlite => {
            use assistiv_core::store::sql::{SqlOptions, SqlStore};
            let dir = tempfile::tempdir().unwrap();
            let store = SqlStore::open(SqlOptions::sqlite(dir.path().join("money.db")))
                .await
                .unwrap();
            (store.into(), Some(dir))
        }
    }
}

async fn gateway(stores: &Stores, provider: &Scripted, options: BillingOptions) -> Gateway {
    let registered = || Registered {
        provider: Arc::new(provider.clone()),
        transport: Arc::new(provider.clone()),
        needs_credential: false,
    };
    Gateway::builder()
        .stores(stores.clone())
        .billing(options)
        .catalogue(Catalogue::default().extended(CATALOGUE).unwrap())
        .provider("one".parse().unwrap(), registered())
        .provider("two".parse().unwrap(), registered())
        .build()
        .await
        .unwrap()
}

fn request(payer: &Payer, model: &str, stream: bool, limit: u64) -> Call {
    let body = format!(
        r#"{{"model":"{model}","messages":[{MESSAGE}],"stream":{stream},"max_tokens":{limit}}}"#
    );
    Call::new(payer.key.clone(), Operation::ChatCompletions, body)
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests run calls beside each other"
)]
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(future)
}
