//! What happened to a platform's money and users, kept for whoever wants to be told.
//!
//! An event is written in the transaction of its cause: there is none without its ledger entry, and no entry
//! without its event. This room says what events are and how they are read again; [`crate::webhooks`] delivers them.
//! Whoever does must expect to see an event twice and receivers to drop the second one: its id is
//! `<transaction id>:<type>`, so the same cause always gives the same id.
//!
//! What operators must hear of is told through `tracing`, under the names in [`operator`], and kept as events that
//! belong to no platform.

mod ledger;
pub mod operator;
mod tenancy;
mod webhooks;

pub use ledger::Owner;
pub(crate) use ledger::about_entry;
pub use operator::OperatorEvent;
pub(crate) use tenancy::about_end_user;
pub(crate) use webhooks::about_webhook;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::auth::SweeperScope;
use crate::clock::Timestamp;
use crate::id::PlatformId;
use crate::json::RawJson;
use crate::store::StoreError;

/// The version of the payloads' form, in every payload.
pub const PAYLOAD_VERSION: &str = "2026-04-11";

/// How long an event is kept, delivered or not.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The time of the oldest event that is kept at `now`.
pub(crate) fn oldest_kept(now: Timestamp) -> Timestamp {
    let kept = i64::try_from(KEPT_FOR.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(kept))
}

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventType {
    /// A budget's limits were raised.
    BudgetToppedUp,
    /// A debit left a budget at or below a threshold.
    BudgetLowBalance,
    /// An end user was paused.
    BudgetSuspended,
    /// An end user was resumed.
    BudgetUnsuspended,
    /// A budget was debited, by hand or by a call.
    BudgetDebited,
    /// A debit left the wallet at or below its threshold.
    WalletLowBalance,
    /// Money was put into the wallet.
    WalletToppedUp,
    /// An end user was made.
    EndUserCreated,
    /// An end user was removed.
    EndUserDeleted,
    /// An end user connected an app.
    McpConnected,
    /// An end user's connection to an app was removed.
    McpDisconnected,
    /// A connection's grant was refused.
    McpConnectionNeedsReauth,
    /// A connection works again.
    McpConnectionRecovered,
    /// Somebody tries a webhook out: told to that one alone.
    Ping,
    /// A call cost more than was held for it. For operators.
    BillingOverrun,
    /// A node was fenced. For operators.
    BillingNodeFenced,
    /// A node died, and whether answers that it charged were delivered cannot be proved. For operators.
    BillingDeliveryUnconfirmed,
    /// The database lost what it had acknowledged. For operators.
    BillingHistoryLost,
    /// The books are in a state that no rule leads to. For operators.
    BillingInvariantViolated,
    /// Sums of the books do not agree. For operators.
    BillingReconciliationFailed,
}

/// The text is not the name of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the name of an event")]
pub struct EventTypeError;

/// Names an event: `<transaction id>:<type>`. Of an event that moves no money, the id of its object stands in place
/// of a transaction's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    cause: Uuid,
    event_type: EventType,
}

/// Something that happened on a platform.
///
/// Serialized it is the payload that receivers get.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its id; the same however often it is told.
    pub id: EventId,
    /// The platform.
    pub platform_id: PlatformId,
    /// When it happened.
    pub created_at: Timestamp,
    /// The payload's own member `data`: an object.
    pub data: RawJson,
}

/// How far a reader has come: events are read in the order of their times, and of one time in that of the text of
/// their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor {
    /// The time of the last event that was read.
    pub created_at: Timestamp,
    /// Its id.
    pub id: EventId,
}

/// Events as they were written with their causes.
///
/// Nothing here writes one: the acts that cause events do, in their own transactions. Time is the backend's own.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Events of all platforms after the cursor, oldest first, at most `most`.
    ///
    /// Where several processes write, an event may become visible after one with a later time: a reader must go back
    /// by as much as a transaction can last, and drop the ids that it has seen.
    async fn events(
        &self,
        scope: &SweeperScope,
        after: Option<EventCursor>,
        most: u32,
    ) -> Result<Vec<Event>, StoreError>;

    /// Keeps what operators must hear of, where nothing else is written with it. Twice the same is kept once.
    async fn tell_operators(
        &self,
        scope: &SweeperScope,
        event: &OperatorEvent,
    ) -> Result<(), StoreError>;

    /// Removes events that are older than [`KEPT_FOR`]; says how many.
    async fn prune_events(&self, scope: &SweeperScope) -> Result<u64, StoreError>;
}

// === impl EventType ===

