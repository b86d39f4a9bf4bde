//! Names of what operators must hear of.
//!
//! They are told through `tracing`, as the field `event` of a warning or an error, and stay as they are: alerts are
//! made of them. The same is kept as an event of nobody's platform, for whoever passes events on.

use serde::Serialize;
use uuid::Uuid;

use super::{Event, EventType};
use crate::clock::Timestamp;
use crate::id::{LogId, NodeId, PlatformId};

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

/// Something that operators must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorEvent {
    cause: Uuid,
    event_type: EventType,
    node: Option<NodeId>,
    log_id: Option<LogId>,
    count: Option<u64>,
    details: Option<String>,
}

#[derive(Serialize)]
struct Data<'a> {
    node: Option<i64>,
    log_id: Option<LogId>,
    count: Option<u64>,
    details: Option<&'a str>,
}

// === impl OperatorEvent ===

impl OperatorEvent {
    /// A call cost more than was held for it.
    pub fn overrun(log_id: LogId) -> Self {
        Self {
            log_id: Some(log_id),
            ..Self::new(log_id.as_uuid(), EventType::BillingOverrun)
        }
    }

    /// Something befell a node: once for each node and type.
    pub fn of_node(event_type: EventType, node: NodeId, why: Option<&str>) -> Self {
        Self {
            node: Some(node),
            details: why.map(str::to_owned),
            ..Self::new(numbered("node", node.0), event_type)
        }
    }

    /// Charges of a dead node whose delivery cannot be proved.
    pub(crate) fn unconfirmed(node: NodeId, charges: u64) -> Self {
        Self {
            count: Some(charges),
            ..Self::of_node(EventType::BillingDeliveryUnconfirmed, node, None)
        }
    }

    /// A run of the reconciliation has found differences.
    pub(crate) fn differences(run: i64, mismatches: u64, details: Option<String>) -> Self {
        Self {
            count: Some(mismatches),
            details,
            ..Self::new(
                numbered("recon", run),
                EventType::BillingReconciliationFailed,
            )
        }
    }

    fn new(cause: Uuid, event_type: EventType) -> Self {
        Self {
            cause,
            event_type,
            node: None,
            log_id: None,
            count: None,
            details: None,
        }
    }

    /// The event as it is kept.
    pub fn at(&self, now: Timestamp) -> Event {
        let data = Data {
            node: self.node.map(|node| node.0),
            log_id: self.log_id,
            count: self.count,
            details: self.details.as_deref(),
        };
        let nobody = PlatformId::from_uuid(Uuid::nil());
        Event::new(self.cause, self.event_type, nobody, now, &data)
    }
}

/// Names what has a number only.
fn numbered(what: &str, number: i64) -> Uuid {
    let name = format!("{what}/{number}");
    Uuid::new_v5(&Uuid::nil(), name.as_bytes())
}
