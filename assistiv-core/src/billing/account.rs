//! Wallets and budgets, and the accounts they are counted in.

use serde::{Deserialize, Serialize};

use super::amounts::{Amounts, Dimension, Dimensions};
use super::period::{Period, ZoneName};
use crate::clock::Timestamp;
use crate::events::Owner;
use crate::id::{AccountId, BudgetId, EndUserId, EntryId, PlatformId, WalletId};
use crate::money::{DisplayUnits, NanoUsd, Tokens};

/// A platform's balance in USD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wallet {
    /// Its id.
    pub id: WalletId,
    /// Its platform.
    pub platform_id: PlatformId,
    /// The sum of all its ledger entries; leases and holds do not reduce it.
    #[serde(with = "crate::money::stored")]
    pub balance: NanoUsd,
    /// At or below this the wallet counts as low.
    pub low_balance_threshold: Option<NanoUsd>,
    /// Whether it may pay.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A wallet to be made together with its platform.
#[derive(Clone, Debug)]
pub struct NewWallet {
    /// Its id.
    pub id: WalletId,
    /// The first top-up, with the id of its entry; nothing is posted for zero.
    pub opening: (EntryId, NanoUsd),
}

/// The limits of a budget. What is `None` is counted and not enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The USD limit.
    pub usd: Option<NanoUsd>,
    /// The token limit.
    pub tokens: Option<Tokens>,
}

/// What a budget is set to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetTerms {
    /// The limits.
    pub limits: Limits,
    /// How long they last.
    pub period: Period,
    /// Where the period's boundaries lie.
    pub timezone: ZoneName,
    /// Whether the limits are set anew at each boundary.
    pub auto_replenish: bool,
    /// What they are then set to.
    pub replenish: Limits,
    /// At or below these remainders the budget counts as low.
    pub low_balance: Limits,
}

/// An end user's budget, as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetRecord {
    /// Its id.
    pub id: BudgetId,
    /// Its platform.
    pub platform_id: PlatformId,
    /// Its end user.
    pub end_user_id: EndUserId,
    /// The account it is counted in.
    pub account: AccountId,
    /// What it is set to.
    pub terms: BudgetTerms,
    /// The limit of the display ledger; `None` when that is off.
    pub max_display: Option<DisplayUnits>,
    /// When the current period began.
    pub period_start: Timestamp,
    /// When the next period begins.
    pub period_end: Option<Timestamp>,
    /// Whether it is in force.
    pub is_active: bool,
    /// Whether the end user is paused.
    pub is_suspended: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// An end user's budget with what is used of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Its id.
    pub id: BudgetId,
    /// Its platform.
    pub platform_id: PlatformId,
    /// Its end user.
    pub end_user_id: EndUserId,
    /// What it is set to.
    pub terms: BudgetTerms,
    /// USD used in this period, markup included.
    #[serde(with = "crate::money::stored")]
    pub used_usd: NanoUsd,
    /// Tokens used in this period.
    #[serde(with = "crate::money::stored")]
    pub used_tokens: Tokens,
    /// The limit of the display ledger; `None` when that is off.
    #[serde(default)]
    pub max_display: Option<DisplayUnits>,
    /// Display units used.
    #[serde(default, with = "crate::money::stored")]
    pub used_display: DisplayUnits,
    /// When the current period began.
    pub period_start: Timestamp,
    /// When the next period begins.
    pub period_end: Option<Timestamp>,
    /// Whether it is in force.
    pub is_active: bool,
    /// Whether the end user is paused.
    pub is_suspended: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A budget to be made.
#[derive(Clone, Debug)]
pub struct NewBudget {
    /// Its id.
    pub id: BudgetId,
    /// The id of its `opening_balance` entry.
    pub opening: EntryId,
    /// What it is set to.
    pub terms: BudgetTerms,
    /// The limit of the display ledger; `None` leaves that off.
    pub max_display: Option<DisplayUnits>,
}

/// What an account belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountKind {
    /// A wallet.
    Wallet = 1,
    /// A budget.
    Budget = 2,
}

/// Whether money may be taken from an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocked {
    /// It may.
    #[default]
    No = 0,
    /// The budget is paused.
    Suspended = 1,
    /// Wallet or budget is switched off.
    Inactive = 2,
}

/// What a node must know of an account beside its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountPolicy {
    /// Wallet or budget.
    pub kind: AccountKind,
    /// The dimensions that are enforced; others are counted.
    pub enforce: Dimensions,
    /// Whether money may be taken from it.
    pub blocked: Blocked,
    /// When a period reset falls due.
    pub period_end: Option<Timestamp>,
    /// At or below these remainders a low balance is told. Where one is set, a node asks for a check whenever its own
    /// view is at or below it ([`LeaseRequest::check`](super::LeaseRequest)).
    pub thresholds: Limits,
}

