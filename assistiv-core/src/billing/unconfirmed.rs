//! Charges whose delivery cannot be proved, and what the operator decides about them.

use std::str::FromStr;

use super::act::ActRefusal;
use super::amounts::Amounts;
use super::ledger::{EntrySource, LedgerEntry};
use crate::auth::Actor;
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, PlatformId};
use crate::money::NanoUsd;

/// A charge of a node that died, whose answer may not have reached the caller. It stands until the operator
/// decides otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Unconfirmed {
    /// The charge.
    pub charge: EntryId,
    /// Its platform.
    pub platform_id: PlatformId,
    /// Its end user.
    pub end_user_id: Option<EndUserId>,
    /// What caused it.
    pub source: EntrySource,
    /// What the wallet was charged; a magnitude.
    pub wallet: Option<NanoUsd>,
    /// What the budget was charged; magnitudes.
    pub budget: Option<Amounts>,
    /// When it was charged.
    pub charged_at: Timestamp,
    /// The name of the node.
    pub node: String,
    /// When a sweep listed it.
    pub found_at: Timestamp,
    /// Where it stands.
    pub status: UnconfirmedStatus,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// Who resolved it.
    pub actor: Option<Actor>,
    /// Why, for people.
    pub reason: Option<String>,
}

/// Where an unconfirmed delivery stands. The numbers are those that backends store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnconfirmedStatus {
    /// Nobody has decided yet; the charge stands.
    #[default]
    Open = 0,
    /// The charge stands for good.
    Stands = 1,
    /// It was given back.
    Refunded = 2,
}

/// The operator's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// The charge stands.
    Stands,
    /// What is left of it is given back.
    Refund,
}

/// Which deliveries to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnconfirmedFilter {
    /// Where they stand.
    pub status: UnconfirmedStatus,
    /// Whose.
    pub platform_id: Option<PlatformId>,
    /// Charged at this time or later.
    pub from: Option<Timestamp>,
    /// Charged before this time.
    pub to: Option<Timestamp>,
}

/// The result of [`crate::billing::LedgerStore::resolve_unconfirmed`].
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The item afterwards.
    pub item: Unconfirmed,
    /// The accounts that a refund moved.
    pub accounts: Vec<AccountId>,
    /// Whether an earlier request with the same key did it.
    pub replayed: bool,
}

/// A word that is not among those asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {0}")]
pub struct UnknownWord(pub &'static str);

// === impl Unconfirmed ===

impl Unconfirmed {
    /// The item of a charge, as a sweep lists it.
    pub fn of(charge: &LedgerEntry, node: String, found_at: Timestamp) -> Self {
        Self {
            charge: charge.uid,
            platform_id: charge.platform_id,
            end_user_id: charge.end_user_id,
            source: charge.source,
            wallet: charge.wallet.map(|(_, usd)| usd.negated()),
            budget: charge.budget.map(|legs| legs.remaining.negated()),
            charged_at: charge.created_at,
            node,
            found_at,
            status: UnconfirmedStatus::Open,
            resolved_at: None,
            actor: None,
            reason: None,
        }
    }

    /// What is to be done for a resolution.
    ///
    /// # Errors
    /// [`ActRefusal::AlreadyResolved`] when it was resolved in the other way.
    pub fn next(&self, resolution: Resolution) -> Result<Option<UnconfirmedStatus>, ActRefusal> {
        let wanted = resolution.status();
        match self.status {
            UnconfirmedStatus::Open => Ok(Some(wanted)),
            status if status == wanted => Ok(None),
            _ => Err(ActRefusal::AlreadyResolved),
        }
    }
}

// === impl UnconfirmedStatus ===

impl UnconfirmedStatus {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stands => "stands",
            Self::Refunded => "refunded",
        }
    }

    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Open, Self::Stands, Self::Refunded]
            .into_iter()
            .find(|status| *status as i16 == number)
    }
}

impl FromStr for UnconfirmedStatus {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        [Self::Open, Self::Stands, Self::Refunded]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownWord("`open`, `stands` and `refunded`"))
    }
}

// === impl Resolution ===

impl Resolution {
    /// Where an item stands after it.
    pub const fn status(self) -> UnconfirmedStatus {
        match self {
            Self::Stands => UnconfirmedStatus::Stands,
            Self::Refund => UnconfirmedStatus::Refunded,
        }
    }
}

impl FromStr for Resolution {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "stands" => Ok(Self::Stands),
            "refund" => Ok(Self::Refund),
            _ => Err(UnknownWord("`stands` and `refund`")),
        }
    }
}
