//! Calls of models: from a request with an accepted head to the gateway's stack, and back.

use assistiv_core::auth::PresentedKey;
use assistiv_core::{Call, Error, Gateway, Operation};
use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::time::Instant;
use tower::ServiceExt;

use super::problem::RequestId;
use super::response::ResponseBody;

/// Runs a call whose body has arrived.
pub(super) async fn call(
    gateway: &Gateway,
    operation: Operation,
    key: PresentedKey,
    body: Bytes,
    headers: HeaderMap,
    request_id: &RequestId,
) -> Result<Response<ResponseBody>, Error> {
    let call = Call {
        key,
        operation,
        body,
        headers,
        request_id: request_id.0.clone(),
        received_at: Instant::now(),
    };
    let response = match operation {
        Operation::CountTokens => gateway.token_counting().oneshot(call).await?,
        _ => gateway.inference().oneshot(call).await?,
    };
    Ok(response.map(ResponseBody::from))
}
