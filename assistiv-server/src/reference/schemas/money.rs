//! Wallets and budgets.

use super::{Schema, schema};

pub(super) const ALL: &[Schema] = &[
    schema(
        "Wallet",
        "What a platform's calls are paid from.",
        "
        id uuid
        platform_id uuid
        balance usd = 99.987
        currency string = usd
        low_balance_threshold usd?
        is_active flag
        created_at time
        updated_at time",
    ),
    schema(
        "WalletWithRecent",
        "",
        "
        ...Wallet
        recent_transactions [WalletEntry]",
    ),
    schema(
        "WalletWithEntry",
        "",
        "
        ...Wallet
        transaction WalletEntry",
    ),
    schema(
        "WalletUpdate",
        "",
        "
        low_balance_threshold amount? = 5",
    ),
    schema(
        "WalletTopUp",
        "",
        "
        amount amount = 25.00 -- above 0
        description? string?",
    ),
    schema(
        "WalletAdjust",
        "",
        "
        amount amount = -5.00 -- signed
        reason string = goodwill",
    ),
    schema(
        "WalletEntry",
        "A movement of the wallet.",
        "
        id uuid
        type string = llm_usage
        amount usd -- a magnitude, but for `adjustment`, which is signed
        balance_after usd
        description string?
        created_at time
        log_id uuid?
        end_user_id uuid?
        reversed_transaction_id uuid?
        metadata object",
    ),
    schema(
        "Budget",
        "What an end user may spend, in USD and tokens.",
        "
        id uuid
        platform_id uuid
        end_user_id uuid
        max_usd usd? = 20
        used_usd usd = 1.25
        remaining_usd usd? = 18.75
        max_tokens count?
        used_tokens count
        remaining_tokens int?
        period one_time|daily|weekly|monthly
        timezone string = Europe/Berlin
        period_start time
        period_end time?
        auto_replenish flag
        replenish_amount usd?
        replenish_tokens count?
        low_balance_threshold usd?
        low_balance_threshold_tokens count?
        is_active flag
        is_suspended flag = false
        created_at time
        updated_at time",
    ),
    schema(
        "BudgetWithEntry",
        "",
        "
        ...Budget
        transaction BudgetEntry",
    ),
    schema(
        "BudgetWithEntries",
        "",
        "
        ...Budget
        transactions [BudgetEntry]",
    ),
    schema(
        "BudgetCreate",
        "At least one limit is required.",
        "
        max_usd? amount? = 20
        max_tokens? count?
        period? one_time|daily|weekly|monthly? = monthly
        timezone? string?
        auto_replenish? flag?
        replenish_amount? amount?
        replenish_tokens? count?
        low_balance_threshold? amount?
        low_balance_threshold_tokens? count?",
    ),
    schema(
        "BudgetUpdate",
        "What is absent stays.",
        "
        is_suspended? flag = true
        is_active? flag
        max_usd? amount?
        max_tokens? count?
        period? one_time|daily|weekly|monthly
        timezone? string
        auto_replenish? flag
        replenish_amount? amount?
        replenish_tokens? count?
        low_balance_threshold? amount?
        low_balance_threshold_tokens? count?
        reason? string?",
    ),
    schema(
        "BudgetAct",
        "`amount_usd` (or `amount`) or `amount_tokens` is required.",
        "
        amount_usd? amount? = 5
        amount? amount?
        amount_tokens? count?
        reason? string?
        metadata? object?",
    ),
    schema(
        "BudgetRefund",
        "Without amounts, all that is left of the debit.",
        "
        amount_usd? amount? = 5
        amount_tokens? count?
        reason? string?
        refund_wallet? flag?",
    ),
    schema(
        "BudgetEntry",
        "A movement of a budget.",
        "
        id uuid
        type string = topup
        ledger string = usd
        source string = api
        amount_usd usd
        max_usd_after usd?
        used_usd_after usd
        remaining_usd_after usd?
        amount_tokens int
        max_tokens_after count?
        used_tokens_after count
        remaining_tokens_after int?
        reason string?
        metadata object
        idempotency_key string?
        reversed_transaction_id? uuid?
        created_at time",
    ),
    schema(
        "BudgetTransaction",
        "A row of a budget's history.",
        "
        id uuid
        platform_id uuid
        end_user_id uuid?
        budget_id uuid?
        type string = debit
        source string = inference
        ledger string = usd
        amount_usd usd
        max_usd_after usd?
        used_usd_after usd
        remaining_usd_after usd?
        amount_tokens int
        max_tokens_after count?
        used_tokens_after count
        remaining_tokens_after int?
        amount_display display?
        max_display_after display?
        used_display_after display?
        reason string?
        metadata object
        idempotency_key string?
        log_id uuid?
        reversed_transaction_id uuid?
        created_at time",
    ),
    schema(
        "OwnBudget",
        "An end user's own budget, as its platform shows it: in USD, tokens or display units.",
        "
        id uuid
        platform_id uuid
        end_user_id uuid
        max_usd? usd? = 20
        used_usd? usd = 1.25
        remaining_usd? usd? = 18.75
        max_tokens? count?
        used_tokens? count
        remaining_tokens? int?
        unit? string?
        max? display?
        used? display?
        remaining? display?
        period one_time|daily|weekly|monthly
        period_start time
        period_end time?
        auto_replenish? flag
        is_active flag
        is_suspended flag = false
        is_exhausted? flag",
    ),
    schema(
        "OwnTransaction",
        "A row of an end user's own history; which figures it has follows from the view.",
        "
        id uuid
        platform_id uuid
        end_user_id uuid?
        budget_id uuid?
        type string = debit
        source string = inference
        ledger string = usd
        amount_usd? usd
        max_usd_after? usd?
        used_usd_after? usd
        remaining_usd_after? usd?
        amount_tokens? int
        max_tokens_after? count?
        used_tokens_after? count
        remaining_tokens_after? int?
        amount_display? display?
        max_display_after? display?
        used_display_after? display?
        reason string?
        metadata? object
        idempotency_key? string?
        log_id uuid?
        reversed_transaction_id uuid?
        created_at time",
    ),
    schema(
        "EndUserWallet",
        "The ledgers of an end user beside each other.",
        "
        end_user_id uuid
        budget_id uuid
        usd_ledger UsdLedger
        token_ledger TokenLedger?
        display_ledger DisplayLedger?",
    ),
    schema(
        "UsdLedger",
        "",
        "
        max_usd usd?
        used_usd usd
        remaining_usd usd?
        is_active flag
        is_suspended flag",
    ),
    schema(
        "TokenLedger",
        "",
        "
        max_tokens count
        used_tokens count
        remaining_tokens int?",
    ),
    schema(
        "DisplayLedger",
        "Units of the platform's own.",
        "
        unit string = credits
        max display
        used display
        remaining display?
        active_rules [DisplayRule]",
    ),
    schema(
        "DisplayRule",
        "",
        "
        trigger inference_call|tool_call|usd_spent|tokens
        amount display
        model? string
        tool? string
        app? string",
    ),
    schema(
        "DisplaySet",
        "",
        "
        max amount = 100
        used? amount?
        reason? string?",
    ),
    schema(
        "DisplayTopUp",
        "",
        "
        amount amount = 10 -- above 0
        reason? string?",
    ),
    schema(
        "DisplayAdjust",
        "",
        "
        amount amount = -3 -- signed
        reason? string?",
    ),
];
