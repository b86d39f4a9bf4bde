//! Money set aside for one call.

mod extend;
mod gate;
mod payer;

pub use self::gate::{OpenGate, SettleGate, Settled};
pub use self::payer::Payer;

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::extend::Asking;
use self::gate::Gate;
use self::payer::{Side, exhausted};
use super::FundError;
use super::account::Blocked;
use super::amounts::{Amounts, Dimension, Legs};
use super::buckets::further_buckets;
use super::engine::{Engine, LaneOperation, QueuePermit, Settlement, Share, Slice, Ticket};
use super::estimate::Estimate;
use super::ledger::{BudgetLegs, ChargeFlags, EntryKind, EntrySource, LedgerEntry, Metered};
use super::meter::{Bill, CountMethod, Ending, Meter};
use super::options::SuspendInflight;
use super::store::OpenStream;
use crate::error::Error;
use crate::events::{OperatorEvent, operator};
use crate::id::LogId;
use crate::json::RawObject;
use crate::limits::Reserved;
use crate::logs::{CallLog, Fate};
use crate::metrics::GateKind;
use crate::provider::Output;
use crate::routing::Target;

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
    on_wallet: Share,
    on_budget: Share,
    /// What was authorised, leg by leg.
    legs: Legs,
    /// The output limit to send upstream, where it had to be lowered.
    lowered_to: Option<u64>,
    meter: Meter,
    /// The call's row in the request log.
    log: Option<CallLog>,
    /// What rate limits have counted of the call.
    reserved: Option<Reserved>,
    accepted: bool,
    opened: bool,
    checkpoint_at: Instant,
    /// The question to the accounts that is under way, of a stream that outgrows its hold.
    asking: Option<Asking>,
    /// Before then the accounts are not asked again.
    ask_again_at: Option<Instant>,
    /// Who could not pay for the last extension.
    short: Option<Side>,
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
    /// The end user was suspended, and streams do not go on then.
    Suspended,
}

// === impl Hold ===

impl Hold {
    /// The output limit to send upstream, where what is there cannot pay for more.
    pub fn lowered_to(&self) -> Option<u64> {
        self.0.as_ref().and_then(|held| held.lowered_to)
    }

    /// What is held.
    pub(crate) fn legs(&self) -> Legs {
        self.0.as_ref().map_or(Legs::ZERO, |held| held.legs)
    }

    /// The call this hold is for.
    pub fn log_id(&self) -> Option<LogId> {
        self.0.as_ref().map(|held| held.log_id)
    }

    /// Whether the call may be sent upstream: to be asked right before. Not when the node's time has run out since
    /// the money was held, for another node may own it now.
    pub fn may_be_sent(&self) -> bool {
        let still_ours = |held: &Held| held.payer.epoch.validity.is_current(Instant::now());
        self.0.as_ref().is_some_and(still_ours)
    }

    /// A token that is cancelled when the node is fenced. What was neither recorded nor charged by then will not
    /// be: its answer must not be delivered.
    pub fn lost(&self) -> CancellationToken {
        let token = |held: &Held| held.payer.epoch.lost_token();
        self.0.as_ref().map_or_else(CancellationToken::new, token)
    }

    /// Raises the hold to a dearer estimate, before another target is tried.
    ///
    /// # Errors
    /// As [`Billing::hold`](super::Billing::hold); the hold stands as it was.
    pub async fn rehold(&mut self, mut estimate: Estimate) -> Result<(), FundError> {
        let Some(held) = self.0.as_mut() else {
            return Ok(());
        };
        // Whether there is a display ledger was decided when the call was authorised.
        estimate.display = held.estimate.display;
        let wanted = estimate.legs(held.lowered_to.unwrap_or(estimate.output_tokens));
        let wanted = wanted.map_err(|_| FundError::Uncertain { cause: None })?;
        if !held.extend_to(&wanted) {
            let billing_error = exhausted(&held.payer, &wanted, &held.payer.wallet.view(), None);
            return Err(billing_error);
        }
        held.estimate = estimate;
        Ok(())
    }

    /// Gives the call a row in the request log, which follows the charge.
    pub(crate) fn log(&mut self, log: Option<CallLog>) {
        if let Some(held) = self.0.as_mut() {
            held.log = log;
        }
    }

    /// Lets rate limits know what the call has used once it has ended.
    pub(crate) fn count(&mut self, reserved: Option<Reserved>) {
        if let Some(held) = self.0.as_mut() {
            held.reserved = reserved;
        }
    }

    /// Tells the log why the call fails, or the attempt, should it be the last one.
    pub(crate) fn log_failure(&mut self, error: &Error) {
        if let Some(log) = self.0.as_mut().and_then(|held| held.log.as_mut()) {
            log.failed(error);
        }
    }

