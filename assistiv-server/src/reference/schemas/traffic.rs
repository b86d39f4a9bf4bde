//! Limits, logs and webhooks.

use super::{Schema, schema};

pub(super) const ALL: &[Schema] = &[
    schema(
        "RateLimits",
        "",
        "
        rpm_limit count? = 20 -- requests in a minute
        tpm_limit count? = 40000 -- tokens in a minute
        rpd_limit count? = 2000 -- requests in a day",
    ),
    schema(
        "RateLimitsSet",
        "What is absent is unlimited.",
        "
        rpm_limit? count? = 20
        tpm_limit? count?
        rpd_limit? count?",
    ),
    schema(
        "EffectiveRateLimits",
        "What applies to an end user, and why.",
        "
        ...RateLimits
        resolution explicit|default|none",
    ),
    schema(
        "PlatformRateLimits",
        "",
        "
        default RateLimits? -- for each end user by itself
        aggregate RateLimits? -- for everything on the platform together",
    ),
    schema(
        "PlatformRateLimitsUpdate",
        "What is absent stays; null takes it away.",
        "
        default? RateLimitsSet? = {\"rpm_limit\": 20}
        aggregate? RateLimitsSet?",
    ),
    schema(
        "LogRow",
        "A call as the log keeps it.",
        "
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
        created_at time",
    ),
    schema(
        "AuditEntry",
        "A change, with the values before and after.",
        "
        id uuid
        platform_id uuid
        action string = budget.update
        actor AuditActor
        resource AuditResource
        changes object = {\"is_suspended\": [false, true]}
        request_id string? = req_0197a3c51c7e7d209c413f5b8a6e2d10
        created_at time",
    ),
    schema(
        "AuditActor",
        "",
        "
        type platform_key|end_user_key|operator_key|system
        key_id uuid?
        key_prefix string? = sk-plat_fc0aedc2
        ip string? = 203.0.113.7",
    ),
    schema(
        "AuditResource",
        "",
        "
        type string = budget
        id uuid?
        end_user_id uuid?",
    ),
    schema(
        "Sums",
        "",
        "
        requests count
        prompt_tokens count
        completion_tokens count
        total_tokens count
        tool_calls count = 0
        errors count = 0
        cost_usd usd = 0.132750",
    ),
    schema(
        "UsageOfGroup",
        "",
        "
        key string? = gpt-4o-mini
        ...Sums",
    ),
    schema(
        "UsageInInterval",
        "",
        "
        start time
        key string? = gpt-4o-mini
        ...Sums",
    ),
    schema(
        "Usage",
        "What a platform has used.",
        "
        from time
        to time
        group_by string? = model
        interval string? = day
        timezone string = UTC
        groups [UsageOfGroup]
        series [UsageInInterval]
        totals Sums",
    ),
    schema(
        "Webhook",
        "An endpoint that is told of events.",
        "
        id uuid
        url string = https://acme.example/hooks
        description string?
        event_types [string]
        is_active flag
        disabled_reason string?
        secret? string = whsec_…
        created_at time
        updated_at time",
    ),
    schema(
        "WebhookCreate",
        "",
        "
        url string = https://acme.example/hooks
        event_types? [string]? = [\"budget.low_balance\"]
        description? string?",
    ),
    schema(
        "WebhookUpdate",
        "What is absent stays.",
        "
        url? string
        event_types? [string]
        description? string?
        is_active? flag = false",
    ),
    schema(
        "WebhookSecret",
        "",
        "
        secret string = whsec_…",
    ),
    schema(
        "WebhookDelivery",
        "",
        "
        id uuid
        event_id string
        event_type string = budget.topped_up
        status string = delivered
        response_status count?
        error string?
        attempt count
        next_attempt_at time?
        created_at time",
    ),
];
