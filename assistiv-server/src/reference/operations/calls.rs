//! What models are called with, and what callers see of themselves.

use assistiv_core::error::Reason;

use crate::reference::{Answer, END_USER, Group, OPERATOR, Op, PLATFORM, Verb};

pub(crate) const CREATE_CHAT_COMPLETION: Op = Op::new(
    Verb::Post,
    "/v1/chat/completions",
    "create_chat_completion",
    "Answers a chat in OpenAI's format, whole or streamed",
)
.by(PLATFORM | END_USER, "inference")
.body("ChatRequest")
.gives(Answer::Bare("ChatCompletion", true))
.refuses(&[
    Reason::MODEL_NOT_FOUND,
    Reason::WALLET_INSUFFICIENT,
    Reason::BUDGET_EXHAUSTED,
    Reason::BUDGET_SUSPENDED,
    Reason::BUDGET_REQUIRED,
    Reason::RATE_LIMIT_EXCEEDED,
    Reason::CONTEXT_LENGTH_EXCEEDED,
    Reason::UNSUPPORTED_PARAMETER,
    Reason::UNSUPPORTED_ENDPOINT,
    Reason::PRICING_MISSING,
    Reason::PROVIDER_BAD_REQUEST,
    Reason::PROVIDER_AUTH_ERROR,
    Reason::PROVIDER_RATE_LIMITED,
    Reason::PROVIDER_OVERLOADED,
    Reason::PROVIDER_ERROR,
    Reason::PROVIDER_TIMEOUT,
]);
pub(crate) const CREATE_RESPONSE: Op = Op::new(
    Verb::Post,
    "/v1/responses",
    "create_response",
    "Makes a response in OpenAI's format, whole or streamed, and stores it unless `store` is false",
)
.by(PLATFORM | END_USER, "inference")
.body("ResponseRequest")
.gives(Answer::Bare("Response", true))
.refuses(&[
    Reason::MODEL_NOT_FOUND,
    Reason::WALLET_INSUFFICIENT,
    Reason::BUDGET_EXHAUSTED,
    Reason::BUDGET_SUSPENDED,
    Reason::BUDGET_REQUIRED,
    Reason::RATE_LIMIT_EXCEEDED,
    Reason::CONTEXT_LENGTH_EXCEEDED,
    Reason::UNSUPPORTED_PARAMETER,
    Reason::UNSUPPORTED_ENDPOINT,
    Reason::PRICING_MISSING,
    Reason::PROVIDER_BAD_REQUEST,
    Reason::PROVIDER_AUTH_ERROR,
    Reason::PROVIDER_RATE_LIMITED,
    Reason::PROVIDER_OVERLOADED,
    Reason::PROVIDER_ERROR,
    Reason::PROVIDER_TIMEOUT,
    Reason::RESPONSE_NOT_FOUND,
    Reason::THREAD_BUSY,
])
.read_by("read_response", "response_id");
pub(crate) const READ_RESPONSE: Op = Op::new(
    Verb::Get,
    "/v1/responses/{response_id}",
    "read_response",
    "Reads a stored response",
)
.by(PLATFORM | END_USER, "inference")
.gives(Answer::Bare("Response", false))
.refuses(&[Reason::RESPONSE_NOT_FOUND]);
pub(crate) const DELETE_RESPONSE: Op = Op::new(
    Verb::Delete,
    "/v1/responses/{response_id}",
    "delete_response",
    "Removes a stored response",
)
.by(PLATFORM | END_USER, "inference")
.gives(Answer::Bare("DeletedResponse", false))
.refuses(&[Reason::RESPONSE_NOT_FOUND]);
pub(crate) const LIST_INPUT_ITEMS: Op = Op::new(
    Verb::Get,
    "/v1/responses/{response_id}/input_items",
    "list_input_items",
    "Lists what a stored response was asked",
)
.by(PLATFORM | END_USER, "inference")
.query("after? string\n limit? count = 20\n order? asc|desc = desc")
.gives(Answer::Bare("InputItems", false))
.refuses(&[Reason::RESPONSE_NOT_FOUND]);
pub(crate) const CREATE_MESSAGE: Op = Op::new(Verb::Post, "/v1/messages", "create_message", "Answers in Anthropic's format, whole or streamed, whichever provider serves the model; `x-api-key` is taken, too")
        .by(PLATFORM | END_USER, "inference")
        .body("MessagesRequest")
        .gives(Answer::Bare("Message", true))
        .refuses(&[Reason::MODEL_NOT_FOUND, Reason::WALLET_INSUFFICIENT, Reason::BUDGET_EXHAUSTED, Reason::BUDGET_SUSPENDED, Reason::BUDGET_REQUIRED, Reason::RATE_LIMIT_EXCEEDED, Reason::CONTEXT_LENGTH_EXCEEDED, Reason::UNSUPPORTED_PARAMETER, Reason::UNSUPPORTED_ENDPOINT, Reason::PRICING_MISSING, Reason::PROVIDER_BAD_REQUEST, Reason::PROVIDER_AUTH_ERROR, Reason::PROVIDER_RATE_LIMITED, Reason::PROVIDER_OVERLOADED, Reason::PROVIDER_ERROR, Reason::PROVIDER_TIMEOUT]);