    /// An attempt with a target begins; what an earlier attempt showed no longer counts.
    pub fn begin(&mut self, target: &Target) {
        if let Some(held) = self.0.as_mut() {
            held.meter.begin(target);
            if let Some(log) = held.log.as_mut() {
                log.begun();
            }
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
        let (ack, gate) = held.engine.gate(GateKind::Open, &held.payer.epoch);
        held.payer.epoch.enqueue(LaneOperation::Open {
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
        if held.is_cut() {
            return Funds::Suspended;
        }
        if !held.meter.observe(output) {
            return Funds::Enough;
        }
        held.checkpoint();
        held.extend()
    }

    /// Whether the stream has to end since its end user was suspended.
    pub(crate) fn is_cut(&self) -> bool {
        self.0.as_ref().is_some_and(Held::is_cut)
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

// === impl Held ===

impl Held {
    fn settle(mut self, ending: Ending) -> SettleGate {
        let bill = self.meter.bill(ending, &self.legs, self.engine.options());
        if let (Some(reserved), Some(bill)) = (&mut self.reserved, &bill) {
            reserved.used(bill.usage.input_total() + bill.usage.output_total());
        }
        let fate = self
            .log
            .take()
            .and_then(|log| log.ended(ending, self.meter.target(), bill.as_ref()));
        let Some(bill) = bill.filter(|bill| !bill.legs.is_zero()) else {
            self.release();
            return SettleGate::nothing();
        };
        let is_unreported = ending == Ending::Complete && bill.method == CountMethod::Estimated;
        if let Some(target) = self.meter.target().filter(|_| is_unreported) {
            crate::metrics::usage_was_missing(target.provider());
        }
        if bill.flags.contains(ChargeFlags::OVERRAN) {
            tracing::warn!(
                event = operator::OVERRUN,
                log_id = %self.log_id,
                "a call cost more than was held for it"
            );
            let over = bill.legs.wallet.checked_sub(self.legs.wallet);
            crate::metrics::overran(over.unwrap_or_default());
            self.engine
                .tell_operators(OperatorEvent::overrun(self.log_id));
        }
        let entry = self.entry(&bill);
        let cost_on_wallet = Amounts::usd(bill.legs.wallet);
        self.payer.wallet.settle(self.on_wallet, cost_on_wallet);
        let mut debits = vec![(self.payer.wallet.clone(), cost_on_wallet)];
        if let Some(budget) = &self.payer.budget {
            budget.settle(self.on_budget, bill.legs.budget);
            debits.push((budget.clone(), bill.legs.budget));
        }
        let ticket = Arc::new(Ticket::default());
        let (ack, gate) = self.engine.gate(GateKind::Settle, &self.payer.epoch);
        let note = fate.as_ref().map(Fate::delivery);
        let settlement = Settlement {
            entry,
            debits,
            opened: self.opened,
            ticket: ticket.clone(),
            fate,
            ack,
            permit: Some(self.permit.into_inner()),
            _in_doubt: None,
        };
        let operation = LaneOperation::Settle(Box::new(settlement));
        self.payer.epoch.enqueue(operation);
        SettleGate {
            gate,
            ticket,
            note,
            usage: bill.usage,
            method: bill.method,
            legs: bill.legs,
        }
    }

    fn release(mut self) {
        // Nothing is charged, so the fate has nothing to wait for.
        let log = self.log.take();
        drop(log.and_then(|log| log.ended(Ending::ClientGone, self.meter.target(), None)));
        self.payer.wallet.release(self.on_wallet);
        if let Some(budget) = &self.payer.budget {
            budget.release(self.on_budget);
        }
        if self.opened {
            let free = Box::new(self.charge(&Legs::ZERO));
            let close = LaneOperation::Close {
                free,
                permit: self.permit.into_inner(),
            };
            self.payer.epoch.enqueue(close);
        }
    }

    fn entry(&self, bill: &Bill) -> LedgerEntry {
        LedgerEntry {
            flags: bill.flags,
            metered: self.meter.target().map(|target| Metered {
                model_id: target.model_id,
                price_id: bill.price.id,
                input_tokens: bill.usage.input_total(),
                cached_tokens: bill.usage.cached_input,
                output_tokens: bill.usage.output_total(),
                markup: self.payer.markup,
            }),
            metadata: further_buckets(&bill.usage),
            ..self.charge(&bill.legs)
        }
    }

    /// A charge without its metering.
    fn charge(&self, legs: &Legs) -> LedgerEntry {
        LedgerEntry {
            uid: self.log_id,
            kind: EntryKind::Charge,
            source: EntrySource::Inference,
            platform_id: self.payer.platform_id,
            end_user_id: self.payer.end_user_id,
            wallet: Some((self.payer.wallet.account(), legs.wallet.negated())),
            budget: self.payer.budget.as_ref().map(|slice| BudgetLegs {
                account: slice.account(),
                remaining: legs.budget.negated(),
                limit: Amounts::ZERO,
            }),
            refers_to: None,
            flags: ChargeFlags::default(),
            posted_by: None,
            metered: None,
            idempotency_key: None,
            actor: None,
            reason: None,
            metadata: RawObject::new(),
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

    /// Whether the end user was suspended and the stream has to end for it.
    fn is_cut(&self) -> bool {
        let suspended = |slice: &Arc<Slice>| {
            let policy = slice.view().policy;
            policy.is_some_and(|policy| policy.blocked == Blocked::Suspended)
        };
        self.engine.options().suspend_inflight == SuspendInflight::Cut
            && self.payer.budget.as_ref().is_some_and(suspended)
    }

    fn checkpoint(&mut self) {
        if self.opened && self.checkpoint_at.elapsed() >= self.engine.options().checkpoint_interval
        {
            self.checkpoint_at = Instant::now();
            self.payer.epoch.enqueue(LaneOperation::Open {
                stream: Box::new(self.record()),
                ack: None,
            });
        }
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
