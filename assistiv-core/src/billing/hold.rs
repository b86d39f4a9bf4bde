//! Money set aside for one call.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::account::Blocked;
use super::amounts::{Amounts, Dimension, Dimensions, Legs};
use super::engine::{
    Billing, DeliveryToken, Engine, LaneOperation, QueuePermit, Refusal, Settlement, Slice, Ticket,
    View,
};
use super::estimate::{Available, Estimate};
use super::ledger::{BudgetLegs, EntryKind, EntrySource, LedgerEntry, Metered};
use super::meter::{Bill, CountMethod, Ending, Meter};
use super::options::{DeliveryGate, LastRequest};
use super::store::OpenStream;
use super::{FundError, Shortfall, Usage};
use crate::auth::Identity;
use crate::id::{EndUserId, LogId, PlatformId};
use crate::json::RawObject;
use crate::money::Markup;
use crate::provider::Output;
use crate::routing::Target;

/// The output limit of a call that takes all that is left.
const LAST_REQUEST_OUTPUT: u64 = 16;
/// Output tokens by which the hold of a stream grows at least.
const EXTENSION_OUTPUT_MIN: u64 = 256;
/// The smallest extension, near the end of the funds.
const EXTENSION_OUTPUT_LEAST: u64 = 16;
/// How often a call asks the accounts again before it gives up on a race with others.
const ROUNDS_MAX: usize = 3;

/// Who pays for a call.
#[derive(Clone)]
pub struct Payer {
    platform_id: PlatformId,
    end_user_id: Option<EndUserId>,
    wallet: Arc<Slice>,
    budget: Option<Arc<Slice>>,
    markup: Markup,
    /// Whether the caller may see amounts of money in an error.
    shows_money: bool,
}

/// Money set aside for one call, on the wallet and on every enforced limit of the budget.
///
/// Exactly one of [`Hold::settle`] and [`Hold::release`] ends it. A hold that is dropped instead loses nothing:
/// where the provider had accepted the call it settles what was observed, else it releases.
#[derive(Debug)]
#[must_use = "a hold that is dropped settles what was observed"]
pub struct Hold(Option<Held>);

struct Held {
    engine: Arc<Engine>,
    permit: QueuePermit,
    payer: Payer,
    log_id: LogId,
    estimate: Estimate,
    /// What stands on the wallet's and the budget's slices.
    on_wallet: Amounts,
    on_budget: Amounts,
    /// What was authorised, leg by leg.
    legs: Legs,
    /// The output limit to send upstream, where it had to be lowered.
    lowered_to: Option<u64>,
    meter: Meter,
    accepted: bool,
    opened: bool,
    checkpoint_at: Instant,
    /// The question to the accounts that is under way, of a stream that outgrows its hold.
    asking: Option<Asking>,
    /// Who could not pay for the last extension.
    short: Option<Side>,
}

/// Who cannot pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Wallet,
    Budget(Option<Dimension>),
}

/// A question for more money that nobody waits for.
struct Asking {
    answers: Vec<oneshot::Receiver<()>>,
    since: Instant,
}

/// Resolves when content may go out: the record that the answer began is durable.
#[derive(Debug)]
#[must_use = "content may go out only after the gate"]
pub struct OpenGate(Gate);

/// Resolves when the end of the answer may go out: the charge is durable.
#[derive(Debug)]
#[must_use = "the end of the answer may go out only after the gate"]
pub struct SettleGate {
    gate: Gate,
    ticket: Arc<Ticket>,
    usage: Usage,
    method: CountMethod,
    legs: Legs,
}

#[derive(Debug)]
enum Gate {
    /// Nothing to wait for.
    Open,
    Waits {
        ack: oneshot::Receiver<DeliveryToken>,
        timeout: Duration,
    },
}

/// What a call was charged. Keep it until the answer was handed over: a crash before that lists the charge as
/// unconfirmed.
#[derive(Debug)]
pub struct Settled {
    /// The tokens that were charged.
    pub usage: Usage,
    /// Where the counts come from.
    pub method: CountMethod,
    /// The amounts.
    pub legs: Legs,
    _delivery: Option<DeliveryToken>,
}

