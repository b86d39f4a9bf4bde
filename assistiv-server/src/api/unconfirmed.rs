//! The operator's review of charges whose delivery cannot be proved (`docs/api-design.md`).

use assistiv_core::billing::{ListUnconfirmed, ResolveUnconfirmed, Unconfirmed, UnconfirmedFilter};
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{EndUserId, EntryId, PlatformId};
use assistiv_core::money::{DisplayUnits, NanoUsd, Tokens};
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::caller::Operator;
use super::form::Form;
use super::idempotency::{IdempotencyKey, replayable};
use super::path::Named;
use super::query::Query;
use super::refusal::Handled;
use super::{ApiState, answer, field};

/// An item on the wire. Amounts are magnitudes; those of a leg that the charge has not are null.
#[derive(Serialize)]
struct ItemView<'a> {
    uid: EntryId,
    platform_id: PlatformId,
    end_user_id: Option<EndUserId>,
    source: &'static str,
    wallet_usd: Option<NanoUsd>,
    budget_usd: Option<NanoUsd>,
    budget_tokens: Option<Tokens>,
    budget_display: Option<DisplayUnits>,
    charged_at: Timestamp,
    node: &'a str,
    found_at: Timestamp,
    status: &'static str,
    resolved_at: Option<Timestamp>,
    reason: Option<&'a str>,
}

fn view(item: &Unconfirmed) -> ItemView<'_> {
    ItemView {
        uid: item.charge,
        platform_id: item.platform_id,
        end_user_id: item.end_user_id,
        source: item.source.as_str(),
        wallet_usd: item.wallet,
        budget_usd: item.budget.map(|amounts| amounts.usd),
        budget_tokens: item.budget.map(|amounts| amounts.tokens),
        budget_display: item.budget.map(|amounts| amounts.display),
        charged_at: item.charged_at,
        node: &item.node,
        found_at: item.found_at,
        status: item.status.as_str(),
        resolved_at: item.resolved_at,
        reason: item.reason.as_deref(),
    }
}

/// `GET /v1/admin/billing/unconfirmed`
pub(super) async fn list(
    State(state): State<ApiState>,
    Operator(principal): Operator,
    mut query: Query,
) -> Handled {
    let page = query.page();
    let filter = UnconfirmedFilter {
        status: query.parsed("status").unwrap_or_default(),
        platform_id: query.parsed("platform_id"),
        from: query.parsed("from"),
        to: query.parsed("to"),
    };
    query.finish()?;
    let command = ListUnconfirmed { filter, page };
    let listed = state.gateway.wallets().run(&principal, (), command).await?;
    answer::list(&listed, page, view)
}

/// `POST /v1/admin/billing/unconfirmed/{transaction_id}/resolve`
pub(super) async fn resolve(
    State(state): State<ApiState>,
    Operator(principal): Operator,
    Named(charge): Named<EntryId>,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.of(&form);
    let resolution = form.required("resolution", field::parsed);
    let reason = form.optional("reason", field::note);
    let command = form.build(|| {
        Some(ResolveUnconfirmed {
            charge,
            resolution: resolution?,
            reason,
            request,
        })
    })?;
    let resolved = state.gateway.wallets().run(&principal, (), command).await?;
    replayable(
        answer::one(StatusCode::OK, view(&resolved.item))?,
        resolved.replayed,
    )
}
