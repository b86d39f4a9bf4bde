//! Who there is: platforms, end users, keys, and where calls may go.

use assistiv_core::error::Reason;

use crate::reference::{Answer, Group, OPERATOR, Op, PLATFORM, Verb};

pub(crate) const LIST_PLATFORMS: Op = Op::new(
    Verb::Get,
    "/v1/platforms",
    "list_platforms",
    "Lists platforms: all of them for an operator, its own for a platform key",
)
.by(PLATFORM | OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n q? string")
.gives(Answer::Page("Platform", false));
pub(crate) const READ_PLATFORM: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}",
    "read_platform",
    "Reads a platform",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "Platform"));
pub(crate) const UPDATE_PLATFORM: Op = Op::new(
    Verb::Patch,
    "/v1/platforms/{platform_id}",
    "update_platform",
    "Changes a platform",
)
.by(PLATFORM | OPERATOR, "management")
.body("PlatformUpdate")
.gives(Answer::One(200, "Platform"))
.refuses(&[Reason::SLUG_TAKEN]);
pub(crate) const DELETE_PLATFORM: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}",
    "delete_platform",
    "Removes a platform with its end users, keys, budgets and wallet; ledger entries stay",
)
.by(PLATFORM | OPERATOR, "management");

pub(super) const PLATFORMS: Group = Group {
    name: "Platforms",
    text: "A platform is a tenant: its keys begin with `sk-plat_` and manage it. Operators make platforms.",
    operations: &[
        LIST_PLATFORMS,
        READ_PLATFORM,
        UPDATE_PLATFORM,
        DELETE_PLATFORM,
    ],
    examples: [
        include_str!("../examples/platforms.sh"),
        include_str!("../examples/platforms.py"),
        include_str!("../examples/platforms.mjs"),
    ],
};

pub(crate) const LIST_END_USERS: Op = Op::new(Verb::Get, "/v1/platforms/{platform_id}/end-users", "list_end_users", "Lists the end users of a platform")
        .by(PLATFORM | OPERATOR, "management")
        .query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n external_id? string\n q? string\n is_active? flag")
        .gives(Answer::Page("EndUser", false));
pub(crate) const CREATE_END_USER: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/end-users",
    "create_end_user",
    "Makes an end user with a key; with an `external_id` that exists, one more key for that user",
)
.by(PLATFORM | OPERATOR, "management")
.body("EndUserCreate")
.gives(Answer::OneOf(201, 200, "EndUserCreated"))
.refuses(&[Reason::END_USER_DISABLED])
.read_by("read_end_user", "end_user_id");
pub(crate) const READ_END_USER: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}",
    "read_end_user",
    "Reads an end user, by its id or as `external:` and its `external_id`",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "EndUser"))
.refuses(&[Reason::END_USER_NOT_FOUND]);
pub(crate) const UPDATE_END_USER: Op = Op::new(
    Verb::Patch,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}",
    "update_end_user",
    "Changes an end user",
)
.by(PLATFORM | OPERATOR, "management")
.body("EndUserUpdate")
.gives(Answer::One(200, "EndUser"))
.refuses(&[Reason::END_USER_NOT_FOUND]);
pub(crate) const DELETE_END_USER: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}",
    "delete_end_user",
    "Removes an end user with its keys and budget; ledger entries stay",
)
.by(PLATFORM | OPERATOR, "management")
.refuses(&[Reason::END_USER_NOT_FOUND]);

pub(super) const END_USERS: Group = Group {
    name: "End users",
    text: "A platform's own users. Each has keys of its own, which begin with `sk-eu_`, and may have a budget.",
    operations: &[
        LIST_END_USERS,
        CREATE_END_USER,
        READ_END_USER,
        UPDATE_END_USER,
        DELETE_END_USER,
    ],
    examples: [
        include_str!("../examples/end_users.sh"),
        include_str!("../examples/end_users.py"),
        include_str!("../examples/end_users.mjs"),
    ],
};

pub(crate) const LIST_API_KEYS: Op = Op::new(Verb::Get, "/v1/platforms/{platform_id}/api-keys", "list_api_keys", "Lists keys, never their text")
        .by(PLATFORM | OPERATOR, "management")
        .query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n type? platform|end_user = platform\n end_user_id? uuid\n is_active? flag")
        .gives(Answer::Page("ApiKey", false));