/// Whether a stream may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Funds {
    Enough,
    /// Used up, and the accounts have been asked for more: [`Hold::asked`] tells when they have answered.
    Asking,
    /// Used up and not to be extended; which side, for the error.
    Exhausted {
        of_budget: Option<Dimension>,
    },
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
        let budget = match identity.end_user() {
            None => None,
            Some(end_user) => {
                let uncertain = |cause| FundError::Uncertain { cause: Some(cause) };
                let slice = engine.budget_slice(end_user).await.map_err(uncertain)?;
                if slice.is_none() && profile.settings.require_budget() {
                    return Err(FundError::BudgetRequired);
                }
                slice
            }
        };
        Ok(Self {
            platform_id: platform.platform_id(),
            end_user_id: identity.end_user_id(),
            wallet: engine.slice(profile.wallet_account),
            budget,
            markup: profile.settings.markup(),
            shows_money: identity.end_user_id().is_none(),
        })
    }

    /// Both sides or neither.
    fn reserve(&self, legs: &Legs) -> Result<(Amounts, Amounts), Side> {
        let on_budget = match &self.budget {
            None => Amounts::ZERO,
            Some(slice) => slice.reserve(legs.budget).map_err(Side::budget)?,
        };
        match self.wallet.reserve(Amounts::usd(legs.wallet)) {
            Ok(on_wallet) => Ok((on_wallet, on_budget)),
            Err(_) => {
                if let Some(slice) = &self.budget {
                    slice.release(on_budget);
                }
                Err(Side::Wallet)
            }
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
        let (legs, lowered_to, on) = self.reserve(&payer, &estimate, &full).await?;
        let engine = self.engine().clone();
        engine.refill(&payer.wallet);
        if let Some(budget) = &payer.budget {
            engine.refill(budget);
        }
        let meter = Meter::new(prompt_tokens, payer.markup);
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
            accepted: false,
            opened: false,
            checkpoint_at: Instant::now(),
            asking: None,
            short: None,
        })))
    }

    async fn reserve(
        &self,
        payer: &Payer,
        estimate: &Estimate,
        full: &Legs,
    ) -> Result<(Legs, Option<u64>, (Amounts, Amounts)), FundError> {
        if let Ok(on) = payer.reserve(full) {
            return Ok((*full, None, on));
        }
        for _ in 0..ROUNDS_MAX {
            self.ask_for(payer, full).await?;
            if let Ok(on) = payer.reserve(full) {
                return Ok((*full, None, on));
            }
            let (wallet, budget) = payer.available();
            blocked(&wallet, budget.as_ref())?;
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
            let rest = match self.options().last_request {
                LastRequest::Allow => available.rest(full),
                LastRequest::Refuse => None,
            };
            let Some(legs) = rest else {
                return Err(exhausted(payer, full, &wallet, budget.as_ref()));
            };
            if let Ok(on) = payer.reserve(&legs) {
                return Ok((
                    legs,
                    Some(LAST_REQUEST_OUTPUT.min(estimate.output_tokens)),
                    on,
                ));
            }
        }
        let (wallet, budget) = payer.available();
        Err(exhausted(payer, full, &wallet, budget.as_ref()))
    }

    /// Asks the accounts that are short, both at once.
    async fn ask_for(&self, payer: &Payer, legs: &Legs) -> Result<(), FundError> {
        let engine = self.engine();
        let wallet = engine.lease(&payer.wallet, Amounts::usd(legs.wallet));
        let asked = match &payer.budget {
            Some(budget) => {
                let (a, b) =
                    futures_util::future::join(wallet, engine.lease(budget, legs.budget)).await;
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
fn exhausted(payer: &Payer, wanted: &Legs, wallet: &View, budget: Option<&View>) -> FundError {
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
                Dimension::Display => None,
            };
            return FundError::BudgetExhausted {
                dimension,
                shortfall: Shortfall {
                    transient: view.held,
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
            transient: wallet.held,
            shown: amounts,
        },
    }
}

fn shown<T: std::fmt::Display>(required: &T, available: &T) -> Option<(Value, Value)> {
    // As text: a JSON number would go through a float here.
    Some((required.to_string().into(), available.to_string().into()))
}

// === impl Hold ===

impl Hold {
    /// The output limit to send upstream, where what is there cannot pay for more.
    pub fn lowered_to(&self) -> Option<u64> {
        self.0.as_ref().and_then(|held| held.lowered_to)
    }

    /// The call this hold is for.
    pub fn log_id(&self) -> Option<LogId> {
        self.0.as_ref().map(|held| held.log_id)
    }

    /// Raises the hold to a dearer estimate, before another target is tried.
    ///
    /// # Errors
    /// As [`Billing::hold`]; the hold stands as it was.
    pub async fn rehold(&mut self, estimate: Estimate) -> Result<(), FundError> {
        let Some(held) = self.0.as_mut() else {
            return Ok(());
        };
        let wanted = estimate.legs(held.lowered_to.unwrap_or(estimate.output_tokens));
        let wanted = wanted.map_err(|_| FundError::Uncertain { cause: None })?;
        if !held.extend_to(&wanted) {
            let billing_error = exhausted(&held.payer, &wanted, &held.payer.wallet.view(), None);
            return Err(billing_error);
        }
        held.estimate = estimate;
        Ok(())
    }

    /// An attempt with a target begins; what an earlier attempt showed no longer counts.
    pub fn begin(&mut self, target: &Target) {
        if let Some(held) = self.0.as_mut() {
            held.meter.begin(target);
            held.accepted = false;
        }
    }

    /// The provider has accepted the call: from here on leaving costs at least the prompt.
    pub fn accepted(&mut self) {
        if let Some(held) = self.0.as_mut() {
            held.accepted = true;
        }
    }

    /// The attempt failed before anything was delivered: nothing of it is charged.
    pub fn failed(&mut self) {
        if let Some(held) = self.0.as_mut() {
            held.accepted = false;
        }
    }

    /// Records that a stream begins. Content may go out once the gate has opened.
    pub fn open(&mut self) -> OpenGate {
        let Some(held) = self.0.as_mut() else {
            return OpenGate(Gate::Open);
        };
        held.opened = true;
        let (ack, gate) = held.engine.gate();
        held.engine.enqueue(LaneOperation::Open {
            stream: Box::new(held.record()),
            ack,
        });
        OpenGate(gate)
    }

    /// Takes note of what a decoder has found out. Extends the hold of a stream that outgrows it, and records
    /// its accrual from time to time.
    pub(crate) fn observe(&mut self, output: &Output) -> Funds {
        let Some(held) = self.0.as_mut() else {
            return Funds::Enough;
        };
        if !held.meter.observe(output) {
            return Funds::Enough;
        }
        held.checkpoint();
        held.extend()
    }

    /// Waits for the accounts' answer to a stream that has used up its hold, and says how things stand then.
    pub(crate) async fn asked(&mut self) -> Funds {
        let Some(held) = self.0.as_mut() else {
            return Funds::Enough;
        };
        if let Some(asking) = held.asking.as_mut() {
            let answers = futures_util::future::join_all(asking.answers.iter_mut());
            // An answer that does not come counts as none: the question below finds it overdue.
            let _ = tokio::time::timeout(held.engine.options().gate_timeout, answers).await;
            asking.answers.clear();
        }
        held.extend()
    }

    /// Charges the call for how its answer ended, and ends the hold.
    ///
    /// The settlement is on its way when this returns; the gate tells when it is durable.
    pub fn settle(mut self, ending: Ending) -> SettleGate {
        match self.0.take() {
            Some(held) => held.settle(ending),
            None => SettleGate::nothing(),
        }
    }

    /// Ends the hold without a charge.
    pub fn release(mut self) {
        if let Some(held) = self.0.take() {
            held.release();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        match self.0.take() {
            // The gate is dropped: nobody waits, and the settlement goes its way.
            Some(held) if held.accepted => drop(held.settle(Ending::ClientGone)),
            Some(held) => held.release(),
            None => {}
        }
    }
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

// === impl Asking ===

impl Asking {
    /// Whether an answer may still come. Those that came are put away: a receiver must not be asked twice.
    fn is_pending(&mut self, patience: Duration) -> bool {
        use oneshot::error::TryRecvError;
        self.answers
            .retain_mut(|answer| answer.try_recv() == Err(TryRecvError::Empty));
        !self.answers.is_empty() && self.since.elapsed() < patience
    }
}

// === impl Held ===

impl Held {
    fn settle(self, ending: Ending) -> SettleGate {
        let bill = self.meter.bill(ending, &self.legs, self.engine.options());
        let Some(bill) = bill.filter(|bill| !bill.legs.is_zero()) else {
            self.release();
            return SettleGate::nothing();
        };
        let entry = self.entry(&bill);
        let cost_on_wallet = Amounts::usd(bill.legs.wallet);
        self.payer.wallet.settle(self.on_wallet, cost_on_wallet);
        let mut debits = vec![(self.payer.wallet.clone(), cost_on_wallet)];
        if let Some(budget) = &self.payer.budget {
            budget.settle(self.on_budget, bill.legs.budget);
            debits.push((budget.clone(), bill.legs.budget));
        }
        let ticket = Arc::new(Ticket::default());
        let (ack, gate) = self.engine.gate();
        let settlement = Settlement {
            entry,
            debits,
            opened: self.opened,
            ticket: ticket.clone(),
            ack,
            _permit: Some(self.permit.into_inner()),
        };
        self.engine
            .enqueue(LaneOperation::Settle(Box::new(settlement)));
        SettleGate {
            gate,
            ticket,
            usage: bill.usage,
            method: bill.method,
            legs: bill.legs,
        }
    }

    fn release(self) {
        self.payer.wallet.release(self.on_wallet);
        if let Some(budget) = &self.payer.budget {
            budget.release(self.on_budget);
        }
        if self.opened {
            let close = LaneOperation::Close {
                log_id: self.log_id,
                _permit: self.permit.into_inner(),
            };
            self.engine.enqueue(close);
        }
    }

    fn entry(&self, bill: &Bill) -> LedgerEntry {
        LedgerEntry {
            uid: self.log_id,
            kind: EntryKind::Charge,
            source: EntrySource::Inference,
            platform_id: self.payer.platform_id,
            end_user_id: self.payer.end_user_id,
            wallet: Some((self.payer.wallet.account(), bill.legs.wallet.negated())),
            budget: self.payer.budget.as_ref().map(|slice| BudgetLegs {
                account: slice.account(),
                remaining: bill.legs.budget.negated(),
                limit: Amounts::ZERO,
            }),
            refers_to: None,
            flags: bill.flags,
            posted_by: None,
            metered: self.meter.target().map(|target| Metered {
                model_id: target.model_id,
                price_id: bill.price.id,
                input_tokens: bill.usage.input_total(),
                cached_tokens: bill.usage.cached_input,
                output_tokens: bill.usage.output_total(),
                markup: self.payer.markup,
            }),
            idempotency_key: None,
            reason: None,
            metadata: further_buckets(&bill.usage),
            created_at: self.engine.clock().now(),
        }
    }

    fn record(&self) -> OpenStream {
        let target = self.meter.target();
        OpenStream {
            log_id: self.log_id,
            platform_id: self.payer.platform_id,
            end_user_id: self.payer.end_user_id,
            wallet: self.payer.wallet.account(),
            budget: self.payer.budget.as_ref().map(|slice| slice.account()),
            accrued: self.meter.accrued(),
            held: self.legs,
            price_id: target.map_or_else(
                || self.estimate.prices[0].id,
                |target| target.price(None).id,
            ),
            model_id: target.map_or_else(
                || crate::id::ModelId::from_uuid(uuid::Uuid::nil()),
                |t| t.model_id,
            ),
        }
    }

    fn checkpoint(&mut self) {
        if self.opened && self.checkpoint_at.elapsed() >= self.engine.options().checkpoint_interval
        {
            self.checkpoint_at = Instant::now();
            self.engine.enqueue(LaneOperation::Open {
                stream: Box::new(self.record()),
                ack: None,
            });
        }
    }

    /// Keeps a stream's hold ahead of what it has cost.
    fn extend(&mut self) -> Funds {
        // The provider stops by itself at a limit; only the unlimited outgrow their hold.
        if self.lowered_to.is_some() || self.estimate.is_bounded {
            return Funds::Enough;
        }
        let accrued = self.meter.accrued();
        if below_three_quarters(&accrued, &self.legs) || self.extend_beyond(&accrued) {
            return Funds::Enough;
        }
        // Memory is short. The stream goes on while the accounts are asked, and ends only when their answer did
        // not help.
        let patience = self.engine.options().gate_timeout;
        let Some(asking) = &mut self.asking else {
            self.asking = Some(self.ask());
            return Funds::Enough;
        };
        if !asking.is_pending(patience) {
            self.asking = None;
            return self.used_up(&accrued);
        }
        match self.used_up(&accrued) {
            Funds::Enough => Funds::Enough,
            // Nothing more may go out before it is known whether it can be paid.
            _ => Funds::Asking,
        }
    }

    /// Extends the hold from memory until it is ahead of what was spent: by a quarter at a time, by less where
    /// there is not so much.
    fn extend_beyond(&mut self, accrued: &Legs) -> bool {
        let mut step = (self.estimate.output_tokens / 4).max(EXTENSION_OUTPUT_MIN);
        while !below_three_quarters(accrued, &self.legs) {
            let output = self.estimate.output_tokens.saturating_add(step);
            let Ok(more) = self.estimate.legs(output) else {
                return false;
            };
            if self.extend_to(&more) {
                self.estimate.output_tokens = output;
            } else if step > EXTENSION_OUTPUT_LEAST {
                step = (step / 4).max(EXTENSION_OUTPUT_LEAST);
            } else {
                return false;
            }
        }
        true
    }

    /// Asks the accounts for another quarter of the hold.
    fn ask(&self) -> Asking {
        let step = (self.estimate.output_tokens / 4).max(EXTENSION_OUTPUT_MIN);
        let wanted = self
            .estimate
            .legs(self.estimate.output_tokens.saturating_add(step))
            .unwrap_or(self.legs);
        let missing = |to: i64, from: i64| to.saturating_sub(from).max(0);
        let on_wallet =
            Amounts::from_raw(missing(wanted.wallet.get(), self.legs.wallet.get()), 0, 0);
        let mut answers = vec![self.engine.ask(&self.payer.wallet, on_wallet)];
        if let Some(budget) = &self.payer.budget {
            let needs =
                Amounts::from_fn(|d| missing(wanted.budget.get(d), self.legs.budget.get(d)));
            answers.push(self.engine.ask(budget, needs));
        }
        Asking {
            answers,
            since: Instant::now(),
        }
    }

    /// Whether what was spent is beyond what is held; then who could not pay for more is to blame.
    fn used_up(&self, accrued: &Legs) -> Funds {
        let enforced = self
            .payer
            .budget
            .as_ref()
            .map_or(Dimensions::NONE, |slice| slice.view().enforced);
        let over = |d: &Dimension| {
            enforced.contains(*d) && accrued.budget.get(*d) > self.on_budget.get(*d)
        };
        let dimension = Dimension::ALL.into_iter().find(over);
        if dimension.is_none() && accrued.wallet <= self.on_wallet.usd {
            return Funds::Enough;
        }
        match self.short {
            Some(Side::Wallet) => Funds::Exhausted { of_budget: None },
            Some(Side::Budget(Some(short))) => Funds::Exhausted {
                of_budget: Some(short),
            },
            Some(Side::Budget(None)) | None => Funds::Exhausted {
                of_budget: dimension,
            },
        }
    }

    /// Raises what is held to `wanted`, from memory; all or nothing.
    fn extend_to(&mut self, wanted: &Legs) -> bool {
        let missing = |to: i64, from: i64| to.saturating_sub(from).max(0);
        let more = Legs {
            wallet: crate::money::NanoUsd::new(missing(
                wanted.wallet.get(),
                self.legs.wallet.get(),
            )),
            budget: Amounts::from_fn(|d| missing(wanted.budget.get(d), self.legs.budget.get(d))),
        };
        let (on_wallet, on_budget) = match self.payer.reserve(&more) {
            Ok(on) => on,
            Err(side) => {
                self.short = Some(side);
                return false;
            }
        };
        let add = |a: Amounts, b: Amounts| a.checked_add(b).unwrap_or(a);
        self.on_wallet = add(self.on_wallet, on_wallet);
        self.on_budget = add(self.on_budget, on_budget);
        self.legs = self.legs.max(*wanted);
        true
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("log_id", &self.log_id)
            .field("legs", &self.legs)
            .finish_non_exhaustive()
    }
}

/// The buckets that have no column of their own, where tokens fell into them: with these every leg of a charge
/// can be recomputed.
fn further_buckets(usage: &Usage) -> RawObject {
    let buckets = [
        ("cache_write_5m", usage.cache_write_5m),
        ("cache_write_30m", usage.cache_write_30m),
        ("cache_write_1h", usage.cache_write_1h),
        ("cache_write_12h", usage.cache_write_12h),
        ("audio_input", usage.audio_input),
        ("image_input", usage.image_input),
        ("reasoning", usage.reasoning),
        ("audio_output", usage.audio_output),
        ("image_output", usage.image_output),
    ];
    let number = |tokens: u64| serde_json::from_str(&tokens.to_string()).ok();
    let used = buckets.into_iter().filter(|(_, tokens)| *tokens > 0);
    used.filter_map(|(name, tokens)| Some((name.to_owned(), number(tokens)?)))
        .collect()
}

fn below_three_quarters(accrued: &Legs, held: &Legs) -> bool {
    let below = |a: i64, h: i64| h == 0 || i128::from(a) * 4 < i128::from(h) * 3;
    below(accrued.wallet.get(), held.wallet.get())
        && Dimension::ALL
            .into_iter()
            .all(|d| below(accrued.budget.get(d), held.budget.get(d)))
}

// === impl Engine ===

impl Engine {
    /// A gate and what opens it. With relaxed delivery there is nothing to wait for.
    fn gate(&self) -> (Option<oneshot::Sender<DeliveryToken>>, Gate) {
        match self.options().delivery_gate {
            DeliveryGate::Relaxed => (None, Gate::Open),
            DeliveryGate::Strict => {
                let (sender, ack) = oneshot::channel();
                (
                    Some(sender),
                    Gate::Waits {
                        ack,
                        timeout: self.options().gate_timeout,
                    },
                )
            }
        }
    }
}

// === impl Gate ===

impl Gate {
    async fn wait(self) -> Result<Option<DeliveryToken>, FundError> {
        match self {
            Self::Open => Ok(None),
            Self::Waits { ack, timeout } => match tokio::time::timeout(timeout, ack).await {
                Ok(Ok(token)) => Ok(Some(token)),
                // The lane is gone, or the database is away.
                Ok(Err(_)) | Err(_) => Err(FundError::Uncertain { cause: None }),
            },
        }
    }
}

impl OpenGate {
    /// Waits until content may go out.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the database stays away; then nothing may go out.
    pub async fn wait(self) -> Result<(), FundError> {
        self.0.wait().await.map(drop)
    }
}

impl SettleGate {
    fn nothing() -> Self {
        Self {
            gate: Gate::Open,
            ticket: Arc::default(),
            usage: Usage::default(),
            method: CountMethod::Reported,
            legs: Legs::ZERO,
        }
    }

    /// Waits for the charge of an answer that goes out in one piece.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the database stays away; the answer must be dropped, and its charge is
    /// taken back.
    pub async fn whole(self) -> Result<Settled, FundError> {
        let Self {
            gate,
            ticket,
            usage,
            method,
            legs,
        } = self;
        let settled = |delivery| Settled {
            usage,
            method,
            legs,
            _delivery: delivery,
        };
        match gate.wait().await {
            Ok(delivery) => Ok(settled(delivery)),
            // It became durable in the very moment in which the wait ended.
            Err(_) if !ticket.withdraw() => Ok(settled(None)),
            Err(error) => Err(error),
        }
    }

    /// Waits for the charge of a stream whose content is out already.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the database stays away; the stream must end with an error, and its charge
    /// stays in the queue.
    pub async fn stream(self) -> Result<Settled, FundError> {
        let Self {
            gate,
            usage,
            method,
            legs,
            ..
        } = self;
        let delivery = gate.wait().await?;
        Ok(Settled {
            usage,
            method,
            legs,
            _delivery: delivery,
        })
    }
}
