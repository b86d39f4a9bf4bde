//! What a slice computes with amounts.

use crate::billing::amounts::{Amounts, Dimension, Dimensions, Overflow};

pub(super) fn enforced(dimensions: Dimensions) -> impl Iterator<Item = Dimension> {
    (Dimension::ALL.into_iter()).filter(move |dimension| dimensions.contains(*dimension))
}

pub(super) fn masked(amounts: Amounts, dimensions: Dimensions) -> Amounts {
    let kept = |d: Dimension| {
        if dimensions.contains(d) {
            amounts.get(d)
        } else {
            0
        }
    };
    Amounts::from_fn(kept)
}

/// A moving average that follows a change within a few steps.
pub(super) fn mean(old: Amounts, new: Amounts) -> Amounts {
    Amounts::from_fn(|d| {
        let sum = i128::from(old.get(d)) * 7 + i128::from(new.get(d)) * 3;
        i64::try_from(sum / 10).unwrap_or(i64::MAX)
    })
}

/// Sums of one account stay within what the ledger can hold, which acts and grants keep in range; a sum that
/// does not is left as it was rather than wrapped, and the reconciliation shows the difference.
pub(super) fn plus(a: Amounts, b: Amounts) -> Amounts {
    kept(a, a.checked_add(b))
}

pub(super) fn minus(a: Amounts, b: Amounts) -> Amounts {
    kept(a, a.checked_sub(b))
}

fn kept(before: Amounts, after: Result<Amounts, Overflow>) -> Amounts {
    debug_assert!(after.is_ok(), "a slice left the range of an amount");
    after.unwrap_or(before)
}
