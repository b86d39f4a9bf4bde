//! Re-rating: what charges should have cost by other prices, and what is given back for it.
//!
//! What is given back for a charge on an account is kept charge by charge, beside the one entry that moves the sum:
//! so the same prices find nothing to do a second time, and a refund gives back no more than is left.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::account::AccountKind;
use super::amounts::{Amounts, Legs, Overflow};
use super::ledger::{EntryKind, LedgerEntry};
use super::price::Usage;
use crate::auth::Actor;
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, ModelId, PlatformId, PriceId};
use crate::money::{Markup, NanoUsd};

/// How long a time must be over before its calls count as settled, when no stream of it is open.
pub const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// Charges that are read together.
pub const HISTORIES_MAX: u32 = 500;

/// Calls that began in a time, the end excluded. Times count to the millisecond, as the ids of calls have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallInterval {
    /// The first instant.
    pub from: Timestamp,
    /// The instant after the last.
    pub to: Timestamp,
    /// Whose calls; everybody's unless set.
    pub platform_id: Option<PlatformId>,
}

/// A re-rating, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rerating {
    /// Its id: of the request, where that is repeatable.
    pub id: EntryId,
    /// Which calls.
    pub interval: CallInterval,
    /// Of which provider alone.
    pub provider: Option<String>,
    /// Of which of its models alone.
    pub provider_model_id: Option<String>,
    /// Why, for people.
    pub reason: Option<String>,
    /// The `Idempotency-Key`, and SHA-256 of the canonical body.
    pub request: Option<(String, [u8; 32])>,
}

/// A charge, and what was done about it since.
#[derive(Clone, Debug, PartialEq)]
pub struct ChargeHistory {
    /// The charge.
    pub charge: LedgerEntry,
    /// The model and the version of the price, also where nobody counted.
    pub priced: Option<(ModelId, PriceId)>,
    /// The corrections and refunds that refer to it.
    pub linked: Vec<LedgerEntry>,
    /// What re-ratings have given back: on the wallet, and in USD on the budget.
    pub compensated: Legs,
}

/// A leg that is charged in USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsdLeg {
    /// What the provider costs.
    Wallet,
    /// What the end user is charged.
    Budget,
}

/// What charges should have cost one account.
#[derive(Clone, Debug, PartialEq)]
pub struct Compensation {
    /// The re-rating.
    pub rerate: EntryId,
    /// The account.
    pub account: AccountId,
    /// Wallet or budget.
    pub kind: AccountKind,
    /// Whose.
    pub platform_id: PlatformId,
    /// Whose budget.
    pub end_user_id: Option<EndUserId>,
    /// Charges, with what each should have cost on this account.
    pub costs: Vec<(EntryId, NanoUsd)>,
    /// Why, for people.
    pub reason: Option<String>,
    /// The `Idempotency-Key` of the request.
    pub idempotency_key: Option<String>,
    /// Who asked for it.
    pub actor: Option<Actor>,
    /// Nothing is to be written.
    pub is_dry_run: bool,
}

/// What a re-rating did, or would do. A positive amount is given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RerateReport {
    /// The re-rating.
    pub id: EntryId,
    /// Whether nothing was written.
    pub is_dry_run: bool,
    /// The first instant.
    pub from: Timestamp,
    /// The instant after the last.
    pub to: Timestamp,
    /// Charges that were looked at.
    pub log_rows: u64,
    /// Those that come to something else.
    pub changed_rows: u64,
    /// What wallets get back.
    #[serde(with = "crate::money::stored")]
    pub wallet_delta: NanoUsd,
    /// What budgets get back.
    #[serde(with = "crate::money::stored")]
    pub budget_delta: NanoUsd,
    /// The same for each platform of which something changed.
    pub platforms: Vec<RerateOfPlatform>,
}

/// What a re-rating did on one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RerateOfPlatform {
    /// The platform.
    pub platform_id: PlatformId,
    /// Charges that come to something else.
    pub changed_rows: u64,
    /// What the wallet gets back.
    #[serde(with = "crate::money::stored")]
    pub wallet_delta: NanoUsd,
    /// What the budgets of its end users get back.
    #[serde(with = "crate::money::stored")]
    pub budget_delta: NanoUsd,
}

// === impl CallInterval ===

impl CallInterval {
    /// The least ids of calls that begin at either end.
    pub fn ids(&self) -> (Uuid, Uuid) {
        (least_id(self.from), least_id(self.to))
    }

    /// Whether a call with this id began in it.
    pub fn contains(&self, call: Uuid) -> bool {
        let (from, to) = self.ids();
        (from..to).contains(&call)
    }
}

/// Ids of calls begin with 48 bits of milliseconds.
fn least_id(at: Timestamp) -> Uuid {
    let millis = u128::from(at.as_micros().max(0).unsigned_abs() / 1_000);
    Uuid::from_u128(millis << 80)
}

// === impl ChargeHistory ===

impl ChargeHistory {
    /// What was counted, by which price and with which markup. `None` where nobody counted: a stream that was swept,
    /// and of which nothing more was heard.
    pub fn metered(&self) -> Option<(Usage, PriceId, Markup)> {
        let corrections = self.linked.iter().rev();
        let corrected = corrections.filter(|entry| entry.kind == EntryKind::Correction);
        let counted = corrected
            .chain([&self.charge])
            .find(|entry| entry.metered.is_some())?;
        let metered = counted.metered.as_ref()?;
        Some((counted.usage()?, metered.price_id, metered.markup))
    }
}

// === impl Compensation ===

impl Compensation {
    /// The id of the one entry.
    pub fn uid(&self) -> EntryId {
        let account = self.account.0.to_be_bytes();
        EntryId::from_uuid(Uuid::new_v5(&self.rerate.as_uuid(), &account))
    }

    /// The leg that the account is charged on.
    pub fn leg(&self) -> UsdLeg {
        match self.kind {
            AccountKind::Wallet => UsdLeg::Wallet,
            AccountKind::Budget => UsdLeg::Budget,
        }
    }
}

// === impl RerateReport ===

impl RerateReport {
    /// Of a re-rating that has found nothing yet.
    pub(crate) fn new(rerating: &Rerating, is_dry_run: bool) -> Self {
        Self {
            id: rerating.id,
            is_dry_run,
            from: rerating.interval.from,
            to: rerating.interval.to,
            log_rows: 0,
            changed_rows: 0,
            wallet_delta: NanoUsd::ZERO,
            budget_delta: NanoUsd::ZERO,
            platforms: Vec::new(),
        }
    }
}

/// A leg of what re-ratings have given back for a charge.
pub(crate) fn on_leg(leg: UsdLeg, usd: NanoUsd) -> Legs {
    match leg {
        UsdLeg::Wallet => Legs {
            wallet: usd,
            budget: Amounts::ZERO,
        },
        UsdLeg::Budget => Legs {
            wallet: NanoUsd::ZERO,
            budget: Amounts::usd(usd),
        },
    }
}

/// A sum of what is given back.
pub(crate) fn sum(amounts: impl IntoIterator<Item = NanoUsd>) -> Result<NanoUsd, Overflow> {
    let mut amounts = amounts.into_iter();
    amounts
        .try_fold(NanoUsd::ZERO, |sum, amount| sum.checked_add(amount))
        .ok_or(Overflow)
}
