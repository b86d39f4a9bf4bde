//! When a node asks for its accounts' thresholds to be checked.
//!
//! The account itself knows what remains; a node only guesses, from what it knew of the account at the last lease and
//! what it has spent since. So it asks once when its guess falls to a threshold, and each second while it spends.

use super::{Slice, SliceState};
use crate::billing::amounts::{Amounts, Dimension, Dimensions};

// === impl Slice ===

impl Slice {
    /// Whether what is known of the account has just come to a threshold.
    pub(crate) fn became_low(&self) -> bool {
        let mut state = self.lock();
        let (low, before) = (state.guess_low(), state.low);
        state.low = low;
        let became = low.without(before) != Dimensions::NONE;
        state.unchecked &= !became;
        became
    }

    /// Whether something was spent of an account with thresholds since this was last asked.
    pub(crate) fn wants_check(&self) -> bool {
        let mut state = self.lock();
        let watched = state
            .policy
            .is_some_and(|policy| !policy.thresholds.is_none());
        watched && std::mem::take(&mut state.unchecked)
    }
}

// === impl SliceState ===

impl SliceState {
    /// The thresholds that what is known of the account is at or below.
    fn guess_low(&self) -> Dimensions {
        let Some(policy) = self.policy else {
            return Dimensions::NONE;
        };
        let parts = [
            self.free,
            self.elsewhere,
            self.available,
            self.reserved,
            self.unflushed,
        ];
        let total = parts
            .into_iter()
            .try_fold(Amounts::ZERO, Amounts::checked_add);
        let Ok(total) = total else {
            return Dimensions::NONE;
        };
        let thresholds = [
            (Dimension::Usd, policy.thresholds.usd.map(|low| low.get())),
            (
                Dimension::Tokens,
                policy.thresholds.tokens.map(|low| low.get()),
            ),
        ];
        let is_low =
            |(d, low): &(Dimension, Option<i64>)| low.is_some_and(|low| total.get(*d) <= low);
        let low = thresholds.into_iter().filter(is_low);
        low.fold(Dimensions::NONE, |set, (d, _)| set.with(d))
    }
}
