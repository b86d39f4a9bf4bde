//! What tests look at.

use super::{Slice, plus};
use crate::billing::amounts::Amounts;

impl Slice {
    /// The sum that must equal the durable slot when no lane operation is in flight.
    #[cfg(test)]
    pub(crate) fn sum(&self) -> Amounts {
        let state = self.lock();
        plus(plus(state.available, state.reserved), state.unflushed)
    }

    /// What is at hand or held by calls: never more than the slot.
    pub(crate) fn spendable(&self) -> Amounts {
        let state = self.lock();
        plus(state.available, state.reserved)
    }

    /// What is at hand, and what calls hold or owe.
    pub(crate) fn parts(&self) -> (Amounts, Amounts) {
        let state = self.lock();
        (state.available, plus(state.reserved, state.unflushed))
    }
}
