//! What a path names below its platform.

use std::str::FromStr;

use assistiv_core::error::Reason;
use assistiv_core::id::{DeliveryId, EntryId, KeyId, LlmConfigId, LogId, WebhookId};
use assistiv_core::tenancy::EndUserRef;
use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use super::ApiState;
use super::refusal::Refusal;

/// The object of kind `T` that the path names; it need not exist.
pub(super) struct Named<T>(pub(super) T);

/// Something that a path can name. Text that names nothing is answered as an unknown object is.
pub(super) trait PathName: Sized {
    /// The parameter of the route.
    const PARAM: &'static str;
    /// Why a request is refused when there is no such object.
    const REASON: Reason;
    /// What the object is, for people.
    const WHAT: &'static str;

    /// Reads the segment.
    fn parse(segment: &str) -> Option<Self>;
}

impl PathName for EndUserRef {
    const PARAM: &'static str = "end_user_id";
    const REASON: Reason = Reason::END_USER_NOT_FOUND;
    const WHAT: &'static str = "end user";

    fn parse(segment: &str) -> Option<Self> {
        match segment.strip_prefix("external:") {
            Some(external) => Some(Self::External(external.to_owned())),
            None => segment.parse().ok().map(Self::Id),
        }
    }
}

impl PathName for KeyId {
    const PARAM: &'static str = "key_id";
    const REASON: Reason = Reason::API_KEY_NOT_FOUND;
    const WHAT: &'static str = "API key";

    fn parse(segment: &str) -> Option<Self> {
        Self::from_str(segment).ok()
    }
}

impl PathName for LlmConfigId {
    const PARAM: &'static str = "config_id";
    const REASON: Reason = Reason::LLM_CONFIG_NOT_FOUND;
    const WHAT: &'static str = "LLM config";

    fn parse(segment: &str) -> Option<Self> {
        Self::from_str(segment).ok()
    }
}

impl PathName for WebhookId {
    const PARAM: &'static str = "webhook_id";
    const REASON: Reason = Reason::WEBHOOK_NOT_FOUND;
    const WHAT: &'static str = "webhook";

    fn parse(segment: &str) -> Option<Self> {
        Self::from_str(segment).ok()
    }
}

impl PathName for DeliveryId {
    const PARAM: &'static str = "delivery_id";
    const REASON: Reason = Reason::WEBHOOK_NOT_FOUND;
    const WHAT: &'static str = "delivery of this webhook";

    fn parse(segment: &str) -> Option<Self> {
        Self::from_str(segment).ok()
    }
}

impl PathName for EntryId {
    const PARAM: &'static str = "transaction_id";
    const REASON: Reason = Reason::TRANSACTION_NOT_FOUND;
    const WHAT: &'static str = "transaction";

    fn parse(segment: &str) -> Option<Self> {
        Self::from_str(segment).ok()
    }
}

/// A row of the request log.
pub(super) struct LogRef(pub(super) LogId);

impl PathName for LogRef {
    const PARAM: &'static str = "log_id";
    const REASON: Reason = Reason::NOT_FOUND;
    const WHAT: &'static str = "log row";

    fn parse(segment: &str) -> Option<Self> {
        segment.parse().ok().map(Self)
    }
}

impl<T: PathName> FromRequestParts<ApiState> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Refusal> {
        let named = segment(parts, T::PARAM)
            .await
            .and_then(|segment| T::parse(&segment))
            .map(Self);
        named.ok_or_else(|| {
            Refusal::new(
                T::REASON,
                format!("there is no such {} on this platform", T::WHAT),
            )
        })
    }
}

/// The percent-decoded value of a route's parameter; `None` when the path is not UTF-8.
pub(super) async fn segment(parts: &mut Parts, param: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    params
        .iter()
        .find(|(name, _)| *name == param)
        .map(|(_, value)| value.to_owned())
}
