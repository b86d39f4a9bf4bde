//! Reads request bodies within limits.

use std::time::Duration;

use assistiv_core::Problem;
use assistiv_core::error::Reason;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Body;
use http_body_util::BodyExt;

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The largest body.
    pub bytes: usize,
    /// The longest time without another kibibyte.
    pub stall: Duration,
}

/// Bytes that must arrive within [`BodyLimits::stall`].
const PROGRESS: usize = 1024;

/// Checks the headers of a JSON body.
///
/// # Errors
/// `unsupported_media_type` for anything but plain `application/json`.
pub fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Problem::new(
            Reason::UNSUPPORTED_MEDIA_TYPE,
            "request bodies must not be encoded",
        ));
    }
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "the request body must be JSON, with the header `Content-Type: application/json`";
    Err(Problem::new(Reason::UNSUPPORTED_MEDIA_TYPE, message))
}

/// Reads a body to its end.
///
/// # Errors
/// `payload_too_large` as early as it is known, `request_timeout` when the body stops arriving, `invalid_request`
/// when it breaks.
pub async fn read<B>(body: B, limits: BodyLimits) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
{
    let too_large = || {
        let message = format!("the request body must not exceed {} bytes", limits.bytes);
        Problem::new(Reason::PAYLOAD_TOO_LARGE, message)
    };
    if body.size_hint().lower() > limits.bytes as u64 {
        return Err(too_large());
    }
    let mut body = std::pin::pin!(body);
    let mut read = BytesMut::new();
    let mut goal = PROGRESS;
    let mut deadline = tokio::time::Instant::now() + limits.stall;
    loop {
        let frame = tokio::time::timeout_at(deadline, body.frame())
            .await
            .map_err(|_| {
                Problem::new(Reason::REQUEST_TIMEOUT, "the request body stopped arriving")
            })?;
        let Some(frame) = frame else {
            return Ok(read.freeze());
        };
        let frame = frame.map_err(|_| {
            Problem::new(
                Reason::INVALID_REQUEST,
                "the request body broke off or was malformed",
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if read.len() + data.len() > limits.bytes {
            return Err(too_large());
        }
        if read.is_empty() && body.is_end_stream() {
            // The common case: all in one piece, which need not be copied.
            return Ok(data);
        }
        read.extend_from_slice(&data);
        if read.len() >= goal {
            goal = read.len() + PROGRESS;
            deadline = tokio::time::Instant::now() + limits.stall;
        }
    }
}
