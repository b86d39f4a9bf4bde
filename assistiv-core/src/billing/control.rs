//! Messages between nodes about accounts.

use super::act::Decision;
use super::amounts::{Amounts, Dimension, Dimensions};
use super::ledger::{EntryKind, LedgerEntry};
use crate::id::AccountId;

/// A message between nodes about one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its number; later messages have greater ones.
    pub seq: i64,
    /// The account.
    pub account: AccountId,
    /// What it says.
    pub op: ControlOp,
}

/// What a message between nodes says. The numbers are those that backends store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlOp {
    /// Another node needs the account: return everything that is at hand.
    Recall = 1,
    /// The account's policy or status changed, or funds were added: return everything and read the policy anew.
    Policy = 2,
}

// === impl ControlOp ===

impl ControlOp {
    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Recall, Self::Policy]
            .into_iter()
            .find(|op| *op as i16 == number)
    }
}

// === impl Decision ===

impl Decision {
    /// What other nodes must be told of a decided act on an account that enforces `enforce` afterwards and has
    /// `free` left unleased; `policy_changed` says that a node would act differently on the account's row.
    ///
    /// Of a period reset nothing: every node knows when it falls due.
    pub fn announces(
        &self,
        policy_changed: bool,
        enforce: Dimensions,
        free: Amounts,
    ) -> Option<ControlOp> {
        let is_reset = |entry: &LedgerEntry| entry.kind == EntryKind::PeriodReset;
        if self.entries.iter().any(is_reset) {
            return None;
        }
        let any = |test: &dyn Fn(Dimension) -> bool| Dimension::ALL.into_iter().any(test);
        let adds_funds = any(&|d| self.free_change.get(d) > 0);
        let moves_limit = self.entries.iter().any(|entry| {
            entry
                .budget
                .is_some_and(|legs| any(&|d| legs.limit.get(d) != 0))
        });
        if policy_changed || adds_funds || moves_limit {
            return Some(ControlOp::Policy);
        }
        // What was taken is not there any more: nodes hold it.
        any(&|d| self.free_change.get(d) < 0 && enforce.contains(d) && free.get(d) < 0)
            .then_some(ControlOp::Recall)
    }
}
