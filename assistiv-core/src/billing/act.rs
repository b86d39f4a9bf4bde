//! Administrative acts on wallets and budgets, decided without I/O.
//!
//! A backend locks the rows, hands their state to [`decide_wallet`] or [`decide_budget`], and writes what comes out in the same
//! transaction. So every backend applies one set of rules.

mod decide;

pub use self::decide::{
    CrossingSearch, Watch, decide_budget, decide_compensation, decide_refund, decide_reset,
    decide_wallet,
};

use serde::{Deserialize, Serialize};

use super::account::{Blocked, Budget, BudgetRecord, Limits, NewBudget, Wallet};
use super::amounts::{Amounts, Dimension, Dimensions, Legs};
use super::ledger::{EntryKind, LedgerEntry};
use super::period::{Period, ZoneName};
use crate::auth::Actor;
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId};
use crate::json::RawObject;
use crate::money::{DisplayUnits, NanoUsd, Tokens};

/// An act on a platform's wallet or on an end user's budget.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LedgerAct {
    /// Puts money into the wallet.
    TopUpWallet {
        /// How much; above zero.
        amount: NanoUsd,
    },
    /// Corrects the wallet's balance, by the operator's hand.
    AdjustWallet {
        /// By how much; not zero.
        amount: NanoUsd,
    },
    /// Sets or clears the wallet's threshold.
    SetWalletThreshold {
        /// At or below this the wallet counts as low.
        threshold: Option<NanoUsd>,
    },
    /// Makes a budget, or makes an inactive one active again with new terms.
    CreateBudget {
        /// Whose.
        end_user: EndUserId,
        /// What.
        budget: NewBudget,
    },
    /// Changes a budget.
    UpdateBudget {
        /// Whose.
        end_user: EndUserId,
        /// What; a field that is `None` stays.
        changes: Box<BudgetChanges>,
    },
    /// Puts a budget out of force.
    RemoveBudget {
        /// Whose.
        end_user: EndUserId,
    },
    /// Raises a budget's limits.
    TopUpBudget {
        /// Whose.
        end_user: EndUserId,
        /// By how much.
        amounts: Limits,
    },
    /// Counts something as used.
    DebitBudget {
        /// Whose.
        end_user: EndUserId,
        /// How much.
        amounts: Limits,
    },
    /// Gives back a debit or a charge of a budget, whole or in part.
    RefundDebit {
        /// Whose.
        end_user: EndUserId,
        /// The debit or charge.
        debit: EntryId,
        /// How much of it.
        refund: Refund,
    },
    /// Switches the display ledger on, or sets its limit.
    SetDisplay {
        /// Whose.
        end_user: EndUserId,
        /// The limit.
        max: DisplayUnits,
        /// What counts as used; `None` leaves it, and is nothing where the ledger was off.
        used: Option<DisplayUnits>,
    },
    /// Raises the limit of the display ledger.
    TopUpDisplay {
        /// Whose.
        end_user: EndUserId,
        /// By how much; above zero.
        amount: DisplayUnits,
    },
    /// Counts display units as used, or gives them back.
    AdjustDisplay {
        /// Whose.
        end_user: EndUserId,
        /// What is used more; below zero it is given back, down to nothing used.
        amount: DisplayUnits,
    },
    /// Switches the display ledger off. Nothing is used of it then.
    RemoveDisplay {
        /// Whose.
        end_user: EndUserId,
    },
}

/// How much of a charge is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refund {
    /// Whatever no refund has given back yet, on every leg.
    Rest,
    /// What the holder of the budget asks for.
    Of {
        /// These amounts; `None` for all that is left.
        amounts: Option<Limits>,
        /// Whether the wallet gets back its share of what the call cost.
        to_wallet: bool,
    },
}

/// Changes of a budget. The outer `None` leaves a field; the inner one clears it.
#[derive(Clone, Debug, Default)]
pub struct BudgetChanges {
    /// Pauses or resumes the end user.
    pub is_suspended: Option<bool>,
    /// Puts the budget in or out of force.
    pub is_active: Option<bool>,
    /// The USD limit.
    pub max_usd: Option<Option<NanoUsd>>,
    /// The token limit.
    pub max_tokens: Option<Option<Tokens>>,
    /// How long limits last.
    pub period: Option<Period>,
    /// Where boundaries lie.
    pub timezone: Option<ZoneName>,
    /// Whether limits are set anew.
    pub auto_replenish: Option<bool>,
    /// What the USD limit is then set to.
    pub replenish_usd: Option<Option<NanoUsd>>,
    /// What the token limit is then set to.
    pub replenish_tokens: Option<Option<Tokens>>,
    /// The USD threshold.
    pub threshold_usd: Option<Option<NanoUsd>>,
    /// The token threshold.
    pub threshold_tokens: Option<Option<Tokens>>,
}