pub(crate) const COUNT_TOKENS: Op = Op::new(
    Verb::Post,
    "/v1/messages/count_tokens",
    "count_tokens",
    "Counts the tokens of a prompt, which is free",
)
.by(PLATFORM | END_USER, "inference")
.body("MessagesRequest")
.gives(Answer::Bare("TokenCount", false))
.refuses(&[
    Reason::MODEL_NOT_FOUND,
    Reason::RATE_LIMIT_EXCEEDED,
    Reason::UNSUPPORTED_PARAMETER,
    Reason::PROVIDER_BAD_REQUEST,
    Reason::PRICING_MISSING,
]);
pub(crate) const CREATE_EMBEDDINGS: Op = Op::new(
    Verb::Post,
    "/v1/embeddings",
    "create_embeddings",
    "Embeds texts in OpenAI's format",
)
.by(PLATFORM | END_USER, "inference")
.body("EmbeddingsRequest")
.gives(Answer::Bare("Embeddings", false))
.refuses(&[
    Reason::MODEL_NOT_FOUND,
    Reason::WALLET_INSUFFICIENT,
    Reason::BUDGET_EXHAUSTED,
    Reason::BUDGET_SUSPENDED,
    Reason::BUDGET_REQUIRED,
    Reason::RATE_LIMIT_EXCEEDED,
    Reason::CONTEXT_LENGTH_EXCEEDED,
    Reason::UNSUPPORTED_PARAMETER,
    Reason::UNSUPPORTED_ENDPOINT,
    Reason::PRICING_MISSING,
    Reason::PROVIDER_BAD_REQUEST,
    Reason::PROVIDER_AUTH_ERROR,
    Reason::PROVIDER_RATE_LIMITED,
    Reason::PROVIDER_OVERLOADED,
    Reason::PROVIDER_ERROR,
    Reason::PROVIDER_TIMEOUT,
]);
pub(crate) const LIST_MODELS: Op = Op::new(
    Verb::Get,
    "/v1/models",
    "list_models",
    "Lists the models that the key can use",
)
.by(PLATFORM | END_USER, "inference")
.gives(Answer::Bare("ModelList", false));
pub(crate) const READ_MODEL: Op = Op::new(
    Verb::Get,
    "/v1/models/{model}",
    "read_model",
    "Reads one of them",
)
.by(PLATFORM | END_USER, "inference")
.gives(Answer::Bare("Model", false))
.refuses(&[Reason::MODEL_NOT_FOUND]);
pub(crate) const CREATE_QUOTE: Op = Op::new(
    Verb::Post,
    "/v1/quotes",
    "create_quote",
    "Says what a call would cost, and whether it would be served",
)
.by(PLATFORM | END_USER, "inference")
.body("QuoteRequest")
.gives(Answer::One(200, "Quote"))
.refuses(&[
    Reason::MODEL_NOT_FOUND,
    Reason::END_USER_NOT_FOUND,
    Reason::END_USER_DISABLED,
    Reason::RESPONSE_NOT_FOUND,
    Reason::RATE_LIMIT_EXCEEDED,
    Reason::UNSUPPORTED_ENDPOINT,
    Reason::UNSUPPORTED_PARAMETER,
    Reason::CONTEXT_LENGTH_EXCEEDED,
    Reason::PROVIDER_AUTH_ERROR,
]);

