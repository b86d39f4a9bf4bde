//! Platform wallets (`docs/api-design.md`).

pub(super) mod entry;

use assistiv_core::billing::{
    AdjustWallet, Performed, ReadWallet, TopUpWallet, UpdateWallet, Wallet,
};
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{PlatformId, WalletId};
use assistiv_core::money::NanoUsd;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use self::entry::EntryView;
use super::caller::{OnPlatform, OperatorOn};
use super::form::Form;
use super::idempotency::{IdempotencyKey, replayable};
use super::refusal::{Handled, Refusal};
use super::{ApiState, answer, field};

/// Entries shown with a wallet.
const RECENT: u32 = 5;

/// A wallet on the wire.
#[derive(Serialize)]
pub(super) struct WalletView<'a> {
    id: WalletId,
    platform_id: PlatformId,
    balance: NanoUsd,
    currency: &'a str,
    low_balance_threshold: Option<NanoUsd>,
    is_active: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct WithRecent<'a> {
    #[serde(flatten)]
    wallet: WalletView<'a>,
    recent_transactions: Vec<EntryView<'a>>,
}

#[derive(Serialize)]
struct WithEntry<'a> {
    #[serde(flatten)]
    wallet: WalletView<'a>,
    transaction: EntryView<'a>,
}

impl WalletView<'_> {
    /// Shows a wallet.
    pub(super) fn of(wallet: &Wallet) -> Self {
        Self {
            id: wallet.id,
            platform_id: wallet.platform_id,
            balance: wallet.balance,
            currency: "usd",
            low_balance_threshold: wallet.low_balance_threshold,
            is_active: wallet.is_active,
            created_at: wallet.created_at,
            updated_at: wallet.updated_at,
        }
    }
}

/// `GET …/wallet`
pub(super) async fn read(State(state): State<ApiState>, on: OnPlatform) -> Handled {
    let command = ReadWallet { recent: RECENT };
    let found = state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    let recent = found
        .recent
        .iter()
        .map(|(row, model)| EntryView::listed(row, model.as_deref()))
        .collect();
    answer::one(
        StatusCode::OK,
        WithRecent {
            wallet: WalletView::of(&found.wallet),
            recent_transactions: recent,
        },
    )
}

/// `PATCH …/wallet`
pub(super) async fn update(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut form: Form,
) -> Handled {
    let threshold = form.nullable("low_balance_threshold", field::usd);
    if threshold.is_none() {
        form.error(
            "low_balance_threshold",
            "is required: an amount, or null for none",
        );
    }
    let command = form.build(|| {
        Some(UpdateWallet {
            low_balance_threshold: threshold?,
        })
    })?;
    let performed = state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    let wallet = performed
        .outcome
        .wallet
        .ok_or_else(|| Refusal::internal("the outcome has no wallet"))?;
    answer::one(StatusCode::OK, WalletView::of(&wallet))
}

/// `POST …/wallet/topup`
pub(super) async fn top_up(
    State(state): State<ApiState>,
    on: OnPlatform,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.required_by(&state)?.of(&form);
    let amount = form.required("amount", field::positive_usd);
    let description = form.optional("description", field::note);
    let command = form.build(|| {
        Some(TopUpWallet {
            amount: amount?,
            description,
            request,
        })
    })?;
    let performed = state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    with_entry(&performed)
}

/// `POST /v1/admin/platforms/{platform_id}/wallet/adjust`
pub(super) async fn adjust(
    State(state): State<ApiState>,
    OperatorOn(on): OperatorOn,
    key: IdempotencyKey,
    mut form: Form,
) -> Handled {
    let request = key.of(&form);
    let amount = form.required("amount", field::signed_usd);
    let reason = form.required("reason", field::said);
    let command = form.build(|| {
        Some(AdjustWallet {
            platform: on.platform,
            amount: amount?,
            reason: reason?,
            request,
        })
    })?;
    let performed = state
        .gateway
        .wallets()
        .run(&on.principal, (), command)
        .await?;
    with_entry(&performed)
}

fn with_entry(performed: &Performed) -> Handled {
    let outcome = &performed.outcome;
    let (Some(wallet), Some(entry)) = (&outcome.wallet, outcome.entries.first()) else {
        return Err(Refusal::internal("the outcome has no wallet or no entry"));
    };
    let view = WithEntry {
        wallet: WalletView::of(wallet),
        transaction: EntryView::posted(entry),
    };
    replayable(answer::one(StatusCode::OK, view)?, performed.replayed)
}
