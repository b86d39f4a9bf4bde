//! Names of what operators must hear of.
//!
//! They are told through `tracing`, as the field `event` of a warning or an error, and stay as they are: alerts are
//! made of them.

/// A call cost more than was held for it.
pub const OVERRUN: &str = "billing.overrun";
/// This node was fenced: it authorises nothing any more under its old number.
pub const NODE_FENCED: &str = "billing.node_fenced";
/// A node died, and whether answers that it charged were delivered cannot be proved.
pub const DELIVERY_UNCONFIRMED: &str = "billing.delivery_unconfirmed";
/// The database lost what it had acknowledged.
pub const HISTORY_LOST: &str = "billing.history_lost";
/// The books are in a state that no rule leads to.
pub const INVARIANT_VIOLATED: &str = "billing.invariant_violated";
/// The sums of an account do not agree with its entries.
pub const RECONCILIATION_FAILED: &str = "billing.reconciliation_failed";
