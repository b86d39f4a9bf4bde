//! What happens: limits, logs, usage and events.

use assistiv_core::error::Reason;

use crate::reference::{Answer, Group, OPERATOR, Op, PLATFORM, Verb};

pub(crate) const READ_RATE_LIMITS: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/rate-limits",
    "read_rate_limits",
    "Reads what the platform limits",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "PlatformRateLimits"));
pub(crate) const UPDATE_RATE_LIMITS: Op = Op::new(
    Verb::Put,
    "/v1/platforms/{platform_id}/rate-limits",
    "update_rate_limits",
    "Changes what the platform limits",
)
.by(PLATFORM | OPERATOR, "management")
.body("PlatformRateLimitsUpdate")
.gives(Answer::One(200, "PlatformRateLimits"));
pub(crate) const READ_END_USER_RATE_LIMITS: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/rate-limits",
    "read_end_user_rate_limits",
    "Reads what applies to an end user",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "EffectiveRateLimits"))
.refuses(&[Reason::END_USER_NOT_FOUND]);
pub(crate) const SET_END_USER_RATE_LIMITS: Op = Op::new(
    Verb::Put,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/rate-limits",
    "set_end_user_rate_limits",
    "Gives an end user limits of its own",
)
.by(PLATFORM | OPERATOR, "management")
.body("RateLimitsSet")
.gives(Answer::One(200, "EffectiveRateLimits"))
.refuses(&[Reason::END_USER_NOT_FOUND]);
pub(crate) const REMOVE_END_USER_RATE_LIMITS: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}/end-users/{end_user_id}/rate-limits",
    "remove_end_user_rate_limits",
    "Takes an end user's own limits away",
)
.by(PLATFORM | OPERATOR, "management")
.refuses(&[Reason::END_USER_NOT_FOUND]);

pub(super) const RATE_LIMITS: Group = Group {
    name: "Rate limits",
    text: "Requests and tokens in a minute and requests in a day, for each end user and for the platform as a whole. Answers of models have OpenAI's `x-ratelimit-` headers.",
    operations: &[
        READ_RATE_LIMITS,
        UPDATE_RATE_LIMITS,
        READ_END_USER_RATE_LIMITS,
        SET_END_USER_RATE_LIMITS,
        REMOVE_END_USER_RATE_LIMITS,
    ],
    examples: [
        include_str!("../examples/rate_limits.sh"),
        include_str!("../examples/rate_limits.py"),
        include_str!("../examples/rate_limits.mjs"),
    ],
};

pub(crate) const LIST_LOGS: Op = Op::new(Verb::Get, "/v1/platforms/{platform_id}/logs", "list_logs", "Lists calls, newest first; also as CSV or NDJSON, by `Accept`")
        .by(PLATFORM | OPERATOR, "management")
        .query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n model? string\n end_user_id? uuid\n request_type? string\n status? success|error\n billing_status? billed|pending|unbilled\n request_id? string\n from? time\n to? time")
        .gives(Answer::Page("LogRow", true));
pub(crate) const READ_LOG: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/logs/{log_id}",
    "read_log",
    "Reads one row of the log",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "LogRow"));
pub(crate) const LIST_AUDIT: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/audit",
    "list_audit",
    "Lists who changed what, newest first; also as CSV or NDJSON, by `Accept`",
)
.by(PLATFORM | OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n action? string = api_key.create\n resource_type? string\n resource_id? uuid\n actor_key_id? uuid\n from? time\n to? time")
.gives(Answer::Page("AuditEntry", true));
pub(crate) const READ_USAGE: Op = Op::new(Verb::Get, "/v1/platforms/{platform_id}/usage", "read_usage", "Sums up what was used; also as CSV or NDJSON, by `Accept`: the series, or else the groups")
        .by(PLATFORM | OPERATOR, "management")
        .query("from? time\n to? time\n group_by? model|provider|end_user|api_key|request_type\n interval? hour|day|month\n timezone? string = UTC\n end_user_id? uuid\n model? string")
        .gives(Answer::OneOrFile("Usage"));

pub(super) const LOGS: Group = Group {
    name: "Logs and usage",
    text: "One row for each call of a model. The costs of the rows that were billed are exactly what the wallet has paid.",
    operations: &[LIST_LOGS, READ_LOG, READ_USAGE, LIST_AUDIT],
    examples: [
        include_str!("../examples/logs.sh"),
        include_str!("../examples/logs.py"),
        include_str!("../examples/logs.mjs"),
    ],
};

pub(crate) const LIST_WEBHOOKS: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/webhooks",
    "list_webhooks",
    "Lists the endpoints",
)
.by(PLATFORM | OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100")
.gives(Answer::Page("Webhook", false));
pub(crate) const CREATE_WEBHOOK: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/webhooks",
    "create_webhook",
    "Adds an endpoint; the answer has its secret",
)
.by(PLATFORM | OPERATOR, "management")
.body("WebhookCreate")
.gives(Answer::One(201, "Webhook"))
.refuses(&[Reason::WEBHOOK_LIMIT_REACHED])
.read_by("read_webhook", "webhook_id");
pub(crate) const READ_WEBHOOK: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/webhooks/{webhook_id}",
    "read_webhook",
    "Reads an endpoint",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "Webhook"))
