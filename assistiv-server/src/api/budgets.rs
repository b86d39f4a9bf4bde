//! End users' budgets (`docs/api-design.md`).

pub(super) mod entry;
mod refund;

pub(super) use self::refund::refund;

use assistiv_core::billing::{
    Budget, BudgetChanges, BudgetOf, BudgetTerms, CreateBudget, DebitBudget, Limits, Performed,
    Period, ReadBudget, RemoveBudget, TopUpBudget, UpdateBudget, ZoneName,
};
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{BudgetId, EndUserId, PlatformId};
use assistiv_core::money::{NanoUsd, Tokens};
use assistiv_core::tenancy::EndUserRef;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use self::entry::EntryView;
use super::caller::OnPlatform;
use super::form::Form;
use super::idempotency::{IdempotencyKey, replayable};
use super::path::Named;
use super::refusal::{Handled, Refusal};
use super::{ApiState, answer, field};

/// The fields of `PATCH …/budget` of which at least one must be sent.
const CHANGEABLE: [&str; 11] = [
    "is_suspended",
    "is_active",
    "max_usd",
    "max_tokens",
    "period",
    "timezone",
    "auto_replenish",
    "replenish_amount",
    "replenish_tokens",
    "low_balance_threshold",
    "low_balance_threshold_tokens",
];

/// A budget on the wire, for its platform.
#[derive(Serialize)]
pub(super) struct BudgetView<'a> {
    id: BudgetId,
    platform_id: PlatformId,
    end_user_id: EndUserId,
    max_usd: Option<NanoUsd>,
    used_usd: NanoUsd,
    remaining_usd: Option<NanoUsd>,
    max_tokens: Option<Tokens>,
    used_tokens: Tokens,
    remaining_tokens: Option<Tokens>,
    period: Period,
    timezone: &'a ZoneName,
    period_start: Timestamp,
    period_end: Option<Timestamp>,
    auto_replenish: bool,
    replenish_amount: Option<NanoUsd>,
    replenish_tokens: Option<Tokens>,
    low_balance_threshold: Option<NanoUsd>,
    low_balance_threshold_tokens: Option<Tokens>,
    is_active: bool,
    is_suspended: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct WithEntry<'a> {
    #[serde(flatten)]
    budget: BudgetView<'a>,
    transaction: EntryView<'a>,
}

#[derive(Serialize)]
struct WithEntries<'a> {
    #[serde(flatten)]
    budget: BudgetView<'a>,
    transactions: Vec<EntryView<'a>>,
}

impl<'a> BudgetView<'a> {
    /// Shows a budget.
    pub(super) fn of(budget: &'a Budget) -> Self {
        let terms = &budget.terms;
        Self {
            id: budget.id,
            platform_id: budget.platform_id,
            end_user_id: budget.end_user_id,
            max_usd: terms.limits.usd,
            used_usd: budget.used_usd,
            remaining_usd: budget.remaining_usd(),
            max_tokens: terms.limits.tokens,
            used_tokens: budget.used_tokens,
            remaining_tokens: budget.remaining_tokens(),
            period: terms.period,
            timezone: &terms.timezone,
            period_start: budget.period_start,
            period_end: budget.period_end,
            auto_replenish: terms.auto_replenish,
            replenish_amount: terms.replenish.usd,
            replenish_tokens: terms.replenish.tokens,
            low_balance_threshold: terms.low_balance.usd,
            low_balance_threshold_tokens: terms.low_balance.tokens,
            is_active: budget.is_active,
            is_suspended: budget.is_suspended,
            created_at: budget.created_at,
            updated_at: budget.updated_at,
        }
    }
}

/// `POST …/budget`
pub(super) async fn create(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    mut form: Form,
) -> Handled {
    let terms = BudgetTerms {
        limits: Limits {
            usd: form.optional("max_usd", field::positive_usd),
            tokens: form.optional("max_tokens", field::positive_tokens),
        },
        period: form.optional("period", field::period).unwrap_or_default(),
        timezone: form.optional("timezone", field::parsed).unwrap_or_default(),
        auto_replenish: form
            .optional("auto_replenish", field::flag)
            .unwrap_or(false),
        replenish: Limits {
            usd: form.optional("replenish_amount", field::positive_usd),
            tokens: form.optional("replenish_tokens", field::positive_tokens),
        },
        low_balance: Limits {
            usd: form.optional("low_balance_threshold", field::usd),
            tokens: form.optional("low_balance_threshold_tokens", field::tokens),
        },
    };
    let command = form.build(|| {
        Some(BudgetOf {
            end_user,
            command: CreateBudget { terms },
        })
    })?;
    let budget = state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::one(StatusCode::CREATED, BudgetView::of(&budget))
}

