//! Extension of a stream's hold as the stream grows.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::payer::Side;
use super::{Funds, Held};
use crate::billing::amounts::{Amounts, Dimension, Dimensions, Legs};
use crate::billing::options::OnExhausted;

/// Output tokens by which the hold of a stream grows at least.
const EXTENSION_OUTPUT_MIN: u64 = 256;
/// The smallest extension, near the end of the funds.
const EXTENSION_OUTPUT_LEAST: u64 = 16;
/// How often the accounts are asked for a stream that may run on without funds.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A question for more money that nobody waits for.
pub(super) struct Asking {
    pub(super) answers: Vec<oneshot::Receiver<()>>,
    since: Instant,
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
    /// Keeps a stream's hold ahead of what it has cost.
    pub(super) fn extend(&mut self) -> Funds {
        // The provider stops by itself at a limit; only the unlimited outgrow their hold. One whose node was fenced
        // has no slices any more: it goes on to its end, and is settled late.
        let is_limited = self.lowered_to.is_some() || self.estimate.is_bounded;
        if is_limited || self.payer.epoch.is_lost() {
            return Funds::Enough;
        }
        let accrued = self.meter.accrued();
        if below_three_quarters(&accrued, &self.legs) || self.extend_beyond(&accrued) {
            return Funds::Enough;
        }
        // Memory is short. The stream goes on while the accounts are asked, and ends only when their answer did
        // not help.
        let patience = self.engine.options().gate_timeout;
        let runs_on = self.engine.options().on_exhausted == OnExhausted::Finish;
        let now = Instant::now();
        let Some(asking) = &mut self.asking else {
            if self.ask_again_at.is_none_or(|at| at <= now) {
                self.asking = Some(self.ask());
            }
            return Funds::Enough;
        };
        if !asking.is_pending(patience) {
            self.asking = None;
            self.ask_again_at = runs_on.then(|| now + ASK_AGAIN_AFTER);
            return if runs_on {
                Funds::Enough
            } else {
                self.used_up(&accrued)
            };
        }
        if runs_on {
            return Funds::Enough;
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
        let epoch = &self.payer.epoch;
        let mut answers = vec![epoch.ask(&self.payer.wallet, on_wallet)];
        if let Some(budget) = &self.payer.budget {
            let needs =
                Amounts::from_fn(|d| missing(wanted.budget.get(d), self.legs.budget.get(d)));
            answers.push(epoch.ask(budget, needs));
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
            enforced.contains(*d) && accrued.budget.get(*d) > self.on_budget.amounts.get(*d)
        };
        let dimension = Dimension::ALL.into_iter().find(over);
        if dimension.is_none() && accrued.wallet <= self.on_wallet.amounts.usd {
            return Funds::Enough;
        }
        match self.short {
            Some(Side::Wallet) => Funds::Exhausted { of_budget: None },
            Some(Side::Budget(Some(short))) => Funds::Exhausted {
                of_budget: Some(short),
            },
            // Paused, or switched off: whatever it limits is not to be had.
            Some(Side::Budget(None)) => {
                let limited = Dimension::ALL.into_iter().find(|d| enforced.contains(*d));
                Funds::Exhausted {
                    of_budget: dimension.or(limited),
                }
            }
            None => Funds::Exhausted {
                of_budget: dimension,
            },
        }
    }

    /// Raises what is held to `wanted`, from memory; all or nothing.
    pub(super) fn extend_to(&mut self, wanted: &Legs) -> bool {
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
        self.on_wallet.grow(on_wallet.amounts);
        self.on_budget.grow(on_budget.amounts);
        self.legs = self.legs.max(*wanted);
        true
    }
}

fn below_three_quarters(accrued: &Legs, held: &Legs) -> bool {
    let below = |a: i64, h: i64| h == 0 || i128::from(a) * 4 < i128::from(h) * 3;
    below(accrued.wallet.get(), held.wallet.get())
        && Dimension::ALL
            .into_iter()
            .all(|d| below(accrued.budget.get(d), held.budget.get(d)))
}
