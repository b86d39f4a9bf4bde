//! A node with one platform, whose wallet pays for every call, and end users with budgets.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use assistiv_core::auth::{Identity, PresentedKey};
use assistiv_core::billing::{
    BudgetOf, BudgetTerms, CreateBudget, DisplayRates, Ending, Estimate, FundError, Hold, Limits,
    Period, ZoneName,
};
use assistiv_core::clock::{Clock, SystemClock};
use assistiv_core::id::LogId;
use assistiv_core::money::{Markup, NanoUsd};
use assistiv_core::routing::{Catalogue, Target};
use assistiv_core::store::Stores;
use assistiv_core::tenancy::{CreateEndUser, CreatePlatform, EndUserRef};
use assistiv_core::testing::{payer::payer_of, scopes};
use assistiv_core::{Gateway, GatewayBuilder};
use assistiv_providers::echo::Echo;
use tokio::time::Instant;

use crate::counted::{CountedLedger, Counts};

/// Tokens of each call's prompt.
const PROMPT: u64 = 1_000;

/// Tokens that each call may answer with.
const OUTPUT: u64 = 500;

/// A call under way; how long its settlement took.
pub type Call = Pin<Box<dyn Future<Output = Option<Duration>> + Send>>;

const PATIENCE: Duration = Duration::from_secs(2);

/// A running node and what it needs to make calls without a provider.
#[derive(Clone)]
pub struct Node {
    gateway: Gateway,
    callers: Arc<[Arc<Identity>]>,
    counts: Arc<Counts>,
    target: Target,
    estimate: Estimate,
}

/// The keys of the end users that a run is made with.
#[derive(Clone)]
pub struct Callers(Vec<PresentedKey>);

// === impl Callers ===

impl Callers {
    /// Makes a platform with all the money that a wallet can hold, and end users with budgets.
    ///
    /// # Errors
    /// The store's.
    pub async fn make(stores: &Stores, end_users: usize) -> Result<Self> {
        let gateway = builder(stores.clone()).build().await?;
        let operator = gateway.local_operator();
        let platform = CreatePlatform {
            name: "Bench".to_owned(),
            initial_balance: NanoUsd::MAX_INPUT,
            ..CreatePlatform::default()
        };
        let made = gateway.tenancy().run(&operator, (), platform).await?;
        let platform = made.platform.id;
        let mut keys = Vec::with_capacity(end_users);
        for number in 0..end_users {
            let external_id = format!("user-{number}");
            let user = CreateEndUser {
                external_id: external_id.clone(),
                ..CreateEndUser::default()
            };
            let made = gateway.tenancy().run(&operator, platform, user).await?;
            let budget = BudgetOf {
                end_user: EndUserRef::External(external_id),
                command: CreateBudget { terms: terms() },
            };
            gateway.wallets().run(&operator, platform, budget).await?;
            keys.push(made.raw_key);
        }
        gateway.shut_down(PATIENCE).await?;
        Ok(Self(keys))
    }
}

/// Checks that every account of the stores balances with the ledger.
///
/// # Errors
/// When one does not, or the store fails.
pub async fn assert_balanced(stores: &Stores) -> Result<()> {
    let accounts = stores.ledger.audit(&scopes::operator()).await?;
    for account in &accounts {
        anyhow::ensure!(account.balances(), "the books do not balance: {account:?}");
    }
    anyhow::ensure!(!accounts.is_empty(), "there are no accounts");
    Ok(())
}

/// A budget that is enforced and never runs out.
fn terms() -> BudgetTerms {
    let limits = Limits {
        usd: Some(NanoUsd::MAX_INPUT),
        tokens: None,
    };
    BudgetTerms {
        limits,
        period: Period::OneTime,
        timezone: ZoneName::default(),
        auto_replenish: false,
        replenish: Limits::default(),
        low_balance: Limits::default(),
    }
}

fn builder(stores: Stores) -> GatewayBuilder {
    Gateway::builder().stores(stores)
}

// === impl Node ===

impl Node {
    /// Starts a node on stores that hold `callers`.
    ///
    /// # Errors
    /// The store's.
    pub async fn start(stores: Stores, callers: &Callers) -> Result<Self> {
        let (ledger, counts) = CountedLedger::new(stores.ledger.clone());
        let stores = Stores {
            ledger: Arc::new(ledger),
            ..stores
        };
        let gateway = builder(stores).build().await?;
        let mut identities = Vec::with_capacity(callers.0.len());
        for key in &callers.0 {
            identities.push(gateway.authenticator().authenticate(key).await?);
        }
        let catalogue = Catalogue::built_in()?;
        let target = Target::for_testing(&catalogue, "echo", Echo::registered(), SystemClock.now());
        let target = target.context("the catalogue has no `echo`")?;
        let estimate = Estimate {
            prices: vec![target.price(None).clone()],
            input_tokens: PROMPT,
            output_tokens: OUTPUT,
            is_bounded: true,
            markup: Markup::NONE,
            display: DisplayRates::default(),
        };
        Ok(Self {
            gateway,
            callers: identities.into(),
            counts,
            target,
            estimate,
        })
    }

    /// What was asked of the store.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// All that a call needs before it is sent: a place in the settlement queue, who pays, and the hold.
    ///
    /// # Errors
    /// As for a call.
    pub async fn authorise(&self, number: usize) -> Result<Hold, FundError> {
        let billing = self.gateway.billing();
        let permit = billing.permit()?;
        let caller = &self.callers[number % self.callers.len()];
        let payer = payer_of(billing, caller).await?;
        let estimate = self.estimate.clone();
        billing
            .hold(permit, payer, LogId::new(), estimate, PROMPT)
            .await
    }

    /// A call to a provider that answers at once; how long its settlement took to be durable.
    pub async fn call(&self, number: usize) -> Option<Duration> {
        let mut hold = self.authorise(number).await.ok()?;
        hold.begin(&self.target);
        hold.accepted();
        let begun = Instant::now();
        let settled = hold.settle(Ending::Complete).whole().await.ok()?;
        let waited = begun.elapsed();
        drop(settled);
        Some(waited)
    }

    /// [`Node::call`], for a load.
    pub fn calls(&self) -> impl Fn(usize) -> Call + Clone + Send + Sync + 'static {
        let node = self.clone();
        move |number| {
            let node = node.clone();
            Box::pin(async move { node.call(number).await })
        }
    }

    /// Stops the node in good order.
    ///
    /// # Errors
    /// The store's.
    pub async fn stop(self) -> Result<()> {
        Ok(self.gateway.shut_down(PATIENCE).await?)
    }
}