.refuses(&[Reason::WEBHOOK_NOT_FOUND]);
pub(crate) const UPDATE_WEBHOOK: Op = Op::new(
    Verb::Patch,
    "/v1/platforms/{platform_id}/webhooks/{webhook_id}",
    "update_webhook",
    "Changes an endpoint",
)
.by(PLATFORM | OPERATOR, "management")
.body("WebhookUpdate")
.gives(Answer::One(200, "Webhook"))
.refuses(&[Reason::WEBHOOK_NOT_FOUND]);
pub(crate) const DELETE_WEBHOOK: Op = Op::new(
    Verb::Delete,
    "/v1/platforms/{platform_id}/webhooks/{webhook_id}",
    "delete_webhook",
    "Removes an endpoint",
)
.by(PLATFORM | OPERATOR, "management")
.refuses(&[Reason::WEBHOOK_NOT_FOUND]);
pub(crate) const READ_WEBHOOK_SECRET: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/webhooks/{webhook_id}/secret",
    "read_webhook_secret",
    "Shows the secret that signatures are verified with",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "WebhookSecret"))
.refuses(&[Reason::WEBHOOK_NOT_FOUND]);
pub(crate) const ROTATE_WEBHOOK_SECRET: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/webhooks/{webhook_id}/rotate-secret",
    "rotate_webhook_secret",
    "Makes a new secret; the old one signs, too, for 24 hours",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(200, "WebhookSecret"))
.refuses(&[Reason::WEBHOOK_NOT_FOUND]);
pub(crate) const TEST_WEBHOOK: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/webhooks/{webhook_id}/test",
    "test_webhook",
    "Sends a `ping` event",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(202, "WebhookDelivery"))
.refuses(&[Reason::WEBHOOK_NOT_FOUND]);
pub(crate) const LIST_WEBHOOK_DELIVERIES: Op = Op::new(
    Verb::Get,
    "/v1/platforms/{platform_id}/webhooks/{webhook_id}/deliveries",
    "list_webhook_deliveries",
    "Lists what was and will be sent",
)
.by(PLATFORM | OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100")
.gives(Answer::Page("WebhookDelivery", false))
.refuses(&[Reason::WEBHOOK_NOT_FOUND]);
pub(crate) const REPLAY_WEBHOOK_DELIVERY: Op = Op::new(
    Verb::Post,
    "/v1/platforms/{platform_id}/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
    "replay_webhook_delivery",
    "Sends a delivery once more",
)
.by(PLATFORM | OPERATOR, "management")
.gives(Answer::One(202, "WebhookDelivery"))
.refuses(&[Reason::WEBHOOK_NOT_FOUND]);

pub(super) const WEBHOOKS: Group = Group {
    name: "Webhooks",
    text: "Events are sent as signed POST requests (Svix and Standard Webhooks) until they are taken.",
    operations: &[
        LIST_WEBHOOKS,
        CREATE_WEBHOOK,
        READ_WEBHOOK,
        UPDATE_WEBHOOK,
        DELETE_WEBHOOK,
        READ_WEBHOOK_SECRET,
        ROTATE_WEBHOOK_SECRET,
        TEST_WEBHOOK,
        LIST_WEBHOOK_DELIVERIES,
        REPLAY_WEBHOOK_DELIVERY,
    ],
    examples: [
        include_str!("../examples/webhooks.sh"),
        include_str!("../examples/webhooks.py"),
        include_str!("../examples/webhooks.mjs"),
    ],
};