pub(crate) const CALLS: Group = Group {
    name: "Models",
    text: "OpenAI's and Anthropic's clients work unmodified with `{API_BASE}/v1` (Anthropic's: `{API_BASE}`) as their base URL and a key of the gateway, whichever provider serves the model. A failure after the first byte of a stream is an event of its own; a stream that was cut never looks like one that ended.",
    operations: &[
        CREATE_CHAT_COMPLETION,
        CREATE_RESPONSE,
        READ_RESPONSE,
        DELETE_RESPONSE,
        LIST_INPUT_ITEMS,
        CREATE_MESSAGE,
        COUNT_TOKENS,
        CREATE_EMBEDDINGS,
        LIST_MODELS,
        READ_MODEL,
        CREATE_QUOTE,
    ],
    examples: [
        include_str!("../examples/calls.sh"),
        include_str!("../examples/calls.py"),
        include_str!("../examples/calls.mjs"),
    ],
};

pub(crate) const READ_OWN_USER: Op = Op::new(
    Verb::Get,
    "/v1/me",
    "read_own_user",
    "Reads the end user that asks",
)
.by(END_USER, "self")
.gives(Answer::One(200, "OwnUser"));
pub(crate) const READ_OWN_BUDGET: Op = Op::new(
    Verb::Get,
    "/v1/me/budget",
    "read_own_budget",
    "Reads its budget, in the view that its platform has chosen",
)
.by(END_USER, "self")
.gives(Answer::One(200, "OwnBudget"))
.refuses(&[Reason::BUDGET_NOT_FOUND]);
pub(crate) const LIST_OWN_TRANSACTIONS: Op = Op::new(Verb::Get, "/v1/me/budget/transactions", "list_own_transactions", "Lists what it was charged")
        .by(END_USER, "self")
        .query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n type? string\n source? string\n ledger? usd|tokens|display\n from? time\n to? time")
        .gives(Answer::Page("OwnTransaction", false))
        .refuses(&[Reason::BUDGET_NOT_FOUND]);
pub(crate) const READ_OWN_RATE_LIMITS: Op = Op::new(
    Verb::Get,
    "/v1/me/rate-limits",
    "read_own_rate_limits",
    "Reads the rate limits that apply to it",
)
.by(END_USER, "self")
.gives(Answer::One(200, "EffectiveRateLimits"));

pub(super) const SELF: Group = Group {
    name: "Self-service",
    text: "What an end user may know of itself, with a key that has the scope `self`.",
    operations: &[
        READ_OWN_USER,
        READ_OWN_BUDGET,
        LIST_OWN_TRANSACTIONS,
        READ_OWN_RATE_LIMITS,
    ],
    examples: [
        include_str!("../examples/self_service.sh"),
        include_str!("../examples/self_service.py"),
        include_str!("../examples/self_service.mjs"),
    ],
};

