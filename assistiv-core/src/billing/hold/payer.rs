//! Who pays for a call, and how money is set aside for it.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use super::{Held, Hold};
use crate::auth::Identity;
use crate::billing::account::Blocked;
use crate::billing::amounts::{Amounts, Dimension, Dimensions, Legs};
use crate::billing::display::DisplayRates;
use crate::billing::engine::{Billing, Epoch, QueuePermit, Refusal, Share, Slice, View};
use crate::billing::estimate::{Available, Estimate};
use crate::billing::meter::Meter;
use crate::billing::options::LastRequest;
use crate::billing::{FundError, Shortfall};
use crate::id::{EndUserId, LogId, PlatformId};
use crate::money::{DisplayUnits, Markup};

/// The output limit of a call that takes all that is left.
const LAST_REQUEST_OUTPUT: u64 = 16;
/// How often a call asks the accounts again before it gives up on a race with others.
const ROUNDS_MAX: usize = 3;
/// How often it asks while the accounts have what it lacks, and others are faster with each grant.
const RACES_MAX: usize = 64;

/// Who pays for a call.
#[derive(Clone)]
pub struct Payer {
    pub(super) platform_id: PlatformId,
    pub(super) end_user_id: Option<EndUserId>,
    /// The registration that the slices belong to.
    pub(super) epoch: Arc<Epoch>,
    pub(super) wallet: Arc<Slice>,
    pub(super) budget: Option<Arc<Slice>>,
    pub(super) markup: Markup,
    /// Whether the caller may see amounts of money in an error.
    pub(super) shows_money: bool,
}

/// Who cannot pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Wallet,
    Budget(Option<Dimension>),
}

// === impl Payer ===

impl Payer {
    /// The payer behind an identity.
    ///
    /// # Errors
    /// [`FundError::BudgetRequired`], or [`FundError::Uncertain`] when the budget cannot be looked up.
    pub(crate) async fn of(billing: &Billing, identity: &Identity) -> Result<Self, FundError> {
        let (Some(platform), Some(profile)) = (identity.platform(), identity.profile()) else {
            // An operator key makes no calls: authentication has refused it before.
            return Err(FundError::Uncertain { cause: None });
        };
        let engine = billing.engine();
        let epoch = engine.epoch();
        let budget = match identity.end_user() {
            None => None,
            Some(end_user) => {
                let uncertain = |cause| FundError::Uncertain { cause: Some(cause) };
                let slice = engine
                    .budget_slice(&epoch, end_user)
                    .await
                    .map_err(uncertain)?;
                if slice.is_none() && profile.settings.require_budget() {
                    return Err(FundError::BudgetRequired);
                }
                slice
            }
        };
        Ok(Self {
            platform_id: platform.platform_id(),
            end_user_id: identity.end_user_id(),
            wallet: epoch.slice(profile.wallet_account),
            budget,
            markup: profile.settings.markup(),
            shows_money: identity.end_user_id().is_none(),
            epoch,
        })
    }

    /// A payer of these accounts, whoever they belong to.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn of_accounts(
        billing: &Billing,
        payers: &crate::testing::fixtures::Payers,
    ) -> Self {
        let epoch = billing.engine().epoch();
        Self {
            platform_id: payers.platform_id,
            end_user_id: payers.end_user_id,
            wallet: epoch.slice(payers.wallet),
            budget: payers.budget.map(|account| epoch.slice(account)),
            markup: Markup::NONE,
            shows_money: true,
            epoch,
        }
    }

    /// Both sides or neither.
    pub(super) fn reserve(&self, legs: &Legs) -> Result<(Share, Share), Side> {
        self.both(legs, Slice::reserve)
    }

    /// The first attempt of a call.
    fn reserve_first(&self, legs: &Legs) -> Result<(Share, Share), Side> {
        self.both(legs, Slice::reserve_first)
    }

    /// All that is left where that is less than `legs`.
    fn reserve_rest(&self, legs: &Legs) -> Result<(Legs, (Share, Share)), Side> {
        let (wallet, budget) = self.both(legs, Slice::reserve_rest)?;
        let enforced = self
            .budget
            .as_ref()
            .map_or(Dimensions::NONE, |slice| slice.view().enforced);
        let held = Legs {
            wallet: wallet.amounts.usd,
            budget: Amounts::from_fn(|d| match enforced.contains(d) {
                true => budget.amounts.get(d),
                false => legs.budget.get(d),
            }),
        };
        Ok((held, (wallet, budget)))
    }

    fn both(
        &self,
        legs: &Legs,
        reserve: impl Fn(&Slice, Amounts) -> Result<Share, Refusal>,
    ) -> Result<(Share, Share), Side> {
        let on_budget = match &self.budget {
            None => Share::default(),
            Some(slice) => reserve(slice, legs.budget).map_err(Side::budget)?,
        };
        match reserve(&self.wallet, Amounts::usd(legs.wallet)) {
            Ok(on_wallet) => Ok((on_wallet, on_budget)),
            Err(_) => {
                if let Some(slice) = &self.budget {
                    slice.release(on_budget);
                }
                Err(Side::Wallet)
            }
        }
    }

    /// Whether a display ledger is on. Known once something was reserved.
    fn has_display_ledger(&self) -> bool {
        let budget = self.budget.as_ref().map(|slice| slice.view());
        budget.is_some_and(|view| view.enforced.contains(Dimension::Display))
    }

    fn give_back(&self, on: (Share, Share)) {
        self.wallet.release(on.0);
        if let Some(budget) = &self.budget {
            budget.release(on.1);
        }
    }

    fn available(&self) -> (View, Option<View>) {
        (
            self.wallet.view(),
            self.budget.as_ref().map(|slice| slice.view()),
        )
    }
}

