//! End users' display ledgers: `…/end-users/{endUserId}/wallet` (`docs/api-design.md`).

use assistiv_core::billing::{
    AdjustDisplay, BudgetOf, DisplayRule, EndUserLedgers, ReadEndUserWallet, RemoveDisplay,
    SetDisplay, TopUpDisplay,
};
use assistiv_core::id::{BudgetId, EndUserId};
use assistiv_core::money::{DisplayUnits, NanoUsd, Tokens};
use assistiv_core::tenancy::EndUserRef;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::caller::OnPlatform;
use super::form::Form;
use super::idempotency::{IdempotencyKey, replayable};
use super::path::Named;
use super::refusal::Handled;
use super::{ApiState, answer, field};

#[derive(Serialize)]
struct WalletView<'a> {
    end_user_id: EndUserId,
    budget_id: BudgetId,
    usd_ledger: UsdLedger,
    token_ledger: Option<TokenLedger>,
    display_ledger: Option<DisplayLedger<'a>>,
}

#[derive(Serialize)]
struct UsdLedger {
    max_usd: Option<NanoUsd>,
    used_usd: NanoUsd,
    remaining_usd: Option<NanoUsd>,
    is_active: bool,
    is_suspended: bool,
}

#[derive(Serialize)]
struct TokenLedger {
    max_tokens: Tokens,
    used_tokens: Tokens,
    remaining_tokens: Option<Tokens>,
}

#[derive(Serialize)]
struct DisplayLedger<'a> {
    unit: &'a str,
    max: DisplayUnits,
    used: DisplayUnits,
    remaining: Option<DisplayUnits>,
    active_rules: &'a [DisplayRule],
}

impl<'a> WalletView<'a> {
    fn of(ledgers: &'a EndUserLedgers) -> Self {
        let budget = &ledgers.budget;
        Self {
            end_user_id: budget.end_user_id,
            budget_id: budget.id,
            usd_ledger: UsdLedger {
                max_usd: budget.terms.limits.usd,
                used_usd: budget.used_usd,
                remaining_usd: budget.remaining_usd(),
                is_active: budget.is_active,
                is_suspended: budget.is_suspended,
            },
            token_ledger: budget.terms.limits.tokens.map(|max_tokens| TokenLedger {
                max_tokens,
                used_tokens: budget.used_tokens,
                remaining_tokens: budget.remaining_tokens(),
            }),
            display_ledger: budget.max_display.map(|max| DisplayLedger {
                unit: &ledgers.settings.unit,
                max,
                used: budget.used_display,
                remaining: budget.remaining_display(),
                active_rules: &ledgers.settings.rules,
            }),
        }
    }
}

/// `GET …/wallet`
pub(super) async fn read(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
) -> Handled {
    let command = BudgetOf {
        end_user,
        command: ReadEndUserWallet,
    };
    let wallets = state.gateway.wallets();
    let ledgers = wallets.run(&on.principal, on.platform, command).await?;
    answer::one(StatusCode::OK, WalletView::of(&ledgers))
}

/// `PUT …/wallet`
pub(super) async fn set(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.of(&form);
    let max = form.required("max", field::display);
    let used = form.optional("used", field::display);
    let reason = form.optional("reason", field::note);
    let command = form.build(|| {
        Some(BudgetOf {
            end_user,
            command: SetDisplay {
                max: max?,
                used,
                reason,
                request,
            },
        })
    })?;
    let wallets = state.gateway.wallets();
    let ledgers = wallets.run(&on.principal, on.platform, command).await?;
    changed(&ledgers)
}

/// `POST …/wallet/topup`
pub(super) async fn top_up(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.required_by(&state)?.of(&form);
    let amount = form.required("amount", field::positive_display);
    let reason = form.optional("reason", field::note);
    let metadata = form
        .optional("metadata", field::entry_metadata)
        .unwrap_or_default();
    let command = form.build(|| {
        Some(BudgetOf {
            end_user,
            command: TopUpDisplay {
                amount: amount?,
                reason,
                metadata,
                request,
            },
        })
    })?;
    let wallets = state.gateway.wallets();
    let ledgers = wallets.run(&on.principal, on.platform, command).await?;
    changed(&ledgers)
}

/// `POST …/wallet/adjust`
pub(super) async fn adjust(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.of(&form);
    let amount = form.required("amount", field::signed_display);
    let reason = form.optional("reason", field::note);
    let metadata = form
        .optional("metadata", field::entry_metadata)
        .unwrap_or_default();
    let command = form.build(|| {
        Some(BudgetOf {
            end_user,
            command: AdjustDisplay {
                amount: amount?,
                reason,
                metadata,
                request,
            },
        })
    })?;
    let wallets = state.gateway.wallets();
    let ledgers = wallets.run(&on.principal, on.platform, command).await?;
    changed(&ledgers)
}

/// `DELETE …/wallet`
pub(super) async fn remove(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
) -> Handled {
    let command = BudgetOf {
        end_user,
        command: RemoveDisplay::default(),
    };
    let wallets = state.gateway.wallets();
    wallets.run(&on.principal, on.platform, command).await?;
    answer::none()
}

fn changed(ledgers: &EndUserLedgers) -> Handled {
    let response = answer::one(StatusCode::OK, WalletView::of(ledgers))?;
    replayable(response, ledgers.replayed)
}
