//! What operators see.

use super::{Schema, schema};

pub(super) const ALL: &[Schema] = &[
    schema(
        "Provider",
        "",
        "
        id uuid
        slug string = openai
        name string = OpenAI
        base_url? string = https://api.openai.com/v1 -- operators alone see it
        allow_custom_base_url flag = false
        is_active flag",
    ),
    schema(
        "CatalogueModel",
        "",
        "
        id uuid
        slug string = gpt-4o-mini
        aliases [string]
        mode chat|embedding
        context_window count? = 128000
        max_output_tokens count? = 16384
        min_output_tokens count?
        upstream_api chat|responses
        is_active flag
        released time",
    ),
    schema(
        "CatalogueRoute",
        "",
        "
        id uuid
        model_id uuid
        provider_id uuid
        provider_model_id string = gpt-4o-mini
        priority count = 10
        is_enabled flag
        price_id uuid? -- the version in force; a route without one is never called",
    ),
    schema(
        "Rates",
        "US dollars for a million tokens.",
        "
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
        image_output number?",
    ),
    schema(
        "RatesWithCall",
        "",
        "
        ...Rates
        per_call usd = 0",
    ),
    schema(
        "LongContext",
        "Rates when the whole prompt is long.",
        "
        above_input_tokens count = 200000
        rates Rates",
    ),
    schema(
        "Price",
        "A version of a price. Versions are never changed.",
        "
        id uuid
        provider string = anthropic
        provider_model_id string = claude-haiku-4-5
        service_tier string = standard
        effective_from time
        currency string = usd
        rates RatesWithCall
        long_context LongContext?
        note string?
        created_at time",
    ),
    schema(
        "PriceCreate",
        "",
        "
        provider string = anthropic
        provider_model_id string = claude-haiku-4-5
        service_tier? string?
        effective_from? time?
        currency? string?
        rates object = {\"input\": 1.0, \"output\": 5.0}
        long_context? object?
        note? string?",
    ),
    schema(
        "RerateRequest",
        "",
        "
        from time
        to time = 2026-05-04T00:00:00Z
        platform_id? uuid?
        provider? string?
        provider_model_id? string?
        dry_run? flag = true
        reason? string?",
    ),
    schema(
        "Rerating",
        "A positive amount is given back.",
        "
        id uuid
        dry_run flag
        from time
        to time
        log_rows count
        changed_rows count
        wallet_delta_usd usd
        budget_delta_usd usd
        platforms [ReratedPlatform]",
    ),
    schema(
        "ReratedPlatform",
        "",
        "
        platform_id uuid
        changed_rows count
        wallet_delta_usd usd
        budget_delta_usd usd",
    ),
    schema(
        "UnconfirmedDelivery",
        "A charge of which nobody knows whether its answer arrived.",
        "
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
        reason string?",
    ),
    schema(
        "ResolveRequest",
        "",
        "
        resolution stands|refund
        reason? string?",
    ),
    schema(
        "Capabilities",
        "",
        "
        enabled flag = false
        capabilities [object]",
    ),
];
