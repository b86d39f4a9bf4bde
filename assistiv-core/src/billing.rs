//! Money: accounts, ledger, holds, leases, settlement, and the layer that funds a call.
//!
//! The rules are in `docs/ledger.md`. In short: a node leases slices of accounts into its slots; a call is
//! authorised in memory against the slice ([`Hold`]); settlements are collected and written in numbered
//! batches that append ledger entries and debit the node's own slots; the last byte of an answer waits until
//! its settlement is durable.

mod account;
mod act;
mod amounts;
mod buckets;
mod commands;
mod control;
mod display;
mod engine;
mod estimate;
mod fund;
mod hold;
mod lease;
mod ledger;
mod meter;
mod options;
mod period;
mod price;
mod recovery;
mod rerate;
mod statement;
mod store;
mod unconfirmed;

pub use account::{
    AccountKind, AccountPolicy, Blocked, Budget, BudgetRecord, BudgetTerms, Limits, NewBudget,
    NewWallet, Wallet,
};
pub use act::{
    ActContext, ActOutcome, ActRefusal, Applied, BudgetChanges, BudgetState, CrossingSearch,
    Decision, Idempotency, LedgerAct, PostedEntry, Refund, RefundState, WalletState, Watch,
    decide_budget, decide_compensation, decide_refund, decide_reset, decide_wallet,
};
pub use amounts::{Amounts, Dimension, Dimensions, Legs, Overflow};
pub use commands::{
    AdjustDisplay, AdjustWallet, BudgetOf, CreateBudget, DebitBudget, EndUserLedgers, EntriesPage,
    Holder, HolderRef, ListEntries, ListUnconfirmed, OpenStatement, OwnBudget, OwnEntries,
    OwnEntriesPage, Performed, ReadBudget, ReadEndUserWallet, ReadStatement, ReadWallet,
    RefundDebit, RemoveBudget, RemoveDisplay, RequestKey, ResolveUnconfirmed, SetDisplay,
    TopUpBudget, TopUpBy, TopUpDisplay, TopUpWallet, UpdateBudget, UpdateWallet, WalletKeeper,
    WalletWithEntries, Wallets,
};
pub use control::{Control, ControlOp};
pub use display::{DisplayRates, DisplayReset, DisplayRule, DisplayTrigger, EndUserWallet};
pub use engine::{Billing, QueuePermit};
pub use estimate::Estimate;
pub use fund::{Fund, FundLayer};
pub(crate) use hold::Funds;
pub use hold::{Hold, OpenGate, Payer, SettleGate, Settled};
pub use lease::{LeaseGrant, LeaseRequest, grant};
pub use ledger::{
    BudgetLegs, ChargeFlags, EntryKind, EntrySource, EntryWithBalance, LedgerEntry, Metered,
};
pub(crate) use meter::Bill;
pub use meter::{CountMethod, Ending};
pub use options::{
    BeforeFirstByte, BillingOptions, DeliveryGate, GateTimeoutAction, LastRequest, MidstreamError,
    OnExhausted, OutagePolicy, SuspendInflight,
};
pub use period::{Bounds, Period, ZoneError, ZoneName};
pub use price::{LongContext, Price, Rate, Rates, Usage};
pub(crate) use recovery::NotSwept;
pub use rerate::{
    CallInterval, ChargeHistory, Compensation, HISTORIES_MAX, RerateOfPlatform, RerateReport,
    Rerating, SETTLED_AFTER, UsdLeg,
};
pub(crate) use rerate::{on_leg, sum as sum_of_owed};
pub use statement::{
    EntriesOf, EntryFilter, LedgerPart, Standing, Statement, StatementCursor, StatementPage,
};
pub use store::{
    AccountAudit, Lane, LanePosition, LateSettlement, LeaseBatch, LedgerStore, NodeAudit,
    OpenStream, PostedCharge, SettleBatch, Sweep, Swept, UnconfirmedDelivery,
};
pub use unconfirmed::{
    Resolution, Resolved, Unconfirmed, UnconfirmedFilter, UnconfirmedStatus, UnknownWord,
};

/// What the model of the conformance suite has in common with the engine.
#[cfg(any(test, feature = "testing"))]
pub(crate) mod testing {
    pub(crate) use super::engine::{PolicyVersion, Refusal, Share, Slice};
}

use serde_json::Value;

use crate::clock::Timestamp;
use crate::store::StoreError;

/// What is missing of a sum, for the caller's error.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortfall {
    /// The funds are only held by calls in flight: soon there may be some.
    pub transient: bool,
    /// Required and available, where the key may see them.
    pub shown: Option<(Value, Value)>,
}

/// Why a call cannot be funded. Nothing was sent upstream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FundError {
    /// The platform demands a budget and the end user has none.
    #[error("this end user needs an active budget; create one with POST …/budget")]
    BudgetRequired,
    /// The end user is paused.
    #[error("this end user is suspended; resume with PATCH …/budget {{\"is_suspended\": false}}")]
    BudgetSuspended,
    /// A limit is used up.
    #[error("the end user's budget ({}) is used up; top it up with POST …/budget/topup{}", dimension.as_str(), until(resets_at))]
    BudgetExhausted {
        /// Which limit.
        dimension: Dimension,
        /// What is missing.
        shortfall: Shortfall,
        /// When the next period begins.
        resets_at: Option<Timestamp>,
    },
    /// The wallet cannot pay.
    #[error("the platform wallet cannot pay for this request; top it up with POST …/wallet/topup")]
    WalletInsufficient {
        /// What is missing.
        shortfall: Shortfall,
    },
    /// It cannot be known whether funds are there: refused, never a pass.
    #[error("it cannot be confirmed that funds are available, try again in a moment")]
    Uncertain {
        /// Why, for the log.
        #[source]
        cause: Option<StoreError>,
    },
}

fn until(resets_at: &Option<Timestamp>) -> String {
    resets_at.map_or_else(String::new, |at| format!(" or wait for {at}"))
}
