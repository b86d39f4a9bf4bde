//! What a call would cost (`docs/api-design.md`).

use assistiv_core::billing::{OwnBudget, Rate};
use assistiv_core::id::{EndUserId, LlmConfigId, PriceId};
use assistiv_core::money::{DisplayUnits, NanoUsd, Tokens};
use assistiv_core::quotes::{PriceLine, Quote, QuoteRequest, Way};
use assistiv_core::routing::Target;
use assistiv_core::tenancy::BudgetView;
use assistiv_core::{Operation, Problem};
use axum::extract::State;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::caller::Caller;
use super::form::Form;
use super::refusal::{Handled, Refusal};
use super::{ApiState, answer, field};

const ENDPOINTS: &str =
    "must be `/v1/chat/completions`, `/v1/responses`, `/v1/messages` or `/v1/embeddings`";

/// What the reader of a quote may see of the money.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// A platform sees all.
    All,
    /// An end user who sees USD sees what its budget is charged.
    Budget,
    /// No USD amount at all.
    Tokens,
    /// Display units, too.
    Display,
}

#[derive(Serialize)]
struct QuoteView<'a> {
    endpoint: &'static str,
    model: &'a str,
    route: Option<RouteView<'a>>,
    tokens: TokensView,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_lines: Option<Vec<LineView>>,
    hold: Option<HoldView>,
    max_output_tokens_sent: Option<u64>,
    admitted: bool,
    checks: Checks,
    refusal: Option<RefusalView>,
}

#[derive(Serialize)]
struct RouteView<'a> {
    #[serde(flatten)]
    first: TargetView<'a>,
    fallbacks: Vec<TargetView<'a>>,
}

#[derive(Serialize)]
struct TargetView<'a> {
    provider: &'a str,
    provider_model_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_config_id: Option<LlmConfigId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_id: Option<PriceId>,
}

#[derive(Serialize)]
struct TokensView {
    input: u64,
    max_output: Option<u64>,
    count_method: &'static str,
}

#[derive(Serialize)]
struct LineView {
    bucket: &'static str,
    tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usd_per_mtok: Option<Rate>,
    amount_usd: NanoUsd,
}

#[derive(Default, Serialize)]
struct HoldView {
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_usd: Option<NanoUsd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_usd: Option<NanoUsd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_tokens: Option<Tokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    display: Option<DisplayUnits>,
}

#[derive(Serialize)]
struct Checks {
    rate_limits: bool,
    budget: bool,
    wallet: bool,
    price: bool,
}

#[derive(Serialize)]
struct RefusalView {
    status: u16,
    code: &'static str,
    reason: &'static str,
    details: Map<String, Value>,
}

/// `POST /v1/quotes`
pub(super) async fn quote(
    State(state): State<ApiState>,
    Caller(principal): Caller,
    mut form: Form,
) -> Handled {
    let operation = form.required("endpoint", endpoint);
    let request = form.required("request", field::source);
    let end_user = form.optional("end_user_id", field::parsed::<EndUserId>);
    let is_end_user = principal.own().is_ok();
    if is_end_user && end_user.is_some() {
        form.error("end_user_id", "is for platform keys");
    }
    let wanted = form.build(|| {
        Some(QuoteRequest {
            operation: operation?,
            body: Bytes::from(request?),
            end_user,
        })
    })?;
    let quote = state.gateway.quote(&principal, wanted).await;
    let quote = quote.map_err(|error| Refusal::from(Problem::from(&error)))?;
    let sight = if is_end_user {
        match state.gateway.wallets().run(&principal, (), OwnBudget).await {
            Ok((_, BudgetView::Usd)) => Sight::Budget,
            Ok((_, BudgetView::Display)) => Sight::Display,
            // Where there is no budget nothing says that money may be seen.
            _ => Sight::Tokens,
        }
    } else {
        Sight::All
    };
    answer::one(StatusCode::OK, QuoteView::of(&quote, sight))
}

fn endpoint(json: &str) -> field::Read<Operation> {
    let path = field::text(64)(json)?;
    match Operation::of(&path) {
        None | Some(Operation::CountTokens) => Err(ENDPOINTS.to_owned()),
        Some(operation) => Ok(operation),
    }
}

// === impl QuoteView ===

impl<'a> QuoteView<'a> {
    fn of(quote: &'a Quote, sight: Sight) -> Self {
        let way = quote.way.as_ref();
        let refused = quote.refusal.as_ref().map(Problem::from);
        let lacks = |prefix: &str| {
            let reason = refused.as_ref().map(|problem| problem.reason.as_str());
            reason.is_some_and(|reason| reason.starts_with(prefix))
        };
        Self {
            endpoint: quote.operation.path(),
            model: &quote.model,
            route: way.and_then(|way| RouteView::of(way, sight)),
            tokens: TokensView {
                input: quote.input_tokens,
                max_output: way.map(|way| way.max_output),
                count_method: "estimated",
            },
            price_lines: matches!(sight, Sight::All | Sight::Budget).then(|| {
                let lines = way.map(|way| &way.lines[..]).unwrap_or_default();
                lines.iter().map(|line| LineView::of(line, sight)).collect()
            }),
            hold: way.map(|way| HoldView::of(way, sight)),
            max_output_tokens_sent: way.and_then(|way| way.limit_sent),
            admitted: refused.is_none(),
            checks: Checks {
                rate_limits: !lacks("rate_limit_"),
                budget: !lacks("budget_"),
                wallet: !lacks("wallet_"),
                price: !lacks("pricing_"),
            },
            refusal: refused.as_ref().map(RefusalView::of),
        }
    }
}

impl<'a> RouteView<'a> {
    fn of(way: &'a Way, sight: Sight) -> Option<Self> {
        let mut targets = way.plan.targets().iter();
        let first = TargetView::of(targets.next()?, sight);
        let fallbacks = targets
            .map(|target| TargetView::of(target, sight))
            .collect();
        Some(Self { first, fallbacks })
    }
}

impl<'a> TargetView<'a> {
    fn of(target: &'a Target, sight: Sight) -> Self {
        let is_shown = sight == Sight::All;
        Self {
            provider: target.provider().as_str(),
            provider_model_id: target.upstream_model(),
            llm_config_id: target.config().filter(|_| is_shown),
            price_id: is_shown.then(|| target.price(None).id),
        }
    }
}

impl LineView {
    fn of(line: &PriceLine, sight: Sight) -> Self {
        let sees_all = sight == Sight::All;
        Self {
            bucket: line.bucket,
            tokens: line.tokens,
            usd_per_mtok: line.rate.filter(|_| sees_all),
            amount_usd: if sees_all {
                line.on_wallet
            } else {
                line.on_budget
            },
        }
    }
}

impl HoldView {
    fn of(way: &Way, sight: Sight) -> Self {
        let budget = way.is_on_budget.then_some(way.hold.budget);
        let display = budget.map(|budget| budget.display);
        Self {
            wallet_usd: (sight == Sight::All).then_some(way.hold.wallet),
            budget_usd: budget
                .map(|budget| budget.usd)
                .filter(|_| matches!(sight, Sight::All | Sight::Budget)),
            budget_tokens: budget.map(|budget| budget.tokens),
            display: display
                .filter(|units| *units != DisplayUnits::ZERO)
                .filter(|_| matches!(sight, Sight::All | Sight::Display)),
        }
    }
}

impl RefusalView {
    fn of(problem: &Problem) -> Self {
        Self {
            status: problem.status().as_u16(),
            code: problem.reason.code(),
            reason: problem.reason.as_str(),
            details: problem.details.clone(),
        }
    }
}