// === impl Billing ===

impl Billing {
    /// Sets money aside for a call: in memory while the slices suffice, else after asking the accounts.
    ///
    /// When wallet or budget cannot pay the whole estimate, the output limit is lowered to what they can
    /// ([`Hold::lowered_to`]); when they cannot pay even one output token, one call may take all that is left.
    ///
    /// # Errors
    /// Budget before wallet, suspension before exhaustion; [`FundError::Uncertain`] when it cannot be known.
    pub async fn hold(
        &self,
        permit: QueuePermit,
        payer: Payer,
        log_id: LogId,
        mut estimate: Estimate,
        prompt_tokens: u64,
    ) -> Result<Hold, FundError> {
        estimate.markup = payer.markup;
        let full = estimate
            .full()
            .map_err(|_| FundError::Uncertain { cause: None })?;
        let (mut legs, lowered_to, on) = self.reserve(&payer, &estimate, &full).await?;
        if !payer.epoch.validity.is_current(Instant::now()) {
            payer.give_back(on);
            return Err(FundError::Uncertain { cause: None });
        }
        if !payer.has_display_ledger() {
            estimate.display = DisplayRates::default();
            legs.budget.display = DisplayUnits::ZERO;
        }
        let engine = self.engine().clone();
        payer.epoch.refill(&payer.wallet);
        if let Some(budget) = &payer.budget {
            payer.epoch.refill(budget);
        }
        let meter = Meter::new(prompt_tokens, payer.markup, estimate.display);
        Ok(Hold(Some(Held {
            engine,
            permit,
            payer,
            log_id,
            estimate,
            on_wallet: on.0,
            on_budget: on.1,
            legs,
            lowered_to,
            meter,
            log: None,
            reserved: None,
            accepted: false,
            opened: false,
            checkpoint_at: Instant::now(),
            asking: None,
            ask_again_at: None,
            short: None,
        })))
    }

    async fn reserve(
        &self,
        payer: &Payer,
        estimate: &Estimate,
        full: &Legs,
    ) -> Result<(Legs, Option<u64>, (Share, Share)), FundError> {
        if let Ok(on) = payer.reserve_first(full) {
            return Ok((*full, None, on));
        }
        let (mut rounds, mut races) = (0, 0);
        while rounds < ROUNDS_MAX {
            self.ask_for(payer, full).await?;
            if let Ok(on) = payer.reserve(full) {
                return Ok((*full, None, on));
            }
            let (wallet, budget) = payer.available();
            if [Some(&wallet), budget.as_ref()]
                .into_iter()
                .flatten()
                .any(View::is_unknown)
            {
                // It was changed while this call was on its way.
                rounds += 1;
                continue;
            }
            blocked(&wallet, budget.as_ref())?;
            let more = wallet.has_more_for(Amounts::usd(full.wallet))
                || budget
                    .as_ref()
                    .is_some_and(|view| view.has_more_for(full.budget));
            if more && races < RACES_MAX {
                races += 1;
                continue;
            }
            rounds += 1;
            let available = Available {
                wallet: wallet.available,
                budget: budget.map(|view| (view.available, view.enforced)),
            };
            if let Some((limit, legs)) = estimate.affordable(&available) {
                if let Ok(on) = payer.reserve(&legs) {
                    return Ok((legs, Some(limit), on));
                }
                continue;
            }
            if self.options().last_request == LastRequest::Allow
                && let Ok((legs, on)) = payer.reserve_rest(full)
            {
                let limit = LAST_REQUEST_OUTPUT.min(estimate.output_tokens);
                return Ok((legs, Some(limit), on));
            }
            return Err(exhausted(payer, full, &wallet, budget.as_ref()));
        }
        let (wallet, budget) = payer.available();
        blocked(&wallet, budget.as_ref())?;
        Err(exhausted(payer, full, &wallet, budget.as_ref()))
    }

