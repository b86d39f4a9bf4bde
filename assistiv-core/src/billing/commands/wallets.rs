//! Commands on a platform's wallet.

use std::time::Duration;

use tokio::time::Instant;

use super::{Performed, RequestKey, Wallets, context, plain};
use crate::auth::{AuthError, KeyKind, OperatorScope, PlatformScope, Principal, SweeperScope};
use crate::billing::account::Wallet;
use crate::billing::act::{ActRefusal, LedgerAct};
use crate::billing::ledger::EntryWithBalance;
use crate::command::{Authority, Command, CommandError};
use crate::error::Reason;
use crate::id::PlatformId;
use crate::json::RawObject;
use crate::money::NanoUsd;
use crate::store::Page;

/// How long an adjustment waits for what nodes have leased.
const RECALL_WAIT: Duration = Duration::from_secs(2);
/// How often it looks whether they have returned it.
const RECALL_LOOK: Duration = Duration::from_millis(200);

/// Who may put money into a wallet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopUpBy {
    /// Platform keys, too.
    #[default]
    Platform,
    /// The operator alone.
    Operator,
}

/// Authority to put money into a wallet, and whether it is the operator's.
#[derive(Clone, Copy, Debug)]
pub struct WalletKeeper {
    scope: PlatformScope,
    is_operator: bool,
}

/// Reads the wallet with its newest entries.
#[derive(Clone, Copy, Debug)]
pub struct ReadWallet {
    /// How many entries.
    pub recent: u32,
}

/// A wallet with its newest entries, as callers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct WalletWithEntries {
    /// The wallet.
    pub wallet: Wallet,
    /// Its newest entries, with the names of their models.
    pub recent: Vec<(EntryWithBalance, Option<String>)>,
}

/// Puts money into the wallet.
#[derive(Clone, Debug)]
pub struct TopUpWallet {
    /// How much; above zero.
    pub amount: NanoUsd,
    /// For people; up to 500 characters.
    pub description: Option<String>,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

/// Corrects the wallet's balance.
#[derive(Clone, Debug)]
pub struct AdjustWallet {
    /// Which wallet.
    pub platform: PlatformId,
    /// By how much; not zero.
    pub amount: NanoUsd,
    /// Why, for people; up to 500 characters.
    pub reason: String,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

/// Changes the wallet's settings.
#[derive(Clone, Copy, Debug)]
pub struct UpdateWallet {
    /// At or below this the wallet counts as low.
    pub low_balance_threshold: Option<NanoUsd>,
}

impl Authority for WalletKeeper {
    type Over = PlatformId;

    fn of(principal: &Principal, over: &PlatformId) -> Result<Self, AuthError> {
        let is_operator = principal
            .identity()
            .is_none_or(|identity| identity.kind() == KeyKind::Operator);
        Ok(Self {
            scope: principal.manage(*over)?,
            is_operator,
        })
    }
}

impl Command<Wallets> for ReadWallet {
    const NAME: &'static str = "read_wallet";
    type Authority = PlatformScope;
    type Output = WalletWithEntries;

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<WalletWithEntries, CommandError> {
        let wallet = domain.stores.ledger.wallet(&scope).await?;
        let page = Page {
            page: 1,
            limit: self.recent,
        };
        let entries = domain.stores.ledger.wallet_entries(&scope, page).await?;
        Ok(WalletWithEntries {
            wallet,
            recent: entries
                .rows
                .into_iter()
                .map(|row| domain.named(row))
                .collect(),
        })
    }
}

impl Command<Wallets> for TopUpWallet {
    const NAME: &'static str = "top_up_wallet";
    type Authority = WalletKeeper;
    type Output = Performed;

    async fn run(self, domain: &Wallets, keeper: WalletKeeper) -> Result<Performed, CommandError> {
        if domain.topup_by == TopUpBy::Operator && !keeper.is_operator {
            let message = "wallets of this gateway are topped up by its operator";
            return Err(CommandError::refused(Reason::FORBIDDEN, message));
        }
        let context = context(self.description, RawObject::new());
        let act = LedgerAct::TopUpWallet {
            amount: self.amount,
        };
        domain
            .perform(&keeper.scope, Self::NAME, act, context, self.request)
            .await
    }
}

impl Command<Wallets> for AdjustWallet {
    const NAME: &'static str = "adjust_wallet";
    type Authority = OperatorScope;
    type Output = Performed;

    async fn run(
        self,
        domain: &Wallets,
        operator: OperatorScope,
    ) -> Result<Performed, CommandError> {
        let scope = operator.over(self.platform);
        let act = LedgerAct::AdjustWallet {
            amount: self.amount,
        };
        let context = context(Some(self.reason), RawObject::new());
        let adjust = async || {
            let (act, context, request) = (act.clone(), context.clone(), self.request.clone());
            domain
                .perform(&scope, Self::NAME, act, context, request)
                .await
        };
        let account = match adjust().await {
            Err(CommandError::Act(ActRefusal::FundsLeased(account))) => account,
            adjusted => return adjusted,
        };
        // The balance suffices. What this node does not use returns at once, what others do not use within
        // their next look at the messages.
        let deadline = Instant::now() + RECALL_WAIT;
        let ledger = &domain.stores.ledger;
        domain.billing.engine().refresh(account).await;
        if ledger.is_shared() {
            ledger.recall(&SweeperScope::engine(), account).await?;
        }
        loop {
            match adjust().await {
                Err(CommandError::Act(ActRefusal::FundsLeased(_)))
                    if ledger.is_shared() && Instant::now() < deadline => {}
                adjusted => return adjusted,
            }
            tokio::time::sleep(RECALL_LOOK).await;
        }
    }
}

impl Command<Wallets> for UpdateWallet {
    const NAME: &'static str = "update_wallet";
    type Authority = PlatformScope;
    type Output = Performed;

    async fn run(self, domain: &Wallets, scope: PlatformScope) -> Result<Performed, CommandError> {
        let act = LedgerAct::SetWalletThreshold {
            threshold: self.low_balance_threshold,
        };
        domain.perform(&scope, Self::NAME, act, plain(), None).await
    }
}
