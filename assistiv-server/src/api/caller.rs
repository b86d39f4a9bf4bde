//! Who asks: extractors that prove an authority before anything else of a request is looked at.

use assistiv_core::audit::Origin;
use assistiv_core::auth::{AuthError, KeyKind, KeyScope, PresentedKey, Principal};
use assistiv_core::error::Reason;
use assistiv_core::id::PlatformId;
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::ApiState;
use super::path;
use super::refusal::Refusal;
use crate::http::Peer;
use crate::http::problem::RequestId;

const PLATFORM_HEADER: &str = "x-assistiv-platform-id";

/// A caller with authority over the platform that the path names.
pub(super) struct OnPlatform {
    /// Who.
    pub(super) principal: Principal,
    /// Over which platform; it need not exist.
    pub(super) platform: PlatformId,
}

/// Whoever has a key; what is asked says what the key must be.
pub(super) struct Caller(pub(super) Principal);

/// Whoever belongs to the platform that the path names: one of its keys, an end user's, or an operator.
pub(super) struct Member;

/// A platform or an end user that may make calls.
pub(super) struct Holder;

/// An end user that may make calls.
pub(super) struct OwnCaller;

/// An operator.
pub(super) struct Operator(pub(super) Principal);

/// An operator on a path that names a platform.
pub(super) struct OperatorOn(pub(super) OnPlatform);

/// An operator, or a platform key for its own platform.
pub(super) struct Manager(pub(super) Principal);

/// An end user, for its own things.
pub(super) struct OwnUser(pub(super) Principal);

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let principal = authenticate(parts, state).await?;
        check_header(&parts.headers, &principal, None)?;
        Ok(Self(principal))
    }
}

impl FromRequestParts<ApiState> for Member {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let principal = authenticate(parts, state).await?;
        let text = path::segment(parts, "platform_id").await;
        match own_platform(&principal).map(|id| id.to_string()) {
            None => principal.operate().map(drop)?,
            own if own == text => {}
            Some(_) => return Err(AuthError::OtherPlatform.into()),
        }
        check_header(&parts.headers, &principal, text.as_deref())?;
        Ok(Self)
    }
}

impl FromRequestParts<ApiState> for Holder {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let Caller(principal) = Caller::from_request_parts(parts, state).await?;
        may_call(&principal, |kind| kind != KeyKind::Operator)?;
        Ok(Self)
    }
}

impl FromRequestParts<ApiState> for OwnCaller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let Caller(principal) = Caller::from_request_parts(parts, state).await?;
        may_call(&principal, |kind| kind == KeyKind::EndUser)?;
        Ok(Self)
    }
}

impl FromRequestParts<ApiState> for OnPlatform {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let principal = authenticate(parts, state).await?;
        on_platform(parts, principal).await
    }
}

impl FromRequestParts<ApiState> for OperatorOn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let principal = authenticate(parts, state).await?;
        principal.operate()?;
        on_platform(parts, principal).await.map(Self)
    }
}

impl FromRequestParts<ApiState> for Operator {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let principal = authenticate(parts, state).await?;
        principal.operate()?;
        Ok(Self(principal))
    }
}

impl FromRequestParts<ApiState> for Manager {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let principal = authenticate(parts, state).await?;
        match own_platform(&principal) {
            Some(platform) => principal.manage(platform).map(drop)?,
            None => principal.operate().map(drop)?,
        }
        check_header(&parts.headers, &principal, None)?;
        Ok(Self(principal))
    }
}

impl FromRequestParts<ApiState> for OwnUser {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Refusal> {
        let principal = authenticate(parts, state).await?;
        principal.own()?;
        check_header(&parts.headers, &principal, None)?;
        Ok(Self(principal))
    }
}

fn may_call(principal: &Principal, fits: impl Fn(KeyKind) -> bool) -> Result<(), AuthError> {
    let identity = principal.identity().ok_or(AuthError::MissingKey)?;
    if !fits(identity.kind()) {
        return Err(AuthError::WrongKeyType {
            wanted: match fits(KeyKind::Platform) {
                true => "an end-user or platform key",
                false => "an end-user key",
            },
            presented: identity.kind().described(),
        });
    }
    if identity
        .scopes()
        .allow(identity.kind(), KeyScope::Inference)
    {
        Ok(())
    } else {
        Err(AuthError::InsufficientScope {
            required: KeyScope::Inference,
        })
    }
}

async fn authenticate(parts: &Parts, state: &ApiState) -> Result<Principal, Refusal> {
    let key = presented(&parts.headers)?;
    let principal = state.gateway.principal(&key).await?;
    Ok(principal.asking(Origin {
        request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
        key_prefix: Some(key.shown_prefix().into()),
        ip: parts.extensions.get::<Peer>().map(|peer| peer.0.ip()),
    }))
}

/// The key of a request. Keys in query strings, cookies or other headers are not looked for.
fn presented(headers: &HeaderMap) -> Result<PresentedKey, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::MissingKey)?;
    if values.next().is_some() {
        return Err(AuthError::InvalidKey);
    }
    let (scheme, key) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or(AuthError::MissingKey)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::MissingKey);
    }
    key.trim().parse().map_err(|_| AuthError::InvalidKey)
}

async fn on_platform(parts: &mut Parts, principal: Principal) -> Result<OnPlatform, Refusal> {
    let text = path::segment(parts, "platform_id").await;
    // Text that is no id names a platform that nobody has: a platform key is told what any other platform
    // would tell it, and an operator what an unknown one would.
    let named = text.as_deref().and_then(|text| text.parse().ok());
    let platform = match named {
        Some(platform) => platform,
        None if text.is_none() => own_platform(&principal).unwrap_or_else(PlatformId::new),
        None => PlatformId::new(),
    };
    principal.manage(platform)?;
    check_header(&parts.headers, &principal, text.as_deref())?;
    match named {
        Some(platform) => Ok(OnPlatform {
            principal,
            platform,
        }),
        None => Err(Refusal::new(Reason::NOT_FOUND, "no such object")),
    }
}

/// `X-Assistiv-Platform-Id` chooses nothing that key and path have not chosen, but it must not contradict them.
fn check_header(
    headers: &HeaderMap,
    principal: &Principal,
    path: Option<&str>,
) -> Result<(), AuthError> {
    let own = own_platform(principal).map(|id| id.to_string());
    for value in headers.get_all(PLATFORM_HEADER) {
        let differs = |id: &str| value.as_bytes() != id.as_bytes();
        if own.as_deref().is_some_and(differs) {
            return Err(AuthError::OtherPlatform);
        }
        if path.is_some_and(differs) {
            return Err(AuthError::PlatformMismatch);
        }
    }
    Ok(())
}

fn own_platform(principal: &Principal) -> Option<PlatformId> {
    principal
        .identity()
        .and_then(|identity| identity.platform_id())
}
