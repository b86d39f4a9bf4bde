//! What is paid, by whom, and from what.

use assistiv_core::error::Reason;

use crate::reference::{Answer, Group, OPERATOR, Op, PLATFORM, Verb};

pub(crate) const READ_WALLET: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/wallet",
    "read_wallet",
    "Reads the wallet with its newest entries",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "WalletWithRecent"));
pub(crate) const UPDATE_WALLET: Op = Op::new(
    Verb::Patch,
    "/v1/platforms/{platform_id}/wallet",
    "update_wallet",
    "Sets the threshold below which the platform is told",
)
.by(PLATFORM | OPERATOR, "management")
.body("WalletUpdate")
.gives(Answer::One(200, "Wallet"));
pub(crate) const TOP_UP_WALLET: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/wallet/topup",
    "top_up_wallet",
    "Adds to the balance; the server's `billing.topup_by` says who may",
)
.by(PLATFORM | OPERATOR, "management")
.body("WalletTopUp")
.gives(Answer::One(200, "WalletWithEntry"))
.idempotent();
pub(crate) const LIST_WALLET_TRANSACTIONS: Op = Op::new(Verb::Get, "/v1/platforms/{platform_id}/wallet/transactions", "list_wallet_transactions", "Lists the wallet's entries; also as CSV or NDJSON, by `Accept`")
        .by(PLATFORM | OPERATOR, "management")
        .query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n type? string\n end_user_id? uuid\n from? time\n to? time")
        .gives(Answer::Page("WalletEntry", true));

pub(super) const WALLETS: Group = Group {
    name: "Wallets",
    text: "Every call of a platform is paid from its wallet, at the provider's price to a billionth of a dollar. A call holds what it may cost before it is sent and is charged once. Amounts are JSON numbers with six to nine decimals and may be sent as strings. With an `Idempotency-Key` a repeat has no further effect.",
    operations: &[
        READ_WALLET,
        UPDATE_WALLET,
        TOP_UP_WALLET,
        LIST_WALLET_TRANSACTIONS,
    ],
    examples: [
        include_str!("../examples/wallets.sh"),
        include_str!("../examples/wallets.py"),
        include_str!("../examples/wallets.mjs"),
    ],
};

pub(crate) const CREATE_BUDGET: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget",
    "create_budget",
    "Gives an end user a budget",
)
.by(PLATFORM | OPERATOR, "management")
.body("BudgetCreate")
.gives(Answer::One(201, "Budget"))
.refuses(&[Reason::BUDGET_EXISTS, Reason::END_USER_NOT_FOUND]);
pub(crate) const READ_BUDGET: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget",
    "read_budget",
    "Reads the budget",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "Budget"))
.refuses(&[Reason::BUDGET_NOT_FOUND, Reason::END_USER_NOT_FOUND]);
pub(crate) const UPDATE_BUDGET: Op = Op::new(
    Verb::Patch,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget",
    "update_budget",
    "Changes limits, period or state of the budget",
)
.by(PLATFORM | OPERATOR, "management")
.body("BudgetUpdate")
.gives(Answer::One(200, "BudgetWithEntries"))
.refuses(&[Reason::BUDGET_NOT_FOUND, Reason::END_USER_NOT_FOUND])
.idempotent();
pub(crate) const DELETE_BUDGET: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget",
    "delete_budget",
    "Removes the budget",
)
.by(PLATFORM | OPERATOR, "management")
.refuses(&[Reason::BUDGET_NOT_FOUND, Reason::END_USER_NOT_FOUND]);
pub(crate) const TOP_UP_BUDGET: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget/topup",
    "top_up_budget",
    "Raises a limit of the budget",
)
.by(PLATFORM | OPERATOR, "management")
.body("BudgetAct")
.gives(Answer::One(200, "BudgetWithEntry"))
.refuses(&[
    Reason::BUDGET_NOT_FOUND,
    Reason::END_USER_NOT_FOUND,
    Reason::BUDGET_LIMIT_NOT_SET,
])
.idempotent();
pub(crate) const DEBIT_BUDGET: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget/debit",
    "debit_budget",
    "Debits the budget for something of the platform's own",
)
.by(PLATFORM | OPERATOR, "management")
.body("BudgetAct")
.gives(Answer::One(200, "BudgetWithEntry"))
.refuses(&[Reason::BUDGET_NOT_FOUND, Reason::END_USER_NOT_FOUND])
.idempotent();
pub(crate) const LIST_BUDGET_TRANSACTIONS: Op = Op::new(Verb::Get, "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget/transactions", "list_budget_transactions", "Lists the budget's entries; also as CSV or NDJSON, by `Accept`")
        .by(PLATFORM | OPERATOR, "management")
        .query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n type? string\n source? string\n ledger? usd|tokens|display\n idempotency_key? string\n from? time\n to? time")
        .gives(Answer::Page("BudgetTransaction", true))
        .refuses(&[Reason::BUDGET_NOT_FOUND, Reason::END_USER_NOT_FOUND]);