// === impl Limits ===

impl Limits {
    /// The limits as amounts; a limit that is not set counts as zero.
    pub fn amounts(&self) -> Amounts {
        Amounts {
            usd: self.usd.unwrap_or_default(),
            tokens: self.tokens.unwrap_or_default(),
            display: DisplayUnits::ZERO,
        }
    }

    /// Whether none is set.
    pub fn is_none(&self) -> bool {
        self.usd.is_none() && self.tokens.is_none()
    }

    /// The dimensions that have a limit.
    pub fn enforced(&self) -> Dimensions {
        let mut set = Dimensions::NONE;
        if self.usd.is_some() {
            set = set.with(Dimension::Usd);
        }
        if self.tokens.is_some() {
            set = set.with(Dimension::Tokens);
        }
        set
    }
}

// === impl BudgetRecord ===

impl BudgetRecord {
    /// A budget made at `now`.
    pub fn new(
        new: &NewBudget,
        platform_id: PlatformId,
        end_user_id: EndUserId,
        account: AccountId,
        now: Timestamp,
    ) -> Self {
        let bounds = new.terms.period.bounds(now, &new.terms.timezone);
        Self {
            id: new.id,
            platform_id,
            end_user_id,
            account,
            terms: new.terms.clone(),
            max_display: new.max_display,
            period_start: bounds.start,
            period_end: bounds.end,
            is_active: true,
            is_suspended: false,
            created_at: now,
            updated_at: now,
        }
    }

    /// The budget as callers see it, given what remains on its account.
    pub fn with_remaining(&self, remaining: Amounts) -> Budget {
        let limits = self.limits();
        let used = |d| limits.get(d).saturating_sub(remaining.get(d));
        Budget {
            id: self.id,
            platform_id: self.platform_id,
            end_user_id: self.end_user_id,
            terms: self.terms.clone(),
            used_usd: NanoUsd::new(used(Dimension::Usd)),
            used_tokens: Tokens::new(used(Dimension::Tokens)),
            max_display: self.max_display,
            used_display: DisplayUnits::new(used(Dimension::Display)),
            period_start: self.period_start,
            period_end: self.period_end,
            is_active: self.is_active,
            is_suspended: self.is_suspended,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// All limits as amounts, that of the display ledger included; one that is not set counts as zero.
    pub fn limits(&self) -> Amounts {
        Amounts {
            display: self.max_display.unwrap_or_default(),
            ..self.terms.limits.amounts()
        }
    }

    /// The dimensions that have a limit, display included.
    pub fn enforced(&self) -> Dimensions {
        let limits = self.terms.limits.enforced();
        match self.max_display {
            Some(_) => limits.with(Dimension::Display),
            None => limits,
        }
    }

    /// The thresholds that can be crossed: those of limits that are set.
    pub fn thresholds(&self) -> Limits {
        let (limits, low) = (&self.terms.limits, &self.terms.low_balance);
        Limits {
            usd: low.usd.filter(|_| limits.usd.is_some()),
            tokens: low.tokens.filter(|_| limits.tokens.is_some()),
        }
    }

    /// Whom the budget's account belongs to.
    pub fn owner(&self) -> Owner {
        Owner::Budget(self.id, self.enforced())
    }

    /// Whether money may be taken.
    pub fn blocked(&self) -> Blocked {
        match (self.is_active, self.is_suspended) {
            (false, _) => Blocked::Inactive,
            (true, true) => Blocked::Suspended,
            (true, false) => Blocked::No,
        }
    }
}

// === impl Budget ===

impl Budget {
    /// Exactly limit minus used; may be negative; `None` without a limit.
    pub fn remaining_usd(&self) -> Option<NanoUsd> {
        self.terms.limits.usd?.checked_sub(self.used_usd)
    }

    /// Exactly limit minus used; may be negative; `None` without a limit.
    pub fn remaining_tokens(&self) -> Option<Tokens> {
        self.terms.limits.tokens?.checked_sub(self.used_tokens)
    }

    /// Exactly limit minus used; may be negative; `None` while the display ledger is off.
    pub fn remaining_display(&self) -> Option<DisplayUnits> {
        self.max_display?.checked_sub(self.used_display)
    }
}

// === impl AccountKind ===

impl AccountKind {
    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Wallet, Self::Budget]
            .into_iter()
            .find(|kind| *kind as i16 == number)
    }
}

// === impl Blocked ===

impl Blocked {
    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::No, Self::Suspended, Self::Inactive]
            .into_iter()
            .find(|blocked| *blocked as i16 == number)
    }
}