    /// Asks the accounts that are short, both at once.
    async fn ask_for(&self, payer: &Payer, legs: &Legs) -> Result<(), FundError> {
        let patience = self.options().gate_timeout;
        let ask = |slice: &Arc<Slice>, needs: Amounts| {
            let (slice, epoch) = (slice.clone(), payer.epoch.clone());
            async move { slice.can_serve(needs) || epoch.lease(&slice, needs, patience).await }
        };
        let wallet = ask(&payer.wallet, Amounts::usd(legs.wallet));
        let asked = match &payer.budget {
            Some(budget) => {
                let (a, b) = futures_util::future::join(wallet, ask(budget, legs.budget)).await;
                a && b
            }
            None => wallet.await,
        };
        if asked {
            Ok(())
        } else {
            Err(FundError::Uncertain { cause: None })
        }
    }
}

fn blocked(wallet: &View, budget: Option<&View>) -> Result<(), FundError> {
    let of = |view: &View| view.policy.map(|policy| policy.blocked);
    match budget.map(of) {
        Some(Some(Blocked::Suspended)) => return Err(FundError::BudgetSuspended),
        // Switched off or unknown: it went away while this call was on its way.
        Some(Some(Blocked::Inactive) | None) => return Err(FundError::Uncertain { cause: None }),
        Some(Some(Blocked::No)) | None => {}
    }
    match of(wallet) {
        Some(Blocked::No) => Ok(()),
        Some(_) => Err(FundError::WalletInsufficient {
            shortfall: Shortfall {
                transient: false,
                shown: None,
            },
        }),
        None => Err(FundError::Uncertain { cause: None }),
    }
}

/// Why nothing could be held: the first limit that has nothing left, budget before wallet.
pub(super) fn exhausted(
    payer: &Payer,
    wanted: &Legs,
    wallet: &View,
    budget: Option<&View>,
) -> FundError {
    if let Some(view) = budget {
        let short = |d: &Dimension| {
            view.enforced.contains(*d) && view.available.get(*d) < wanted.budget.get(*d)
        };
        let empty = |d: &Dimension| short(d) && view.available.get(*d) <= 0;
        let found = Dimension::ALL.into_iter().find(empty);
        // A wallet that has nothing at all is the better answer than a budget that merely has little.
        let found = found.or_else(|| {
            (wallet.available.usd.is_positive())
                .then(|| Dimension::ALL.into_iter().find(short))
                .flatten()
        });
        if let Some(dimension) = found {
            let shown = match dimension {
                Dimension::Usd if !payer.shows_money => None,
                Dimension::Usd => shown(&wanted.budget.usd, &view.available.usd),
                Dimension::Tokens => shown(&wanted.budget.tokens, &view.available.tokens),
                Dimension::Display => shown(&wanted.budget.display, &view.available.display),
            };
            return FundError::BudgetExhausted {
                dimension,
                shortfall: Shortfall {
                    transient: view.held.get(dimension) > 0,
                    shown,
                },
                resets_at: view.policy.and_then(|policy| policy.period_end),
            };
        }
    }
    let amounts = if payer.shows_money {
        shown(&wanted.wallet, &wallet.available.usd)
    } else {
        None
    };
    FundError::WalletInsufficient {
        shortfall: Shortfall {
            transient: wallet.held.usd.is_positive(),
            shown: amounts,
        },
    }
}

fn shown<T: std::fmt::Display>(required: &T, available: &T) -> Option<(Value, Value)> {
    // As text: a JSON number would go through a float here.
    Some((required.to_string().into(), available.to_string().into()))
}

// === impl Side ===

impl Side {
    fn budget(refusal: Refusal) -> Self {
        Self::Budget(match refusal {
            Refusal::Short(dimension) => Some(dimension),
            Refusal::Unknown | Refusal::Blocked(_) => None,
        })
    }
}
