//! Platforms, end users, keys and routes.

use super::{Schema, schema};

pub(super) const ALL: &[Schema] = &[
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
];
