//! Versions of prices, and re-rating (`docs/api-design.md`).

use assistiv_core::billing::{CallInterval, RerateReport};
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{EntryId, PlatformId, PriceId};
use assistiv_core::money::NanoUsd;
use assistiv_core::prices::{AddPrice, ListPrices, PriceFilter, PriceVersion, Rerate};
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::caller::Operator;
use super::form::Form;
use super::idempotency::{IdempotencyKey, replayable};
use super::query::Query;
use super::refusal::Handled;
use super::{ApiState, answer, field};

const STANDARD: &str = "standard";

/// A version on the wire.
#[derive(Serialize)]
struct PriceView<'a> {
    id: PriceId,
    provider: &'a str,
    provider_model_id: &'a str,
    service_tier: &'a str,
    effective_from: Timestamp,
    currency: &'static str,
    rates: RatesView<'a>,
    long_context: Option<&'a assistiv_core::billing::LongContext>,
    note: Option<&'a str>,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct RatesView<'a> {
    #[serde(flatten)]
    rates: &'a assistiv_core::billing::Rates,
    per_call: NanoUsd,
}

fn view(version: &PriceVersion) -> PriceView<'_> {
    let price = &version.price;
    PriceView {
        id: price.id,
        provider: version.provider.as_str(),
        provider_model_id: &version.provider_model_id,
        service_tier: &price.service_tier,
        effective_from: price.effective_from,
        currency: "usd",
        rates: RatesView {
            rates: &price.rates,
            per_call: price.per_call,
        },
        long_context: price.long_context.as_ref(),
        note: version.note.as_deref(),
        created_at: version.created_at,
    }
}

/// What a re-rating did, on the wire. A positive amount is given back.
#[derive(Serialize)]
struct ReportView {
    id: EntryId,
    dry_run: bool,
    from: Timestamp,
    to: Timestamp,
    log_rows: u64,
    changed_rows: u64,
    wallet_delta_usd: NanoUsd,
    budget_delta_usd: NanoUsd,
    platforms: Vec<OfPlatformView>,
}

#[derive(Serialize)]
struct OfPlatformView {
    platform_id: PlatformId,
    changed_rows: u64,
    wallet_delta_usd: NanoUsd,
    budget_delta_usd: NanoUsd,
}

fn report_view(report: &RerateReport) -> ReportView {
    let platforms = report.platforms.iter().map(|of| OfPlatformView {
        platform_id: of.platform_id,
        changed_rows: of.changed_rows,
        wallet_delta_usd: of.wallet_delta,
        budget_delta_usd: of.budget_delta,
    });
    ReportView {
        id: report.id,
        dry_run: report.is_dry_run,
        from: report.from,
        to: report.to,
        log_rows: report.log_rows,
        changed_rows: report.changed_rows,
        wallet_delta_usd: report.wallet_delta,
        budget_delta_usd: report.budget_delta,
        platforms: platforms.collect(),
    }
}

/// `GET /v1/admin/prices`
pub(super) async fn list(
    State(state): State<ApiState>,
    Operator(principal): Operator,
    mut query: Query,
) -> Handled {
    let page = query.page();
    let filter = PriceFilter {
        provider: query.text("provider"),
        provider_model_id: query.text("provider_model_id"),
        service_tier: query.text("service_tier"),
        at: query.parsed("at"),
    };
    query.finish()?;
    let command = ListPrices { filter, page };
    let listed = state.gateway.prices().run(&principal, (), command).await?;
    answer::list(&listed, page, view)
}

/// `POST /v1/admin/prices`
pub(super) async fn create(
    State(state): State<ApiState>,
    Operator(principal): Operator,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.of(&form);
    let provider = form.required("provider", field::parsed);
    let provider_model_id = form.required("provider_model_id", field::text(255));
    let service_tier = form.optional("service_tier", field::text(64));
    let effective_from = form.optional("effective_from", field::parsed);
    form.optional("currency", |json| match json {
        "\"usd\"" => Ok(()),
        _ => Err("must be `usd`".to_owned()),
    });
    let rates = form.required("rates", |json| {
        let (rates, per_call) = field::rates(json)?;
        if rates.input.is_none() || rates.output.is_none() {
            return Err("must have `input` and `output`".to_owned());
        }
        Ok((rates, per_call))
    });
    let long_context = form.optional("long_context", field::long_context);
    let note = form.optional("note", field::note);
    let command = form.build(|| {
        let (rates, per_call) = rates?;
        Some(AddPrice {
            provider: provider?,
            provider_model_id: provider_model_id?,
            service_tier: service_tier.unwrap_or_else(|| STANDARD.to_owned()),
            effective_from,
            per_call,
            rates,
            long_context,
            note,
            request,
        })
    })?;
    let added = state.gateway.prices().run(&principal, (), command).await?;
    replayable(
        answer::one(StatusCode::CREATED, view(&added.version))?,
        added.replayed,
    )
}

/// `POST /v1/admin/prices/rerate`
pub(super) async fn rerate(
    State(state): State<ApiState>,
    Operator(principal): Operator,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.of(&form);
    let from = form.required("from", field::parsed::<Timestamp>);
    let to = form.required("to", field::parsed::<Timestamp>);
    let platform_id = form.optional("platform_id", field::parsed);
    let provider = form.optional("provider", field::text(64));
    let provider_model_id = form.optional("provider_model_id", field::text(255));
    let is_dry_run = form.change("dry_run", field::flag).unwrap_or(true);
    let reason = if is_dry_run {
        form.optional("reason", field::note)
    } else {
        form.required("reason", field::said)
    };
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        form.error("to", "must be later than `from`");
    }
    let command = form.build(|| {
        let interval = CallInterval {
            from: from?,
            to: to?,
            platform_id,
        };
        Some(Rerate {
            interval,
            provider,
            provider_model_id,
            is_dry_run,
            reason,
            request,
        })
    })?;
    let (report, replayed) = state.gateway.prices().run(&principal, (), command).await?;
    replayable(answer::one(StatusCode::OK, report_view(&report))?, replayed)
}
