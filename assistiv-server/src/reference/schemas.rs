//! The objects of the API, in the language of [`fields`](super::fields).

/// An object of the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) fields: &'static str,
}

const fn schema(name: &'static str, text: &'static str, fields: &'static str) -> Schema {
    Schema { name, text, fields }
}

/// The object of a name.
pub(super) fn find(name: &str) -> Option<&'static Schema> {
    ALL.iter().find(|schema| schema.name == name)
}

/// All objects.
pub(super) const ALL: &[Schema] = &[
    schema("Error", "Why a request was refused or failed. Programs branch on `reason`.", "
        code string = payment_required -- follows from the status
        reason string = wallet_insufficient -- stable; all are listed at /docs/errors
        message string = the platform wallet cannot pay for this call -- for people
        type string = insufficient_quota
        param string?
        details object
        request_id string = req_0197a3c51c7e7d209c413f5b8a6e2d10
        doc_url string = https://gateway.example/docs/errors#wallet_insufficient"),
    schema("Refusal", "What every refusal is, by whatever status.", "
        error Error"),
    schema("MessagesError", "The same in Anthropic's shape, on the paths of messages.", "
        type string = error
        error object
        request_id string = req_0197a3c51c7e7d209c413f5b8a6e2d10"),
    // Platforms and end users
    schema("Platform", "A tenant of the gateway.", "
        id uuid
        name string = Acme
        slug string = acme
        settings object -- keys of your own are kept as they are
        is_active flag
        skills_enabled flag = false
        capabilities_enabled flag = false
        created_at time
        updated_at time"),
    schema("PlatformCreate", "", "
        name string = Acme -- 1 to 100 characters
        slug? string = acme -- made of the name unless given
        settings? object
        initial_balance_usd? amount = 100"),
    schema("PlatformUpdate", "What is absent stays.", "
        name? string = Acme
        slug? string
        settings? object -- laid over what is there, key by key; null takes a key away"),
    schema("PlatformAdminUpdate", "What is absent stays.", "
        ...PlatformUpdate
        is_active? flag = false -- whether its keys work"),
    schema("PlatformCreated", "A platform with its first key, which is shown this once.", "
        ...Platform
        api_key IssuedKey
        wallet Wallet"),
    schema("EndUser", "A user of a platform.", "
        id uuid
        platform_id uuid
        external_id string = user-42 -- the platform's own name of the user
        display_name string?
        metadata object
        is_active flag
        created_at time
        updated_at time"),
    schema("EndUserCreate", "", "
        external_id string = user-42 -- 1 to 255 characters
        display_name? string? = Ada
        metadata? object"),
    schema("EndUserUpdate", "What is absent stays.", "
        display_name? string? = Ada
        metadata? object? -- replaced whole
        is_active? flag"),
    schema("EndUserCreated", "An end user with a new key, which is shown this once.", "
        ...EndUser
        api_key IssuedKey
        budget Budget?"),
    schema("OwnUser", "The end user that asks.", "
        id uuid
        platform_id uuid
        external_id string = user-42
        display_name string?
        metadata object
        is_active flag
        created_at time"),
    // Keys
    schema("ApiKey", "What is kept of a key: never the key itself.", "
        id uuid
        platform_id uuid
        type platform|end_user|operator
        end_user_id uuid?
        key_prefix string = sk-plat_fc0aedc2
        name string = Default key
        scopes [string]
        is_active flag
        last_used_at time?
        expires_at time?
        created_at time"),
    schema("ApiKeyCreated", "A key as it is shown this once.", "
        ...ApiKey
        raw_key string = sk-plat_fc0aedc2…"),
    schema("IssuedKey", "A key as it is shown this once, beside its owner.", "
        id uuid
        key_prefix string = sk-eu_4be19c07
        name string = Default key
        scopes [string]
        is_active flag
        expires_at time?
        created_at time
        raw_key string = sk-eu_4be19c07…"),
    schema("ApiKeyCreate", "", "
        name? string? = Build server
        scopes? [management|inference|self|mcp]? = [\"inference\"] -- never wider than those of the key that asks
        expires_at? time?"),
    schema("ApiKeyRotate", "", "
        ...ApiKeyCreate
        grace_seconds? count? = 3600 -- 0 to 86400: how long the other keys still work"),
    schema("ApiKeyUpdate", "What is absent stays.", "
        name? string = Build server
        is_active? flag
        expires_at? time?"),
    // LLM configs and routes
    schema("LlmConfig", "A platform's key for a provider. The key itself is never shown again.", "
        id uuid
        platform_id uuid
        provider_id uuid?
        provider string = openai
        name string?
        priority count = 0 -- lower is tried first
        models [string]? -- the only models it serves; null is all
        base_url string?
        is_default flag
        is_active flag
        created_at time
        updated_at time"),
    schema("LlmConfigCreate", "`provider` or `provider_id` is required.", "
        provider? string? = openai
        provider_id? uuid?
        api_key string = sk-…
        name? string?
        priority? count?
        models? [string]?
        base_url? string?
        is_default? flag?"),
    schema("LlmConfigUpdate", "What is absent stays.", "
        api_key? string
        name? string?
        priority? count = 1
        models? [string]?
        is_default? flag
        is_active? flag
        base_url? string?"),
    schema("ModelRoute", "A model of the catalogue as the platform has it.", "
        model string = gpt-4o-mini
        is_enabled flag
        aliases [string] -- the platform's own names of it
        usable flag -- whether a request for it would find a way
        routes [Route]"),
    schema("Route", "", "
        provider string = openai
        provider_model_id string = gpt-4o-mini
        priority count = 0
        source operator|platform
        is_enabled flag
        has_key flag
        has_price flag"),
    schema("ModelRoutesReplace", "Replaces all that was there.", "
        overrides [ModelOverride]"),
    schema("ModelOverride", "", "
        model string = gpt-4o-mini
        is_enabled? flag?
        aliases? [string]? = [\"fast\"]
        routes? [RouteOverride]?"),
    schema("RouteOverride", "", "
        provider string = openai
        priority? count?
        is_enabled? flag?"),
    // Money
    schema("Wallet", "What a platform's calls are paid from.", "
        id uuid
        platform_id uuid
        balance usd = 99.987
        currency string = usd
        low_balance_threshold usd?
        is_active flag
        created_at time
        updated_at time"),
    schema("WalletWithRecent", "", "
        ...Wallet
        recent_transactions [WalletEntry]"),
    schema("WalletWithEntry", "", "
        ...Wallet
        transaction WalletEntry"),
    schema("WalletUpdate", "", "
        low_balance_threshold amount? = 5"),
    schema("WalletTopUp", "", "
        amount amount = 25.00 -- above 0
        description? string?"),
    schema("WalletAdjust", "", "
        amount amount = -5.00 -- signed
        reason string = goodwill"),
    schema("WalletEntry", "A movement of the wallet.", "
        id uuid
        type string = llm_usage
        amount usd -- a magnitude, but for `adjustment`, which is signed
        balance_after usd
        description string?
        created_at time
        log_id uuid?
        end_user_id uuid?
        reversed_transaction_id uuid?
        metadata object"),
    schema("Budget", "What an end user may spend, in USD and tokens.", "
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
        updated_at time"),
    schema("BudgetWithEntry", "", "
        ...Budget
        transaction BudgetEntry"),
    schema("BudgetWithEntries", "", "
        ...Budget
        transactions [BudgetEntry]"),
    schema("BudgetCreate", "At least one limit is required.", "
        max_usd? amount? = 20
        max_tokens? count?
        period? one_time|daily|weekly|monthly? = monthly
        timezone? string?
        auto_replenish? flag?
        replenish_amount? amount?
        replenish_tokens? count?
        low_balance_threshold? amount?
        low_balance_threshold_tokens? count?"),
    schema("BudgetUpdate", "What is absent stays.", "
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
        reason? string?"),
    schema("BudgetAct", "`amount_usd` (or `amount`) or `amount_tokens` is required.", "
        amount_usd? amount? = 5
        amount? amount?
        amount_tokens? count?
        reason? string?
        metadata? object?"),
    schema("BudgetRefund", "Without amounts, all that is left of the debit.", "
        amount_usd? amount? = 5
        amount_tokens? count?
        reason? string?
        refund_wallet? flag?"),
    schema("BudgetEntry", "A movement of a budget.", "
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
        created_at time"),
    schema("BudgetTransaction", "A row of a budget's history.", "
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
        created_at time"),
    schema("OwnBudget", "An end user's own budget, as its platform shows it: in USD, tokens or display units.", "
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
        is_exhausted? flag"),
    schema("OwnTransaction", "A row of an end user's own history; which figures it has follows from the view.", "
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
        created_at time"),
    schema("EndUserWallet", "The ledgers of an end user beside each other.", "
        end_user_id uuid
        budget_id uuid
        usd_ledger UsdLedger
        token_ledger TokenLedger?
        display_ledger DisplayLedger?"),
    schema("UsdLedger", "", "
        max_usd usd?
        used_usd usd
        remaining_usd usd?
        is_active flag
        is_suspended flag"),
    schema("TokenLedger", "", "
        max_tokens count
        used_tokens count
        remaining_tokens int?"),
    schema("DisplayLedger", "Units of the platform's own.", "
        unit string = credits
        max display
        used display
        remaining display?
        active_rules [DisplayRule]"),
    schema("DisplayRule", "", "
        trigger inference_call|tool_call|usd_spent|tokens
        amount display
        model? string
        tool? string
        app? string"),
    schema("DisplaySet", "", "
        max amount = 100
        used? amount?
        reason? string?"),
    schema("DisplayTopUp", "", "
        amount amount = 10 -- above 0
        reason? string?"),
    schema("DisplayAdjust", "", "
        amount amount = -3 -- signed
        reason? string?"),
    // Rate limits
    schema("RateLimits", "", "
        rpm_limit count? = 20 -- requests in a minute
        tpm_limit count? = 40000 -- tokens in a minute
        rpd_limit count? = 2000 -- requests in a day"),
    schema("RateLimitsSet", "What is absent is unlimited.", "
        rpm_limit? count? = 20
        tpm_limit? count?
        rpd_limit? count?"),
    schema("EffectiveRateLimits", "What applies to an end user, and why.", "
        ...RateLimits
        resolution explicit|default|none"),
    schema("PlatformRateLimits", "", "
        default RateLimits? -- for each end user by itself
        aggregate RateLimits? -- for everything on the platform together"),
    schema("PlatformRateLimitsUpdate", "What is absent stays; null takes it away.", "
        default? RateLimitsSet? = {\"rpm_limit\": 20}
        aggregate? RateLimitsSet?"),
    // Logs and usage
    schema("LogRow", "A call as the log keeps it.", "
        id uuid
        platform_id uuid
        end_user_id uuid?
        request_type string = chat.completion
        provider_id uuid?
        model_id uuid?
        provider_model_id string? = gpt-4o-mini
        prompt_tokens count = 120
        completion_tokens count = 45
        total_tokens count = 165
        latency_ms count = 612
        estimated_cost_usd string = 0.000045
        status success|error
        error_message string?
        token_count_method reported|estimated
        billing_status billed|pending|unbilled
        metadata object
        created_at time"),
    schema("AuditEntry", "A change, with the values before and after.", "
        id uuid
        platform_id uuid
        action string = budget.update
        actor AuditActor
        resource AuditResource
        changes object = {\"is_suspended\": [false, true]}
        request_id string? = req_0197a3c51c7e7d209c413f5b8a6e2d10
        created_at time"),
    schema("AuditActor", "", "
        type platform_key|end_user_key|operator_key|system
        key_id uuid?
        key_prefix string? = sk-plat_fc0aedc2
        ip string? = 203.0.113.7"),
    schema("AuditResource", "", "
        type string = budget
        id uuid?
        end_user_id uuid?"),
    schema("Sums", "", "
        requests count
        prompt_tokens count
        completion_tokens count
        total_tokens count
        tool_calls count = 0
        errors count = 0
        cost_usd usd = 0.132750"),
    schema("UsageOfGroup", "", "
        key string? = gpt-4o-mini
        ...Sums"),
    schema("UsageInInterval", "", "
        start time
        key string? = gpt-4o-mini
        ...Sums"),
    schema("Usage", "What a platform has used.", "
        from time
        to time
        group_by string? = model
        interval string? = day
        timezone string = UTC
        groups [UsageOfGroup]
        series [UsageInInterval]
        totals Sums"),
    // Webhooks
    schema("Webhook", "An endpoint that is told of events.", "
        id uuid
        url string = https://acme.example/hooks
        description string?
        event_types [string]
        is_active flag
        disabled_reason string?
        secret? string = whsec_…
        created_at time
        updated_at time"),
    schema("WebhookCreate", "", "
        url string = https://acme.example/hooks
        event_types? [string]? = [\"budget.low_balance\"]
        description? string?"),
    schema("WebhookUpdate", "What is absent stays.", "
        url? string
        event_types? [string]
        description? string?
        is_active? flag = false"),
    schema("WebhookSecret", "", "
        secret string = whsec_…"),
    schema("WebhookDelivery", "", "
        id uuid
        event_id string
        event_type string = budget.topped_up
        status string = delivered
        response_status count?
        error string?
        attempt count
        next_attempt_at time?
        created_at time"),
    // Quotes
    schema("QuoteRequest", "", "
        endpoint string = /v1/chat/completions
        request object = {\"model\": \"gpt-4o-mini\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}
        end_user_id? uuid? -- for platform keys: who would make the call"),
    schema("Quote", "What a call would cost. A statement about now, and no promise.", "
        endpoint string = /v1/chat/completions
        model string = gpt-4o-mini
        route QuotedRoute?
        tokens QuotedTokens
        price_lines? [PriceLine]
        hold QuotedHold?
        max_output_tokens_sent count?
        admitted flag
        checks QuoteChecks
        refusal QuoteRefusal?"),
    schema("QuotedTarget", "", "
        provider string = openai
        provider_model_id string = gpt-4o-mini
        llm_config_id? uuid
        price_id? uuid"),
    schema("QuotedRoute", "", "
        ...QuotedTarget
        fallbacks [QuotedTarget]"),
    schema("QuotedTokens", "", "
        input count
        max_output count?
        count_method estimated"),
    schema("PriceLine", "", "
        bucket input|output|call
        tokens count?
        usd_per_mtok? number?
        amount_usd usd"),
    schema("QuotedHold", "", "
        wallet_usd? usd
        budget_usd? usd
        budget_tokens? count
        display? display"),
    schema("QuoteChecks", "", "
        rate_limits flag
        budget flag
        wallet flag
        price flag"),
    schema("QuoteRefusal", "", "
        status count
        code string
        reason string
        details object"),
    // Operator
    schema("Provider", "", "
        id uuid
        slug string = openai
        name string = OpenAI
        base_url? string = https://api.openai.com/v1 -- operators alone see it
        allow_custom_base_url flag = false
        is_active flag"),
    schema("CatalogueModel", "", "
        id uuid
        slug string = gpt-4o-mini
        aliases [string]
        mode chat|embedding
        context_window count? = 128000
        max_output_tokens count? = 16384
        min_output_tokens count?
        upstream_api chat|responses
        is_active flag
        released time"),
    schema("CatalogueRoute", "", "
        id uuid
        model_id uuid
        provider_id uuid
        provider_model_id string = gpt-4o-mini
        priority count = 10
        is_enabled flag
        price_id uuid? -- the version in force; a route without one is never called"),
    schema("Rates", "US dollars for a million tokens.", "
        input number? = 3
        cached_input number?
        cache_write_5m number?
        cache_write_30m number?
        cache_write_1h number?
        cache_write_12h number?
        audio_input number?
        image_input number?
        output number? = 15
        reasoning number?
        audio_output number?
        image_output number?"),
    schema("RatesWithCall", "", "
        ...Rates
        per_call usd = 0"),
    schema("LongContext", "Rates when the whole prompt is long.", "
        above_input_tokens count = 200000
        rates Rates"),
    schema("Price", "A version of a price. Versions are never changed.", "
        id uuid
        provider string = anthropic
        provider_model_id string = claude-haiku-4-5
        service_tier string = standard
        effective_from time
        currency string = usd
        rates RatesWithCall
        long_context LongContext?
        note string?
        created_at time"),
    schema("PriceCreate", "", "
        provider string = anthropic
        provider_model_id string = claude-haiku-4-5
        service_tier? string?
        effective_from? time?
        currency? string?
        rates object = {\"input\": 1.0, \"output\": 5.0}
        long_context? object?
        note? string?"),
    schema("RerateRequest", "", "
        from time
        to time = 2026-05-04T00:00:00Z
        platform_id? uuid?
        provider? string?
        provider_model_id? string?
        dry_run? flag = true
        reason? string?"),
    schema("Rerating", "A positive amount is given back.", "
        id uuid
        dry_run flag
        from time
        to time
        log_rows count
        changed_rows count
        wallet_delta_usd usd
        budget_delta_usd usd
        platforms [ReratedPlatform]"),
    schema("ReratedPlatform", "", "
        platform_id uuid
        changed_rows count
        wallet_delta_usd usd
        budget_delta_usd usd"),
    schema("UnconfirmedDelivery", "A charge of which nobody knows whether its answer arrived.", "
        uid uuid
        platform_id uuid
        end_user_id uuid?
        source string = inference
        wallet_usd usd?
        budget_usd usd?
        budget_tokens count?
        budget_display display?
        charged_at time
        node string = gw-2
        found_at time
        status open|stands|refunded
        resolved_at time?
        reason string?"),
    schema("ResolveRequest", "", "
        resolution stands|refund
        reason? string?"),
    schema("Capabilities", "", "
        enabled flag = false
        capabilities [object]"),
    // Models and calls
    schema("Model", "", "
        id string = gpt-4o-mini
        object string = model
        created int = 1735689600
        owned_by string = openai"),
    schema("ModelList", "", "
        object string = list
        data [object]"),
    schema("ChatRequest", "OpenAI's request of chat completions; further fields go to the provider.", "
        model string = gpt-4o-mini
        messages [object] = [{\"role\": \"user\", \"content\": \"Hello\"}]
        stream? flag"),
    schema("ChatCompletion", "OpenAI's chat completion.", "
        id string = chatcmpl-1
        object string = chat.completion
        created int = 1735689600
        model string = gpt-4o-mini
        choices [object] = [{\"index\": 0, \"message\": {\"role\": \"assistant\", \"content\": \"Hello!\"}, \"finish_reason\": \"stop\"}]
        usage? object = {\"prompt_tokens\": 8, \"completion_tokens\": 3, \"total_tokens\": 11}"),
    schema("ResponseRequest", "OpenAI's request of a response; `previous_response_id` or `thread_id` continues one.", "
        model string = gpt-4o-mini
        input any = Hello
        stream? flag
        previous_response_id? string?
        thread_id? string?"),
    schema("Response", "OpenAI's response.", "
        id string = resp_0197a3c51c7e7d209c413f5b8a6e2d10
        object string = response
        status string = completed
        model string = gpt-4o-mini
        output [object]"),
    schema("InputItems", "", "
        object string = list
        data [object]
        first_id string?
        last_id string?
        has_more flag"),
    schema("DeletedResponse", "", "
        id string = resp_0197a3c51c7e7d209c413f5b8a6e2d10
        object string = response
        deleted flag"),
    schema("MessagesRequest", "Anthropic's request of messages.", "
        model string = claude-haiku-4-5
        max_tokens? count = 256
        messages [object] = [{\"role\": \"user\", \"content\": \"Hello\"}]
        stream? flag"),
    schema("Message", "Anthropic's message.", "
        id string = msg_1
        type string = message
        role string = assistant
        model string = claude-haiku-4-5
        content [object] = [{\"type\": \"text\", \"text\": \"Hello!\"}]
        stop_reason string? = end_turn
        usage object = {\"input_tokens\": 8, \"output_tokens\": 3}"),
    schema("TokenCount", "", "
        input_tokens count = 8"),
    schema("EmbeddingsRequest", "OpenAI's request of embeddings.", "
        model string = text-embedding-3-small
        input any = Hello
        encoding_format? float|base64?
        dimensions? count?"),
    schema("Embeddings", "OpenAI's list of embeddings.", "
        object string = list
        model string = text-embedding-3-small
        data [object] = [{\"object\": \"embedding\", \"index\": 0, \"embedding\": [0.0123, -0.0456]}]
        usage object = {\"prompt_tokens\": 1, \"total_tokens\": 1}"),
];