/// What goes with an act onto its ledger entry.
#[derive(Clone, Debug)]
pub struct ActContext {
    /// The id of the first entry; further ones are derived from it.
    pub uid: EntryId,
    /// The `Idempotency-Key`, when one was given.
    pub idempotency_key: Option<String>,
    /// Who performs it; `None` where the gateway does so by itself.
    pub actor: Option<Actor>,
    /// Why, for people.
    pub reason: Option<String>,
    /// Whatever the caller wants kept.
    pub metadata: RawObject,
}

/// A repeatable request: which one it is, and what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 of platform, end user, operation and key.
    pub scope_hash: [u8; 32],
    /// SHA-256 of the canonical body.
    pub request_hash: [u8; 32],
}

/// What an act did, as it is stored for repeats of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActOutcome {
    /// The wallet afterwards, of an act on the wallet.
    pub wallet: Option<Wallet>,
    /// The budget afterwards, of an act on a budget.
    pub budget: Option<Budget>,
    /// The entries written, with the balances they left.
    pub entries: Vec<PostedEntry>,
}

/// An entry that an act wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostedEntry {
    /// Its id.
    pub id: EntryId,
    /// What it records.
    pub kind: EntryKind,
    /// Signed change of the wallet's balance, or of what remains of the budget.
    #[serde(with = "crate::money::stored")]
    pub amount_usd: NanoUsd,
    /// Signed change of the remaining tokens.
    #[serde(with = "crate::money::stored")]
    pub amount_tokens: Tokens,
    /// Signed change of the USD limit.
    #[serde(with = "crate::money::stored")]
    pub limit_usd: NanoUsd,
    /// Signed change of the token limit.
    #[serde(with = "crate::money::stored")]
    pub limit_tokens: Tokens,
    /// The wallet's balance, or what remains in USD, right after it.
    #[serde(with = "crate::money::stored")]
    pub remaining_usd_after: NanoUsd,
    /// What remains in tokens right after it.
    #[serde(with = "crate::money::stored")]
    pub remaining_tokens_after: Tokens,
    /// Signed change of the remaining display units.
    #[serde(default, with = "crate::money::stored")]
    pub amount_display: DisplayUnits,
    /// Signed change of the limit of the display ledger.
    #[serde(default, with = "crate::money::stored")]
    pub limit_display: DisplayUnits,
    /// What remains in display units right after it.
    #[serde(default, with = "crate::money::stored")]
    pub remaining_display_after: DisplayUnits,
    /// Why, for people.
    pub reason: Option<String>,
    /// Whatever the caller wants kept.
    pub metadata: RawObject,
    /// The `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The entry that this one refers to.
    #[serde(default)]
    pub refers_to: Option<EntryId>,
    /// When.
    pub created_at: Timestamp,
}

/// The result of [`crate::billing::LedgerStore::apply`].
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What the act did.
    pub outcome: ActOutcome,
    /// Whether this is the stored outcome of an earlier request with the same key.
    pub replayed: bool,
    /// The account whose policy or balance changed.
    pub account: Option<AccountId>,
    /// The wallet's account, when an act on a budget moved the wallet, too.
    pub wallet_account: Option<AccountId>,
    /// The message that tells other nodes, for who waits until they have acted on it
    /// ([`crate::billing::LedgerStore::is_acked`]). `None` when there is nothing to tell, and of a repeat.
    pub control: Option<i64>,
}

/// Why an act is refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActRefusal {
    /// There is no active budget.
    #[error("the end user has no active budget")]
    BudgetNotFound,
    /// There is an active budget already.
    #[error("the end user has an active budget; change it with PATCH")]
    BudgetExists,
    /// A top-up of a limit that is not set.
    #[error("the budget has no {} limit to top up; set one with PATCH", .0.as_str())]
    LimitNotSet(Dimension),
    /// No limit would remain.
    #[error("at least one of `max_usd` and `max_tokens` must remain")]
    NoLimit,
    /// A replenish value is missing.
    #[error("`auto_replenish` needs a recurring period and a replenish value for each limit")]
    Replenish,
    /// The display ledger is off.
    #[error("the end user has no display ledger; switch it on with PUT …/wallet")]
    DisplayDisabled,
    /// An amount would leave its range.
    #[error("the amount would exceed the largest possible balance")]
    OutOfRange,
    /// The key was used with another body.
    #[error("this Idempotency-Key was used with another body")]
    KeyReused,
    /// The balance would fall below zero.
    #[error("the wallet holds less than that; its balance must not fall below 0")]
    InsufficientBalance,
    /// The balance suffices, but nodes have leased too much of it.
    #[error("calls in flight hold a part of the wallet; try again when they have ended")]
    FundsLeased(AccountId),
    /// There is no such debit or charge.
    #[error("there is no such transaction")]
    TransactionNotFound,
    /// No more than the debit can be given back.
    #[error("that would give back more than is left of this transaction after earlier refunds")]
    AlreadyRefunded,
    /// An unconfirmed delivery was resolved in the other way.
    #[error("this delivery was resolved already, in the other way")]
    AlreadyResolved,
    /// Calls of the interval may still be charged.
    #[error("calls of this time are still being settled; try again when they are over")]
    SettlementPending,
}

