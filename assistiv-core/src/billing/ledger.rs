//! Ledger entries: the append-only record of everything that changes a balance.

use serde::{Deserialize, Serialize};

use super::amounts::Amounts;
use super::statement::LedgerPart;
use crate::auth::Actor;
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, ModelId, NodeId, PlatformId, PriceId};
use crate::json::RawObject;
use crate::money::{Markup, NanoUsd};

/// What an entry records. The numbers are those that backends store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntryKind {
    /// A call's charge, or a manual debit's usage twin.
    Charge = 1,
    /// The signed correction of a charge.
    Correction = 2,
    /// Money given back.
    Refund = 3,
    /// Money put into a wallet.
    TopUp = 10,
    /// A wallet was adjusted by the operator, or by a re-rating.
    WalletAdjustment = 11,
    /// A budget was made.
    OpeningBalance = 20,
    /// A budget's limits were raised.
    BudgetTopUp = 21,
    /// A budget was debited by hand.
    Debit = 22,
    /// A limit or a setting was changed.
    Adjustment = 23,
    /// A budget was paused.
    Suspend = 24,
    /// A budget was resumed.
    Unsuspend = 27,
    /// A period began.
    PeriodReset = 25,
    /// The display ledger was set or switched off.
    Display = 26,
    /// The limit of the display ledger was raised.
    DisplayTopUp = 28,
    /// Display units were counted as used by hand.
    DisplayDebit = 29,
    /// Display units were given back by hand.
    DisplayGiveBack = 30,
}

/// Who caused an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntrySource {
    /// A person or program through the API.
    Manual = 1,
    /// A model call.
    Inference = 2,
    /// The gateway itself.
    System = 3,
}

/// Marks on a charge, as a bit set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChargeFlags(i16);

/// The budget legs of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLegs {
    /// The budget's account.
    pub account: AccountId,
    /// Signed change of what remains.
    pub remaining: Amounts,
    /// Signed change of the limits. The change of what is used is `limit − remaining`.
    pub limit: Amounts,
}

/// What is needed to recompute a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metered {
    /// The model.
    pub model_id: ModelId,
    /// The version of the price.
    pub price_id: PriceId,
    /// All input tokens, cached ones included.
    pub input_tokens: u64,
    /// Those read from a cache.
    pub cached_tokens: u64,
    /// All output tokens, reasoning included.
    pub output_tokens: u64,
    /// The markup on the budget's USD leg.
    pub markup: Markup,
}

/// One event of the ledger: one row, so that its legs cannot exist without each other.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerEntry {
    /// Its public id, and the guard against posting twice.
    pub uid: EntryId,
    /// What it records.
    pub kind: EntryKind,
    /// Who caused it.
    pub source: EntrySource,
    /// Whose it is.
    pub platform_id: PlatformId,
    /// The end user, where one is concerned.
    pub end_user_id: Option<EndUserId>,
    /// The wallet's account and the signed change of its balance.
    pub wallet: Option<(AccountId, NanoUsd)>,
    /// The budget's legs.
    pub budget: Option<BudgetLegs>,
    /// The entry that this one refers to; of a re-rating's, the re-rating.
    pub refers_to: Option<EntryId>,
    /// Marks on a charge.
    pub flags: ChargeFlags,
    /// The node and the number of the batch that posted it.
    pub posted_by: Option<(NodeId, i64)>,
    /// The metering of a charge.
    pub metered: Option<Metered>,
    /// The `Idempotency-Key` of the request that caused it.
    pub idempotency_key: Option<String>,
    /// Who performed the act that caused it; `None` for what calls and the gateway itself cause.
    pub actor: Option<Actor>,
    /// Why, for people.
    pub reason: Option<String>,
    /// Whatever the caller wants kept.
    pub metadata: RawObject,
    /// When it was posted.
    pub created_at: Timestamp,
}

/// An entry with the balances that it left behind: running sums over all entries in ledger order, exact within a
/// page.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryWithBalance {
    /// The entry.
    pub entry: LedgerEntry,
    /// The part of it that this row shows.
    pub part: LedgerPart,
    /// The balance, or what remains, right after it.
    pub remaining_after: Amounts,
    /// The limits right after it; zero for a wallet.
    pub limit_after: Amounts,
}

// === impl EntryKind ===

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Charge,
        Self::Correction,
        Self::Refund,
        Self::TopUp,
        Self::WalletAdjustment,
        Self::OpeningBalance,
        Self::BudgetTopUp,
        Self::Debit,
        Self::Adjustment,
        Self::Suspend,
        Self::Unsuspend,
        Self::PeriodReset,
        Self::Display,
        Self::DisplayTopUp,
        Self::DisplayDebit,
        Self::DisplayGiveBack,
    ];

    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i16 == number)
    }
}

impl EntryKind {
    /// What an entry is called where a wallet is shown.
    pub const fn wallet_type(self) -> &'static str {
        match self {
            Self::Charge => "llm_usage",
            Self::Refund => "refund",
            Self::TopUp => "top_up",
            _ => "adjustment",
        }
    }

    /// The kinds that concern the display ledger alone, also where they move nothing.
    pub const ON_DISPLAY: [Self; 4] = [
        Self::Display,
        Self::DisplayTopUp,
        Self::DisplayDebit,
        Self::DisplayGiveBack,
    ];

    /// What an entry is called where a budget is shown.
    pub const fn budget_type(self) -> &'static str {
        match self {
            Self::OpeningBalance => "opening_balance",
            Self::BudgetTopUp | Self::TopUp | Self::DisplayTopUp => "topup",
            Self::Debit | Self::Charge | Self::DisplayDebit => "debit",
            Self::Suspend => "suspend",
            Self::Unsuspend => "unsuspend",
            Self::PeriodReset => "period_reset",
            Self::Refund | Self::DisplayGiveBack => "refund",
            _ => "adjustment",
        }
    }
}

// === impl LedgerEntry ===

impl LedgerEntry {
    /// The entry that this one gives back or corrects, all of it or a part.
    pub fn reverses(&self) -> Option<EntryId> {
        self.refers_to
            .filter(|_| matches!(self.kind, EntryKind::Correction | EntryKind::Refund))
    }

    /// When the call of a charge began, to the millisecond: its id says so. Not after it was charged.
    pub fn began(&self) -> Timestamp {
        let of_id = self.uid.as_uuid().get_timestamp().and_then(|stamp| {
            let (seconds, nanos) = stamp.to_unix();
            let seconds = i64::try_from(seconds).ok()?;
            let micros = seconds.checked_mul(1_000_000)?;
            Some(Timestamp::from_micros(micros + i64::from(nanos / 1_000)))
        });
        of_id.map_or(self.created_at, |at| at.min(self.created_at))
    }
}

// === impl EntrySource ===

impl EntrySource {
    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Manual, Self::Inference, Self::System]
            .into_iter()
            .find(|source| *source as i16 == number)
    }

    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Inference => "inference",
            Self::System => "system",
        }
    }
}

// === impl ChargeFlags ===

impl ChargeFlags {
    /// Usage was estimated, not reported.
    pub const ESTIMATED: Self = Self(1);
    /// The answer was not delivered whole.
    pub const TRUNCATED: Self = Self(2);
    /// Charged by the sweep of a node that died.
    pub const CRASH: Self = Self(4);
    /// The call cost more than was held for it.
    pub const OVERRAN: Self = Self(8);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bit set that backends store.
    pub const fn bits(self) -> i16 {
        self.0
    }

    /// From the bit set that backends store.
    pub const fn from_bits(bits: i16) -> Self {
        Self(bits)
    }
}
