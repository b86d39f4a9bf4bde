//! Extension of a stream's hold as the stream grows.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::payer::Side;
use super::{Funds, Held};
use crate::billing::amounts::{Amounts, Dimension, Dimensions, Legs};

/// Output tokens by which the hold of a stream grows at least.
const EXTENSION_OUTPUT_MIN: u64 = 256;
/// The smallest extension, near the end of the funds.
const EXTENSION_OUTPUT_LEAST: u64 = 16;

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
        let add = |a: Amounts, b: Amounts| a.checked_add(b).unwrap_or(a);
        self.on_wallet = add(self.on_wallet, on_wallet);
        self.on_budget = add(self.on_budget, on_budget);
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