/// `GET …/budget`
pub(super) async fn read(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
) -> Handled {
    let command = BudgetOf {
        end_user,
        command: ReadBudget,
    };
    let budget = state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::one(StatusCode::OK, BudgetView::of(&budget))
}

/// `PATCH …/budget`
pub(super) async fn update(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.of(&form);
    if !form.has_any(&CHANGEABLE) {
        form.error("body", "must contain at least one field of the budget");
    }
    let changes = BudgetChanges {
        is_suspended: form.change("is_suspended", field::flag),
        is_active: form.change("is_active", field::flag),
        max_usd: form.nullable("max_usd", field::usd),
        max_tokens: form.nullable("max_tokens", field::tokens),
        period: form.change("period", field::period),
        timezone: form.change("timezone", field::parsed),
        auto_replenish: form.change("auto_replenish", field::flag),
        replenish_usd: form.nullable("replenish_amount", field::positive_usd),
        replenish_tokens: form.nullable("replenish_tokens", field::positive_tokens),
        threshold_usd: form.nullable("low_balance_threshold", field::usd),
        threshold_tokens: form.nullable("low_balance_threshold_tokens", field::tokens),
    };
    let reason = form.optional("reason", field::note);
    let metadata = form
        .optional("metadata", field::entry_metadata)
        .unwrap_or_default();
    let command = form.build(|| {
        Some(BudgetOf {
            end_user,
            command: UpdateBudget {
                changes,
                reason,
                metadata,
                request,
            },
        })
    })?;
    let performed = state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    let budget = budget_of(&performed)?;
    let transactions = EntryView::all(&performed.outcome.entries, budget);
    let view = WithEntries {
        budget: BudgetView::of(budget),
        transactions,
    };
    replayable(answer::one(StatusCode::OK, view)?, performed.replayed)
}

/// `DELETE …/budget`
pub(super) async fn remove(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
) -> Handled {
    let command = BudgetOf {
        end_user,
        command: RemoveBudget,
    };
    state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::none()
}

/// `POST …/budget/topup`
pub(super) async fn top_up(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.required_by(&state)?.of(&form);
    let amounts = amounts(&mut form);
    let reason = form.optional("reason", field::note);
    let metadata = form
        .optional("metadata", field::entry_metadata)
        .unwrap_or_default();
    let command = form.build(|| {
        Some(BudgetOf {
            end_user,
            command: TopUpBudget {
                amounts,
                reason,
                metadata,
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

/// `POST …/budget/debit`
pub(super) async fn debit(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.required_by(&state)?.of(&form);
    let amounts = amounts(&mut form);
    let reason = form.optional("reason", field::note);
    let metadata = form
        .optional("metadata", field::entry_metadata)
        .unwrap_or_default();
    let command = form.build(|| {
        Some(BudgetOf {
            end_user,
            command: DebitBudget {
                amounts,
                reason,
                metadata,
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

/// The amounts of a top-up or debit, of which at least one must be there. `amount` is another name of `amount_usd`.
fn amounts(form: &mut Form) -> Limits {
    if !form.has_any(&["amount_usd", "amount", "amount_tokens"]) {
        form.error("amount_usd", "is required, or `amount_tokens`");
    }
    let usd = form.optional("amount_usd", field::positive_usd);
    let alias = form.optional("amount", field::positive_usd);
    if usd.is_some() && alias.is_some() && usd != alias {
        form.error(
            "amount",
            "is another name of `amount_usd` and must not differ from it",
        );
    }
    Limits {
        usd: usd.or(alias),
        tokens: form.optional("amount_tokens", field::positive_tokens),
    }
}

fn with_entry(performed: &Performed) -> Handled {
    let budget = budget_of(performed)?;
    let entry = EntryView::all(&performed.outcome.entries, budget).pop();
    let transaction = entry.ok_or_else(|| Refusal::internal("the outcome has no entry"))?;
    let view = WithEntry {
        budget: BudgetView::of(budget),
        transaction,
    };
    replayable(answer::one(StatusCode::OK, view)?, performed.replayed)
}

fn budget_of(performed: &Performed) -> Result<&Budget, Refusal> {
    performed
        .outcome
        .budget
        .as_ref()
        .ok_or_else(|| Refusal::internal("the outcome has no budget"))
}
