//! Refunds of debits and charges (`docs/api-design.md`).

use assistiv_core::billing::{BudgetOf, Limits, RefundDebit};
use assistiv_core::id::EntryId;
use assistiv_core::tenancy::EndUserRef;
use axum::extract::State;

use super::with_entry;
use crate::api::caller::OnPlatform;
use crate::api::form::OptionalForm;
use crate::api::idempotency::IdempotencyKey;
use crate::api::path::Named;
use crate::api::refusal::Handled;
use crate::api::{ApiState, field};

/// `POST …/budget/transactions/{transaction_id}/refund`
pub(in crate::api) async fn refund(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    Named(debit): Named<EntryId>,
    key: IdempotencyKey,
    OptionalForm(mut form): OptionalForm,
) -> Handled {
    let request = key.of(&form);
    let amounts = Limits {
        usd: form.optional("amount_usd", field::positive_usd),
        tokens: form.optional("amount_tokens", field::positive_tokens),
    };
    let reason = form.optional("reason", field::note);
    let to_wallet = form.optional("refund_wallet", field::flag).unwrap_or(true);
    let command = form.build(|| {
        Some(BudgetOf {
            end_user,
            command: RefundDebit {
                debit,
                amounts: Some(amounts).filter(|amounts| *amounts != Limits::default()),
                to_wallet,
                reason,
                request,
            },
        })
    })?;
    let performed = state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    with_entry(&performed)
}