pub(crate) const CREATE_API_KEY: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/api-keys",
    "create_api_key",
    "Issues a platform key, which is shown this once",
)
.by(PLATFORM | OPERATOR, "management")
.optional_body("ApiKeyCreate")
.gives(Answer::One(201, "ApiKeyCreated"))
.refuses(&[Reason::KEY_LIMIT_REACHED]);
pub(crate) const UPDATE_API_KEY: Op = Op::new(
    Verb::Patch,
    "/v1/platforms/{platform_id}/api-keys/{key_id}",
    "update_api_key",
    "Changes a key of the platform or of one of its end users",
)
.by(PLATFORM | OPERATOR, "management")
.body("ApiKeyUpdate")
.gives(Answer::One(200, "ApiKey"))
.refuses(&[Reason::API_KEY_NOT_FOUND, Reason::LAST_PLATFORM_KEY]);
pub(crate) const DELETE_API_KEY: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}/api-keys/{key_id}",
    "delete_api_key",
    "Revokes a key of the platform or of one of its end users, at once",
)
.by(PLATFORM | OPERATOR, "management")
.refuses(&[Reason::API_KEY_NOT_FOUND, Reason::LAST_PLATFORM_KEY]);
pub(crate) const LIST_END_USER_API_KEYS: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/api-keys",
    "list_end_user_api_keys",
    "Lists an end user's keys",
)
.by(PLATFORM | OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n is_active? flag")
.gives(Answer::Page("ApiKey", false))
.refuses(&[Reason::END_USER_NOT_FOUND]);
pub(crate) const CREATE_END_USER_API_KEY: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/api-keys",
    "create_end_user_api_key",
    "Issues a key for an end user, which is shown this once",
)
.by(PLATFORM | OPERATOR, "management")
.optional_body("ApiKeyCreate")
.gives(Answer::One(201, "ApiKeyCreated"))
.refuses(&[
    Reason::END_USER_NOT_FOUND,
    Reason::KEY_LIMIT_REACHED,
    Reason::END_USER_DISABLED,
]);
pub(crate) const ROTATE_END_USER_API_KEYS: Op = Op::new(Verb::Post, "/v1/platforms/{platform_id}/end-users/{end_user_id}/api-keys/rotate", "rotate_end_user_api_keys", "Issues a key for an end user and takes all its others out of use, at once or after `grace_seconds`")
        .by(PLATFORM | OPERATOR, "management")
        .optional_body("ApiKeyRotate")
        .gives(Answer::One(201, "ApiKeyCreated"))
        .refuses(&[Reason::END_USER_NOT_FOUND, Reason::KEY_LIMIT_REACHED, Reason::END_USER_DISABLED]);
pub(crate) const DELETE_END_USER_API_KEY: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/api-keys/{key_id}",
    "delete_end_user_api_key",
    "Revokes a key of an end user, at once",
)
.by(PLATFORM | OPERATOR, "management")
.refuses(&[Reason::END_USER_NOT_FOUND, Reason::API_KEY_NOT_FOUND]);

pub(super) const KEYS: Group = Group {
    name: "API keys",
    text: "Keys are shown when they are made and never again. A key issues no key with wider scopes than its own.",
    operations: &[
        LIST_API_KEYS,
        CREATE_API_KEY,
        UPDATE_API_KEY,
        DELETE_API_KEY,
        LIST_END_USER_API_KEYS,
        CREATE_END_USER_API_KEY,
        ROTATE_END_USER_API_KEYS,
        DELETE_END_USER_API_KEY,
    ],
    examples: [
        include_str!("../examples/keys.sh"),
        include_str!("../examples/keys.py"),
        include_str!("../examples/keys.mjs"),
    ],
};

pub(crate) const LIST_LLM_CONFIGS: Op = Op::new(Verb::Get, "/v1/platforms/{platform_id}/llm-configs", "list_llm_configs", "Lists the platform's keys for providers")
        .by(PLATFORM | OPERATOR, "management")
        .query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n provider_id? uuid\n is_active? flag")
        .gives(Answer::Page("LlmConfig", false));
pub(crate) const CREATE_LLM_CONFIG: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/llm-configs",
    "create_llm_config",
    "Stores a key for a provider, sealed",
)
.by(PLATFORM | OPERATOR, "management")
.body("LlmConfigCreate")
.gives(Answer::One(201, "LlmConfig"))
.refuses(&[Reason::BASE_URL_NOT_ALLOWED])
.read_by("read_llm_config", "config_id");
pub(crate) const READ_LLM_CONFIG: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/llm-configs/{config_id}",
    "read_llm_config",
    "Reads an LLM config, without its key",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "LlmConfig"))
.refuses(&[Reason::LLM_CONFIG_NOT_FOUND]);
pub(crate) const UPDATE_LLM_CONFIG: Op = Op::new(
    Verb::Patch,
    "/v1/platforms/{platform_id}/llm-configs/{config_id}",
    "update_llm_config",
    "Changes an LLM config",
)
.by(PLATFORM | OPERATOR, "management")
.body("LlmConfigUpdate")
.gives(Answer::One(200, "LlmConfig"))
.refuses(&[Reason::LLM_CONFIG_NOT_FOUND, Reason::BASE_URL_NOT_ALLOWED]);
pub(crate) const DELETE_LLM_CONFIG: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}/llm-configs/{config_id}",
    "delete_llm_config",
    "Removes an LLM config",
)
.by(PLATFORM | OPERATOR, "management")
.refuses(&[Reason::LLM_CONFIG_NOT_FOUND]);
pub(crate) const LIST_MODEL_ROUTES: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/model-routes",
    "list_model_routes",
    "Lists the models of the catalogue with their routes, as the platform has them",
)
.by(PLATFORM | OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100")
.gives(Answer::Page("ModelRoute", false));
pub(crate) const REPLACE_MODEL_ROUTES: Op = Op::new(
    Verb::Put,
    "/v1/platforms/{platform_id}/model-routes",
    "replace_model_routes",
    "Replaces all that the platform changes of the catalogue",
)
.by(PLATFORM | OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100")
.body("ModelRoutesReplace")
.gives(Answer::Page("ModelRoute", false))
.refuses(&[Reason::ALIAS_TAKEN]);

pub(super) const ROUTING: Group = Group {
    name: "Provider keys and routes",
    text: "A platform calls providers with keys of its own. It may order, rename and switch off what the catalogue offers.",
    operations: &[
        LIST_LLM_CONFIGS,
        CREATE_LLM_CONFIG,
        READ_LLM_CONFIG,
        UPDATE_LLM_CONFIG,
        DELETE_LLM_CONFIG,
        LIST_MODEL_ROUTES,
        REPLACE_MODEL_ROUTES,
    ],
    examples: [
        include_str!("../examples/routing.sh"),
        include_str!("../examples/routing.py"),
        include_str!("../examples/routing.mjs"),
    ],
};