impl EventType {
    /// Every type.
    pub const ALL: [Self; 20] = [
        Self::BudgetToppedUp,
        Self::BudgetLowBalance,
        Self::BudgetSuspended,
        Self::BudgetUnsuspended,
        Self::BudgetDebited,
        Self::WalletLowBalance,
        Self::WalletToppedUp,
        Self::EndUserCreated,
        Self::EndUserDeleted,
        Self::McpConnected,
        Self::McpDisconnected,
        Self::McpConnectionNeedsReauth,
        Self::McpConnectionRecovered,
        Self::Ping,
        Self::BillingOverrun,
        Self::BillingNodeFenced,
        Self::BillingDeliveryUnconfirmed,
        Self::BillingHistoryLost,
        Self::BillingInvariantViolated,
        Self::BillingReconciliationFailed,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BudgetToppedUp => "budget.topped_up",
            Self::BudgetLowBalance => "budget.low_balance",
            Self::BudgetSuspended => "budget.suspended",
            Self::BudgetUnsuspended => "budget.unsuspended",
            Self::BudgetDebited => "budget.debited",
            Self::WalletLowBalance => "wallet.low_balance",
            Self::WalletToppedUp => "wallet.topped_up",
            Self::EndUserCreated => "end_user.created",
            Self::EndUserDeleted => "end_user.deleted",
            Self::McpConnected => "mcp.connected",
            Self::McpDisconnected => "mcp.disconnected",
            Self::McpConnectionNeedsReauth => "mcp.connection.needs_reauth",
            Self::McpConnectionRecovered => "mcp.connection.recovered",
            Self::Ping => "ping",
            Self::BillingOverrun => operator::OVERRUN,
            Self::BillingNodeFenced => operator::NODE_FENCED,
            Self::BillingDeliveryUnconfirmed => operator::DELIVERY_UNCONFIRMED,
            Self::BillingHistoryLost => operator::HISTORY_LOST,
            Self::BillingInvariantViolated => operator::INVARIANT_VIOLATED,
            Self::BillingReconciliationFailed => operator::RECONCILIATION_FAILED,
        }
    }

    /// Whether it is for operators alone: it belongs to no platform, and its platform is nobody's.
    pub const fn is_for_operators(self) -> bool {
        matches!(
            self,
            Self::BillingOverrun
                | Self::BillingNodeFenced
                | Self::BillingDeliveryUnconfirmed
                | Self::BillingHistoryLost
                | Self::BillingInvariantViolated
                | Self::BillingReconciliationFailed
        )
    }

    /// Whether webhooks can ask for it. Debits are not told of one by one yet, so nobody waits for them in vain.
    pub const fn is_for_platforms(self) -> bool {
        !self.is_for_operators() && !matches!(self, Self::Ping | Self::BudgetDebited)
    }

    /// Whether a receiver that names no types gets it.
    pub const fn is_on_by_default(self) -> bool {
        matches!(
            self,
            Self::BudgetToppedUp
                | Self::BudgetLowBalance
                | Self::BudgetSuspended
                | Self::BudgetUnsuspended
        )
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = EventTypeError;

    fn from_str(text: &str) -> Result<Self, EventTypeError> {
        let named = |event_type: &Self| event_type.as_str() == text;
        Self::ALL.into_iter().find(named).ok_or(EventTypeError)
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

// === impl EventId ===

impl EventId {
    /// The event of this type that `cause` gave: a transaction, or the object that it is about.
    pub const fn new(cause: Uuid, event_type: EventType) -> Self {
        Self { cause, event_type }
    }

    /// The transaction, or the object that the event is about.
    pub const fn cause(self) -> Uuid {
        self.cause
    }

    /// What the event tells.
    pub const fn event_type(self) -> EventType {
        self.event_type
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.cause, self.event_type)
    }
}

impl FromStr for EventId {
    type Err = EventTypeError;

    fn from_str(text: &str) -> Result<Self, EventTypeError> {
        let (cause, event_type) = text.split_once(':').ok_or(EventTypeError)?;
        let cause = Uuid::try_parse(cause).map_err(|_| EventTypeError)?;
        Ok(Self::new(cause, event_type.parse()?))
    }
}

// === impl Event ===

impl Event {
    /// What it tells.
    pub const fn event_type(&self) -> EventType {
        self.id.event_type
    }

    /// The place in the order in which events are read.
    pub const fn cursor(&self) -> EventCursor {
        EventCursor {
            created_at: self.created_at,
            id: self.id,
        }
    }

    /// What receivers get: the event as JSON.
    pub(crate) fn payload(&self) -> Result<String, StoreError> {
        let text = serde_json::to_string(self);
        text.map_err(|_| StoreError::Corrupt("an event that cannot be written as JSON".to_owned()))
    }

    /// An event about `data`.
    fn new(
        cause: Uuid,
        event_type: EventType,
        platform_id: PlatformId,
        created_at: Timestamp,
        data: &impl Serialize,
    ) -> Self {
        Self {
            id: EventId::new(cause, event_type),
            platform_id,
            created_at,
            data: RawJson::of(data),
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Payload<'a> {
            event_type: EventType,
            event_id: String,
            api_version: &'a str,
            created_at: Timestamp,
            data: &'a RawJson,
        }
        let payload = Payload {
            event_type: self.event_type(),
            event_id: self.id.to_string(),
            api_version: PAYLOAD_VERSION,
            created_at: self.created_at,
            data: &self.data,
        };
        payload.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::EntryId;

    #[test]
    fn names_and_ids_are_read_back() {
        for event_type in EventType::ALL {
            assert_eq!(event_type.as_str().parse(), Ok(event_type));
            let id = EventId::new(EntryId::new().as_uuid(), event_type);
            assert_eq!(id.to_string().parse(), Ok(id));
            // What the table's key has room for.
            assert!(id.to_string().len() <= 80, "{id}");
        }
        for text in ["", ":", "budget.low_balance", "x:budget.low_balance"] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
    }
}
