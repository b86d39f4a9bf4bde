//! What only whoever runs the server may do.

use assistiv_core::error::Reason;

use crate::reference::{Answer, Group, OPERATOR, Op, PLATFORM, Verb};

pub(crate) const ADMIN_LIST_PLATFORMS: Op = Op::new(
    Verb::Get,
    "/v1/admin/platforms",
    "admin_list_platforms",
    "Lists all platforms",
)
.by(OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n q? string")
.gives(Answer::Page("Platform", false));
pub(crate) const ADMIN_CREATE_PLATFORM: Op = Op::new(
    Verb::Post,
    "/v1/admin/platforms",
    "admin_create_platform",
    "Makes a platform with its wallet and its first key",
)
.by(OPERATOR, "management")
.body("PlatformCreate")
.gives(Answer::One(201, "PlatformCreated"))
.refuses(&[Reason::SLUG_TAKEN])
.read_by("admin_read_platform", "platform_id");
pub(crate) const ADMIN_READ_PLATFORM: Op = Op::new(
    Verb::Get,
    "/v1/admin/platforms/{platform_id}",
    "admin_read_platform",
    "Reads a platform",
)
.by(OPERATOR, "management")
.gives(Answer::One(200, "Platform"));
pub(crate) const ADMIN_UPDATE_PLATFORM: Op = Op::new(
    Verb::Patch,
    "/v1/admin/platforms/{platform_id}",
    "admin_update_platform",
    "Changes a platform, or switches it off",
)
.by(OPERATOR, "management")
.body("PlatformAdminUpdate")
.gives(Answer::One(200, "Platform"))
.refuses(&[Reason::SLUG_TAKEN]);
pub(crate) const ADMIN_DELETE_PLATFORM: Op = Op::new(
    Verb::Delete,
    "/v1/admin/platforms/{platform_id}",
    "admin_delete_platform",
    "Removes a platform",
)
.by(OPERATOR, "management");
pub(crate) const ADJUST_WALLET: Op = Op::new(
    Verb::Post,
    "/v1/admin/platforms/{platform_id}/wallet/adjust",
    "adjust_wallet",
    "Corrects a platform's balance",
)
.by(OPERATOR, "management")
.body("WalletAdjust")
.gives(Answer::One(200, "WalletWithEntry"))
.refuses(&[Reason::INSUFFICIENT_BALANCE])
.idempotent();
pub(crate) const LIST_PROVIDERS: Op = Op::new(
    Verb::Get,
    "/v1/admin/providers",
    "list_providers",
    "Lists the providers of the catalogue; platforms see no base URLs",
)
.by(PLATFORM | OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100")
.gives(Answer::Page("Provider", false));
pub(crate) const READ_PROVIDER: Op = Op::new(
    Verb::Get,
    "/v1/admin/providers/{provider_id}",
    "read_provider",
    "Reads a provider",
)
.by(OPERATOR, "management")
.gives(Answer::One(200, "Provider"));
pub(crate) const ADMIN_LIST_MODELS: Op = Op::new(
    Verb::Get,
    "/v1/admin/models",
    "admin_list_models",
    "Lists the models of the catalogue",
)
.by(PLATFORM | OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100")
.gives(Answer::Page("CatalogueModel", false));
pub(crate) const ADMIN_READ_MODEL: Op = Op::new(
    Verb::Get,
    "/v1/admin/models/{model_id}",
    "admin_read_model",
    "Reads a model of the catalogue",
)
.by(OPERATOR, "management")
.gives(Answer::One(200, "CatalogueModel"));
pub(crate) const LIST_ROUTES: Op = Op::new(
    Verb::Get,
    "/v1/admin/model-provider-configs",
    "list_model_provider_configs",
    "Lists the routes of the catalogue with their prices in force",
)
.by(OPERATOR, "management")
.query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100")
.gives(Answer::Page("CatalogueRoute", false));
pub(crate) const LIST_PRICES: Op = Op::new(Verb::Get, "/v1/admin/prices", "list_prices", "Lists versions of prices")
        .by(OPERATOR, "management")
        .query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n provider? string\n provider_model_id? string\n service_tier? string\n at? time -- only what was in force then")
        .gives(Answer::Page("Price", false));
pub(crate) const CREATE_PRICE: Op = Op::new(
    Verb::Post,
    "/v1/admin/prices",
    "create_price",
    "Adds a version of a price",
)
.by(OPERATOR, "management")
.body("PriceCreate")
.gives(Answer::One(201, "Price"))
.idempotent();
pub(crate) const RERATE: Op = Op::new(
    Verb::Post,
    "/v1/admin/prices/rerate",
    "rerate",
    "Charges a period anew at the prices that are known now; gives back or takes the difference",
)
.by(OPERATOR, "management")
.body("RerateRequest")
.gives(Answer::One(200, "Rerating"))
.refuses(&[Reason::SETTLEMENT_PENDING])
.idempotent();
pub(crate) const LIST_UNCONFIRMED: Op = Op::new(Verb::Get, "/v1/admin/billing/unconfirmed", "list_unconfirmed", "Lists charges of which nobody knows whether their answers arrived")
        .by(OPERATOR, "management")
        .query("page? count = 1 -- counted from 1\n limit? count = 20 -- 1 to 100\n status? open|stands|refunded = open\n platform_id? uuid\n from? time\n to? time")
        .gives(Answer::Page("UnconfirmedDelivery", false));
pub(crate) const RESOLVE_UNCONFIRMED: Op = Op::new(
    Verb::Post,
    "/v1/admin/billing/unconfirmed/{transaction_id}/resolve",
    "resolve_unconfirmed",
    "Lets such a charge stand, or gives it back",
)
.by(OPERATOR, "management")
.body("ResolveRequest")
.gives(Answer::One(200, "UnconfirmedDelivery"))
.refuses(&[
    Reason::TRANSACTION_NOT_FOUND,
    Reason::ALREADY_RESOLVED,
    Reason::ALREADY_REFUNDED,
])
.idempotent();

pub(super) const ADMINISTRATION: Group = Group {
    name: "Operator",
    text: "With an operator key, which begins with `sk-admin_`.",
    operations: &[
        ADMIN_LIST_PLATFORMS,
        ADMIN_CREATE_PLATFORM,
        ADMIN_READ_PLATFORM,
        ADMIN_UPDATE_PLATFORM,
        ADMIN_DELETE_PLATFORM,
        ADJUST_WALLET,
        LIST_PROVIDERS,
        READ_PROVIDER,
        ADMIN_LIST_MODELS,
        ADMIN_READ_MODEL,
        LIST_ROUTES,
        LIST_PRICES,
        CREATE_PRICE,
        RERATE,
        LIST_UNCONFIRMED,
        RESOLVE_UNCONFIRMED,
    ],
    examples: [
        include_str!("../examples/operator.sh"),
        include_str!("../examples/operator.py"),
        include_str!("../examples/operator.mjs"),
    ],
};
