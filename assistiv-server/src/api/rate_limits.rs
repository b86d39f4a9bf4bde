//! Rate limits (`docs/rate-limits.md`).

use assistiv_core::limits::{
    EffectiveRateLimits, OwnRateLimits, PlatformRateLimitChanges, PlatformRateLimits, RateLimits,
    ReadEndUserRateLimits, ReadRateLimits, RemoveEndUserRateLimits, Resolution,
    SetEndUserRateLimits, UpdateRateLimits,
};
use assistiv_core::tenancy::EndUserRef;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::caller::{OnPlatform, OwnUser};
use super::field::{self, Read};
use super::form::Form;
use super::path::Named;
use super::refusal::Handled;
use super::{ApiState, answer};

/// The largest limit.
const LIMIT_MAX: i64 = 1_000_000_000_000;

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Limits {
    rpm_limit: Option<u64>,
    tpm_limit: Option<u64>,
    rpd_limit: Option<u64>,
}

#[derive(Serialize)]
struct EffectiveView {
    #[serde(flatten)]
    limits: Limits,
    resolution: Resolution,
}

#[derive(Serialize)]
struct PlatformView {
    default: Option<Limits>,
    aggregate: Option<Limits>,
}

/// `GET …/rate-limits`
pub(super) async fn read(State(state): State<ApiState>, on: OnPlatform) -> Handled {
    let limits = state.gateway.rate_limits();
    let set = limits
        .run(&on.principal, on.platform, ReadRateLimits)
        .await?;
    answer::one(StatusCode::OK, PlatformView::from(set))
}

/// `PUT …/rate-limits`
pub(super) async fn update(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut form: Form,
) -> Handled {
    let default = form.nullable("default", limits);
    let aggregate = form.nullable("aggregate", limits);
    if default.is_none() && aggregate.is_none() {
        form.error("default", "or `aggregate` is required");
    }
    let command = form.build(|| {
        Some(UpdateRateLimits(PlatformRateLimitChanges {
            default,
            aggregate,
        }))
    })?;
    let limits = state.gateway.rate_limits();
    let set = limits.run(&on.principal, on.platform, command).await?;
    answer::one(StatusCode::OK, PlatformView::from(set))
}

/// `GET …/end-users/{endUserId}/rate-limits`
pub(super) async fn read_of_end_user(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(who): Named<EndUserRef>,
) -> Handled {
    let limits = state.gateway.rate_limits();
    let effective = limits
        .run(&on.principal, on.platform, ReadEndUserRateLimits(who))
        .await?;
    answer::one(StatusCode::OK, EffectiveView::from(effective))
}

/// `PUT …/end-users/{endUserId}/rate-limits`
pub(super) async fn set_of_end_user(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    mut form: Form,
) -> Handled {
    let mut limit = |name| form.optional(name, limit);
    let limits = RateLimits {
        rpm: limit("rpm_limit"),
        tpm: limit("tpm_limit"),
        rpd: limit("rpd_limit"),
    };
    let command = form.build(|| Some(SetEndUserRateLimits { end_user, limits }))?;
    let limits = state.gateway.rate_limits();
    let effective = limits.run(&on.principal, on.platform, command).await?;
    answer::one(StatusCode::OK, EffectiveView::from(effective))
}

/// `DELETE …/end-users/{endUserId}/rate-limits`
pub(super) async fn remove_of_end_user(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(who): Named<EndUserRef>,
) -> Handled {
    let limits = state.gateway.rate_limits();
    limits
        .run(&on.principal, on.platform, RemoveEndUserRateLimits(who))
        .await?;
    answer::none()
}

/// `GET /v1/me/rate-limits`
pub(super) async fn own(State(state): State<ApiState>, OwnUser(principal): OwnUser) -> Handled {
    let limits = state.gateway.rate_limits();
    let effective = limits.run(&principal, (), OwnRateLimits).await?;
    answer::one(StatusCode::OK, EffectiveView::from(effective))
}

fn limit(json: &str) -> Read<u64> {
    field::integer(0, LIMIT_MAX)(json).map(i64::unsigned_abs)
}

fn limits(json: &str) -> Read<RateLimits> {
    let limits: Option<Limits> = serde_json::from_str(json).ok();
    let limits = limits.map(RateLimits::from).filter(|limits| {
        let all = [limits.rpm, limits.tpm, limits.rpd];
        all.into_iter()
            .flatten()
            .all(|limit| limit <= LIMIT_MAX.unsigned_abs())
    });
    limits.ok_or_else(|| {
        format!(
            "must be an object of `rpm_limit`, `tpm_limit` and `rpd_limit`, each an integer of 0 to \
             {LIMIT_MAX} or null; or null for none"
        )
    })
}

// === impl Limits ===

impl From<RateLimits> for Limits {
    fn from(limits: RateLimits) -> Self {
        Self {
            rpm_limit: limits.rpm,
            tpm_limit: limits.tpm,
            rpd_limit: limits.rpd,
        }
    }
}

impl From<Limits> for RateLimits {
    fn from(limits: Limits) -> Self {
        Self {
            rpm: limits.rpm_limit,
            tpm: limits.tpm_limit,
            rpd: limits.rpd_limit,
        }
    }
}

impl From<EffectiveRateLimits> for EffectiveView {
    fn from(effective: EffectiveRateLimits) -> Self {
        Self {
            limits: effective.limits.into(),
            resolution: effective.resolution,
        }
    }
}

impl From<PlatformRateLimits> for PlatformView {
    fn from(set: PlatformRateLimits) -> Self {
        Self {
            default: set.default.map(Limits::from),
            aggregate: set.aggregate.map(Limits::from),
        }
    }
}
