//! What a call would cost, and whether it would be served, before it is made.
//!
//! A quote goes the way of a call up to the money: the request is read, planned and estimated by the same code, and
//! whether wallet and budget can pay is found out by the very hold that the call would take, which is given back at
//! once. Nothing is charged, logged or sent, and nothing stays held.

use bytes::Bytes;

use crate::Error;
use crate::auth::Identity;
use crate::billing::{Billing, Estimate, FundError, Legs, Overflow, Payer, Price, Rate, Usage};
use crate::call::{InferenceRequest, Operation};
use crate::id::{EndUserId, LogId};
use crate::limits::RateLimiter;
use crate::money::{Markup, NanoUsd};
use crate::responses::Responses;
use crate::routing::{Plan, PlanError, Router};

/// What a quote is asked for.
#[derive(Clone, Debug)]
pub struct QuoteRequest {
    /// Where the request would be sent.
    pub operation: Operation,
    /// The body that would be sent there.
    pub body: Bytes,
    /// For platform keys: the end user who would make the call.
    pub end_user: Option<EndUserId>,
}

/// What a call would cost. A statement about now, and no promise.
#[derive(Debug)]
pub struct Quote {
    /// Where the request would be sent.
    pub operation: Operation,
    /// What the request calls the model.
    pub model: String,
    /// Input tokens, as the gateway counts them.
    pub input_tokens: u64,
    /// The route, and what it may cost; `None` where no route has a price in force.
    pub way: Option<Way>,
    /// Why the call would be refused; `None` when it would be served.
    pub refusal: Option<Error>,
}

/// The route of a quoted call.
#[derive(Debug)]
pub struct Way {
    /// The targets, in the order in which they would be tried.
    pub plan: Plan,
    /// What the first target's price makes of the counted tokens.
    pub lines: Vec<PriceLine>,
    /// The most output tokens that are counted, of all choices together.
    pub max_output: u64,
    /// The output limit that would be sent to the provider for each choice; `None` for none.
    pub limit_sent: Option<u64>,
    /// What would be held, with the margin on the input, at the dearest of the targets.
    pub hold: Legs,
    /// Whether the call would be counted on a budget.
    pub is_on_budget: bool,
}

/// Tokens of one kind, and what they cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceLine {
    /// `input`, `output`, or `call` for what every call costs.
    pub bucket: &'static str,
    /// How many tokens; none of a call.
    pub tokens: Option<u64>,
    /// The rate; none of a call.
    pub rate: Option<Rate>,
    /// What the wallet pays.
    pub on_wallet: NanoUsd,
    /// What a budget is charged, markup included.
    pub on_budget: NanoUsd,
}

/// Who makes quotes. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Quoter {
    pub(crate) router: Router,
    pub(crate) billing: Billing,
    pub(crate) responses: Responses,
    pub(crate) rate_limiter: RateLimiter,
}

// === impl Quoter ===

impl Quoter {
    /// Quotes a call of `identity`.
    pub(crate) async fn quote(
        &self,
        identity: &Identity,
        wanted: QuoteRequest,
    ) -> Result<Quote, Error> {
        let mut request = InferenceRequest::parse(wanted.operation, wanted.body)?;
        self.responses.resume(identity, &mut request).await?;
        let mut quote = Quote {
            operation: wanted.operation,
            model: request.model().to_owned(),
            input_tokens: request.prompt_tokens(),
            way: None,
            refusal: None,
        };
        let plan = match self.router.plan(identity, &request).await {
            Ok(plan) => plan,
            Err(error @ PlanError::PricingMissing { .. }) => {
                quote.refusal = Some(error.into());
                return Ok(quote);
            }
            Err(error) => return Err(error.into()),
        };
        let limited = self.rate_limiter.would_admit(identity, quote.input_tokens);
        let limited = limited.await.err();
        let (held, refusal) = match self.hold(identity, &request, &plan.estimate).await {
            Ok(held) => (Some(held), None),
            // Nothing can be said while the books cannot be asked.
            Err(error @ FundError::Uncertain { .. }) => return Err(error.into()),
            Err(error) => (None, Some(error.into())),
        };
        // In the order in which the call would be refused.
        quote.refusal = limited.map(Error::from).or(refusal);
        let (hold, lowered_to) = match held {
            Some(held) => held,
            None => (plan.estimate.full().map_err(too_large)?, None),
        };
        let max_output = lowered_to.unwrap_or(plan.estimate.output_tokens);
        let choices = u64::from(request.choices());
        let asked = request.output_limit().map(|(_, limit)| limit);
        let markup = plan.estimate.markup;
        let price = plan.targets.first().map(|target| target.price(None));
        let lines = price.map(|price| lines(price, quote.input_tokens, max_output, markup));
        quote.way = Some(Way {
            lines: lines.transpose().map_err(too_large)?.unwrap_or_default(),
            max_output,
            limit_sent: lowered_to.map(|all| (all / choices).max(1)).or(asked),
            hold,
            is_on_budget: identity.end_user_id().is_some(),
            plan,
        });
        Ok(quote)
    }

    /// What the call would hold, and to what its output would be limited.
    async fn hold(
        &self,
        identity: &Identity,
        request: &InferenceRequest,
        estimate: &Estimate,
    ) -> Result<(Legs, Option<u64>), FundError> {
        let permit = self.billing.permit()?;
        let payer = Payer::of(&self.billing, identity).await?;
        let prompt = request.prompt_tokens();
        let hold = self
            .billing
            .hold(permit, payer, LogId::new(), estimate.clone(), prompt)
            .await?;
        let found = (hold.legs(), hold.lowered_to());
        hold.release();
        Ok(found)
    }
}

/// What each kind of token costs by itself.
fn lines(
    price: &Price,
    input: u64,
    output: u64,
    markup: Markup,
) -> Result<Vec<PriceLine>, Overflow> {
    let rates = price.rates_for(input);
    // At these rates and no other: whether a prompt is long was decided by all of it.
    let flat = Price {
        per_call: NanoUsd::ZERO,
        rates,
        long_context: None,
        ..price.clone()
    };
    let line = |bucket, tokens, rate: Option<Rate>, usage: Usage| {
        let legs = flat.cost(&usage, markup)?;
        Ok(PriceLine {
            bucket,
            tokens: Some(tokens),
            rate: Some(rate.unwrap_or_default()),
            on_wallet: legs.wallet,
            on_budget: legs.budget.usd,
        })
    };
    let of_input = Usage {
        input,
        ..Usage::default()
    };
    let mut lines = vec![line("input", input, rates.input, of_input)?];
    if output > 0 {
        let usage = Usage {
            output,
            ..Usage::default()
        };
        lines.push(line("output", output, rates.output, usage)?);
    }
    if !price.per_call.is_zero() {
        let call = Price {
            rates: Default::default(),
            long_context: None,
            ..price.clone()
        };
        let legs = call.cost(&Usage::default(), markup)?;
        lines.push(PriceLine {
            bucket: "call",
            tokens: None,
            rate: None,
            on_wallet: legs.wallet,
            on_budget: legs.budget.usd,
        });
    }
    Ok(lines)
}

fn too_large(_: Overflow) -> Error {
    FundError::Uncertain { cause: None }.into()
}