pub(crate) const SEARCH_SKILLS: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/skills/search",
    "search_skills",
    "Skills are switched off on this server",
)
.by(PLATFORM | END_USER | OPERATOR, "any")
.refuses(&[Reason::FEATURE_DISABLED]);
pub(crate) const CREATE_SKILL: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/skills",
    "create_skill",
    "Skills are switched off on this server",
)
.by(PLATFORM | END_USER | OPERATOR, "any")
.refuses(&[Reason::FEATURE_DISABLED]);
pub(crate) const READ_SKILL: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/skills/{skill_id}",
    "read_skill",
    "Skills are switched off on this server",
)
.by(PLATFORM | END_USER | OPERATOR, "any")
.refuses(&[Reason::FEATURE_DISABLED]);
pub(crate) const DELETE_SKILL: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}/skills/{skill_id}",
    "delete_skill",
    "Skills are switched off on this server",
)
.by(PLATFORM | END_USER | OPERATOR, "any")
.refuses(&[Reason::FEATURE_DISABLED]);
pub(crate) const REVIEW_SKILL: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/skills/{skill_id}/reviews",
    "review_skill",
    "Skills are switched off on this server",
)
.by(PLATFORM | END_USER | OPERATOR, "any")
.refuses(&[Reason::FEATURE_DISABLED]);
pub(crate) const LIST_CAPABILITIES: Op = Op::new(
    Verb::Get,
    "/v1/capabilities",
    "list_capabilities",
    "Says that capabilities are switched off",
)
.by(PLATFORM | END_USER, "inference")
.gives(Answer::One(200, "Capabilities"));
pub(crate) const READ_CAPABILITY: Op = Op::new(
    Verb::Get,
    "/v1/capabilities/{slug}",
    "read_capability",
    "Capabilities are switched off on this server",
)
.by(PLATFORM | END_USER, "inference")
.refuses(&[Reason::CAPABILITY_NOT_FOUND]);
pub(crate) const SEARCH_CAPABILITIES: Op = Op::new(
    Verb::Post,
    "/v1/capabilities/search",
    "search_capabilities",
    "Capabilities are switched off on this server",
)
.by(END_USER, "inference")
.refuses(&[Reason::FEATURE_DISABLED]);
pub(crate) const RUN_CAPABILITY: Op = Op::new(
    Verb::Post,
    "/v1/capabilities/run",
    "run_capability",
    "Capabilities are switched off on this server",
)
.by(END_USER, "inference")
.refuses(&[Reason::FEATURE_DISABLED]);
pub(crate) const SET_CAPABILITY_POLICY: Op = Op::new(
    Verb::Put,
    "/v1/admin/platforms/{platform_id}/capability-policy",
    "set_capability_policy",
    "Capabilities are switched off on this server",
)
.by(OPERATOR, "management")
.refuses(&[Reason::FEATURE_DISABLED]);

pub(super) const MODULES: Group = Group {
    name: "Modules that are switched off",
    text: "Their paths answer so that clients which look for them find out.",
    operations: &[
        SEARCH_SKILLS,
        CREATE_SKILL,
        READ_SKILL,
        DELETE_SKILL,
        REVIEW_SKILL,
        LIST_CAPABILITIES,
        READ_CAPABILITY,
        SEARCH_CAPABILITIES,
        RUN_CAPABILITY,
        SET_CAPABILITY_POLICY,
    ],
    examples: ["", "", ""],
};

pub(crate) const READ_HEALTH: Op = Op::new(
    Verb::Get,
    "/healthz",
    "read_health",
    "Whether the process runs",
)
.gives(Answer::Text("application/json"));
pub(crate) const READ_READINESS: Op = Op::new(
    Verb::Get,
    "/readyz",
    "read_readiness",
    "Whether it takes requests",
)
.gives(Answer::Text("application/json"))
.refuses(&[Reason::SERVICE_UNAVAILABLE]);
pub(crate) const READ_OPENAPI: Op = Op::new(
    Verb::Get,
    "/v1/openapi.json",
    "read_openapi",
    "This description, as OpenAPI 3.1",
)
.gives(Answer::Text("application/json"));
pub(crate) const READ_LLMS: Op = Op::new(
    Verb::Get,
    "/llms.txt",
    "read_llms",
    "A short index for agents",
)
.gives(Answer::Text("text/plain"));
pub(crate) const READ_LLMS_FULL: Op = Op::new(
    Verb::Get,
    "/llms-full.txt",
    "read_llms_full",
    "Everything that is needed to write a client, in one file",
)
.gives(Answer::Text("text/plain"));
pub(crate) const READ_DOCS: Op =
    Op::new(Verb::Get, "/docs", "read_docs", "The reference as a page")
        .gives(Answer::Text("text/html"));
pub(crate) const READ_ERRORS: Op = Op::new(
    Verb::Get,
    "/docs/errors",
    "read_errors",
    "All reasons of errors",
)
.gives(Answer::Text("text/html"));

pub(super) const PUBLIC: Group = Group {
    name: "Public",
    text: "Without a key.",
    operations: &[
        READ_HEALTH,
        READ_READINESS,
        READ_OPENAPI,
        READ_LLMS,
        READ_LLMS_FULL,
        READ_DOCS,
        READ_ERRORS,
    ],
    examples: ["", "", ""],
};