/// What a backend must write for a decided act, in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The wallet's row, when it changes (its balance lives in the account).
    pub wallet_threshold: Option<Option<NanoUsd>>,
    /// The budget's row, when it changes.
    pub budget: Option<BudgetRecord>,
    /// To be added to the account's free part.
    pub free_change: Amounts,
    /// To be added to the free part of the wallet's account as well, of an act on a budget.
    pub wallet_change: Option<(AccountId, NanoUsd)>,
    /// The account's policy afterwards, when it changes.
    pub policy: Option<(Dimensions, Blocked)>,
    /// The entries, in order.
    pub entries: Vec<LedgerEntry>,
}

/// The locked state that an act on a wallet is decided on.
#[derive(Clone, Copy, Debug, Default)]
pub struct WalletState {
    /// What the account holds: free part and slots.
    pub balance: NanoUsd,
    /// The free part.
    pub free: NanoUsd,
}

/// The locked state that a refund is decided on.
#[derive(Clone, Copy, Debug)]
pub struct RefundState<'a> {
    /// The debit or charge.
    pub debit: &'a LedgerEntry,
    /// The corrections and refunds that refer to it.
    pub linked: &'a [LedgerEntry],
    /// What re-ratings have given back for it.
    pub compensated: Legs,
    /// The budget with what remains on its account; `None` when the charge has no budget, or it is gone.
    pub budget: Option<(&'a BudgetRecord, Amounts)>,
}

/// The locked state that an act on a budget is decided on.
#[derive(Clone, Debug)]
pub struct BudgetState<'a> {
    /// The row; `None` when the end user never had a budget.
    pub record: Option<&'a BudgetRecord>,
    /// What remains on its account: free part and slots.
    pub remaining: Amounts,
}

impl ActRefusal {
    /// The stable reason for callers.
    pub const fn reason(self) -> crate::error::Reason {
        use crate::error::Reason;
        match self {
            Self::BudgetNotFound => Reason::BUDGET_NOT_FOUND,
            Self::BudgetExists => Reason::BUDGET_EXISTS,
            Self::LimitNotSet(_) => Reason::BUDGET_LIMIT_NOT_SET,
            Self::DisplayDisabled => Reason::DISPLAY_LEDGER_DISABLED,
            Self::NoLimit | Self::Replenish | Self::OutOfRange => Reason::VALIDATION_FAILED,
            Self::KeyReused => Reason::IDEMPOTENCY_KEY_REUSED,
            Self::InsufficientBalance | Self::FundsLeased(_) => Reason::INSUFFICIENT_BALANCE,
            Self::TransactionNotFound => Reason::TRANSACTION_NOT_FOUND,
            Self::AlreadyRefunded => Reason::ALREADY_REFUNDED,
            Self::AlreadyResolved => Reason::ALREADY_RESOLVED,
            Self::SettlementPending => Reason::SETTLEMENT_PENDING,
        }
    }
}

impl LedgerAct {
    /// What it does, as the audit log names it.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::CreateBudget { .. } => "create",
            Self::SetWalletThreshold { .. } | Self::UpdateBudget { .. } => "update",
            Self::RemoveBudget { .. } => "delete",
            Self::TopUpWallet { .. } | Self::TopUpBudget { .. } => "topup",
            Self::AdjustWallet { .. } => "adjust",
            Self::DebitBudget { .. } => "debit",
            Self::RefundDebit { .. } => "refund",
            Self::SetDisplay { .. } => "set_display",
            Self::TopUpDisplay { .. } => "topup_display",
            Self::AdjustDisplay { .. } => "adjust_display",
            Self::RemoveDisplay { .. } => "delete_display",
        }
    }

    /// Whether it moves money or tokens and changes no terms.
    pub(crate) fn moves(&self) -> bool {
        matches!(
            self,
            Self::TopUpWallet { .. }
                | Self::AdjustWallet { .. }
                | Self::DebitBudget { .. }
                | Self::RefundDebit { .. }
        )
    }

    /// The end user whose budget it is about.
    pub fn end_user(&self) -> Option<EndUserId> {
        match self {
            Self::TopUpWallet { .. }
            | Self::AdjustWallet { .. }
            | Self::SetWalletThreshold { .. } => None,
            Self::CreateBudget { end_user, .. }
            | Self::UpdateBudget { end_user, .. }
            | Self::RemoveBudget { end_user }
            | Self::TopUpBudget { end_user, .. }
            | Self::DebitBudget { end_user, .. }
            | Self::RefundDebit { end_user, .. }
            | Self::SetDisplay { end_user, .. }
            | Self::TopUpDisplay { end_user, .. }
            | Self::AdjustDisplay { end_user, .. }
            | Self::RemoveDisplay { end_user } => Some(*end_user),
        }
    }
}