pub(crate) const REFUND_TRANSACTION: Op = Op::new(Verb::Post, "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget/transactions/{transaction_id}/refund", "refund_transaction", "Gives a debit back, all of it or part")
        .by(PLATFORM | OPERATOR, "management")
        .optional_body("BudgetRefund")
        .gives(Answer::One(200, "BudgetWithEntry"))
        .refuses(&[Reason::BUDGET_NOT_FOUND, Reason::END_USER_NOT_FOUND, Reason::TRANSACTION_NOT_FOUND, Reason::ALREADY_REFUNDED])
        .idempotent();

pub(super) const BUDGETS: Group = Group {
    name: "Budgets",
    text: "What one end user may spend, in USD, in tokens, or both, in a period. The platform's markup is on the USD side.",
    operations: &[
        CREATE_BUDGET,
        READ_BUDGET,
        UPDATE_BUDGET,
        DELETE_BUDGET,
        TOP_UP_BUDGET,
        DEBIT_BUDGET,
        LIST_BUDGET_TRANSACTIONS,
        REFUND_TRANSACTION,
    ],
    examples: [
        include_str!("../examples/budgets.sh"),
        include_str!("../examples/budgets.py"),
        include_str!("../examples/budgets.mjs"),
    ],
};

pub(crate) const READ_END_USER_WALLET: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/wallet",
    "read_end_user_wallet",
    "Reads the ledgers of an end user beside each other",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "EndUserWallet"))
.refuses(&[Reason::BUDGET_NOT_FOUND, Reason::END_USER_NOT_FOUND]);
pub(crate) const SET_END_USER_WALLET: Op = Op::new(
    Verb::Put,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/wallet",
    "set_end_user_wallet",
    "Sets the display ledger",
)
.by(PLATFORM | OPERATOR, "management")
.body("DisplaySet")
.gives(Answer::One(200, "EndUserWallet"))
.refuses(&[
    Reason::BUDGET_NOT_FOUND,
    Reason::END_USER_NOT_FOUND,
    Reason::DISPLAY_LEDGER_DISABLED,
])
.idempotent();
pub(crate) const TOP_UP_END_USER_WALLET: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/wallet/topup",
    "top_up_end_user_wallet",
    "Adds display units",
)
.by(PLATFORM | OPERATOR, "management")
.body("DisplayTopUp")
.gives(Answer::One(200, "EndUserWallet"))
.refuses(&[
    Reason::BUDGET_NOT_FOUND,
    Reason::END_USER_NOT_FOUND,
    Reason::DISPLAY_LEDGER_DISABLED,
])
.idempotent();
pub(crate) const ADJUST_END_USER_WALLET: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/wallet/adjust",
    "adjust_end_user_wallet",
    "Corrects the display ledger",
)
.by(PLATFORM | OPERATOR, "management")
.body("DisplayAdjust")
.gives(Answer::One(200, "EndUserWallet"))
.refuses(&[
    Reason::BUDGET_NOT_FOUND,
    Reason::END_USER_NOT_FOUND,
    Reason::DISPLAY_LEDGER_DISABLED,
])
.idempotent();
pub(crate) const DELETE_END_USER_WALLET: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/wallet",
    "delete_end_user_wallet",
    "Removes the display ledger",
)
.by(PLATFORM | OPERATOR, "management")
.refuses(&[Reason::BUDGET_NOT_FOUND, Reason::END_USER_NOT_FOUND])
.idempotent();

pub(super) const DISPLAY: Group = Group {
    name: "Display ledgers",
    text: "Units of a platform's own, such as credits, which its rules charge beside the budget.",
    operations: &[
        READ_END_USER_WALLET,
        SET_END_USER_WALLET,
        TOP_UP_END_USER_WALLET,
        ADJUST_END_USER_WALLET,
        DELETE_END_USER_WALLET,
    ],
    examples: [
        include_str!("../examples/display.sh"),
        include_str!("../examples/display.py"),
        include_str!("../examples/display.mjs"),
    ],
};
