//! The size of a call before it is made (`docs/ledger.md`).

use super::catalogue::CatalogueModel;
use super::plan::Target;
use crate::billing::{BillingOptions, DisplayRates, Estimate};
use crate::call::{InferenceRequest, Operation};
use crate::tenancy::PlatformSettings;

/// Output tokens counted for a stream, whose hold is extended as it runs.
const STREAM_OUTPUT: u64 = 4_096;
/// Output tokens counted for an answer in one piece.
const WHOLE_OUTPUT: u64 = 16_384;

/// What a request may cost at most on any of the targets.
pub(super) fn estimate(
    request: &InferenceRequest,
    model: &CatalogueModel,
    targets: &[Target],
    settings: &PlatformSettings,
    options: &BillingOptions,
) -> Estimate {
    let cap = if request.operation() == Operation::Embeddings {
        0
    } else if request.is_stream() {
        STREAM_OUTPUT
    } else {
        WHOLE_OUTPUT
    };
    let limits = [
        request.output_limit().map(|(_, limit)| limit),
        model.max_output_tokens,
    ];
    let limit = limits.into_iter().flatten().min();
    let output = limit.map_or(cap, |limit| limit.min(cap));
    let asked_tier = request.service_tier.as_deref();
    let mut prices = Vec::new();
    for target in targets {
        for price in [target.price(None), target.price(asked_tier)] {
            if !prices
                .iter()
                .any(|known| std::sync::Arc::ptr_eq(known, price))
            {
                prices.push(price.clone());
            }
        }
    }
    Estimate {
        prices,
        input_tokens: with_factor(request.prompt_tokens(), options.hold_input_per_mille),
        output_tokens: output.saturating_mul(u64::from(request.choices())),
        is_bounded: cap == 0 || limit.is_some_and(|limit| limit <= cap),
        markup: settings.markup(),
        display: display(model, settings),
    }
}

/// What the display ledger of an end user is charged for a call of the model.
fn display(model: &CatalogueModel, settings: &PlatformSettings) -> DisplayRates {
    let is_model = |name: &str| {
        model.slug.as_str() == name || model.aliases.iter().any(|a| a.as_str() == name)
    };
    let wallet = settings.end_user_wallet();
    wallet.map_or_else(DisplayRates::default, |wallet| {
        wallet.rates_of_model(is_model)
    })
}

fn with_factor(tokens: u64, per_mille: u32) -> u64 {
    let scaled = u128::from(tokens) * u128::from(per_mille);
    u64::try_from(scaled.div_ceil(1000)).unwrap_or(u64::MAX)
}
