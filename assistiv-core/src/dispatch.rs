//! Sends a funded call to its targets and meters the answer: `Funded → Response`.
//!
//! The answer is held back until its first frame: providers answer 200 and then put an error into the stream, and
//! up to there another target may be tried for free. After the first byte to the caller there is no other try, and
//! none either once a provider has begun an answer in one piece: it may bill what it sent.

mod attempts;
mod body;
mod counting;
mod exchange;
mod failure;
mod memories;
mod service;
mod streaming;

pub use body::{BodyError, CallBody};
pub use counting::CountTokens;
pub use service::{Dispatch, DispatchOptions};

use http::HeaderName;

/// The id of the call's log row and charge.
pub const LOG_ID: HeaderName = HeaderName::from_static("x-assistiv-log-id");
/// The provider that answered.
pub const PROVIDER: HeaderName = HeaderName::from_static("x-assistiv-provider");
/// Microseconds spent in the gateway itself.
pub const OVERHEAD_US: HeaderName = HeaderName::from_static("x-assistiv-overhead-us");
/// The output limit sent upstream, when it was lowered to what can be paid.
pub const MAX_TOKENS: HeaderName = HeaderName::from_static("x-assistiv-max-tokens");
/// What the provider charges; platform keys only, not in streams.
pub const COST_USD: HeaderName = HeaderName::from_static("x-assistiv-cost-usd");
/// Parameters that were left out, since the model does not take them.
pub const DROPPED_PARAMS: HeaderName = HeaderName::from_static("x-assistiv-dropped-params");
/// How the tokens of a prompt were counted: `reported` by the provider, or `estimated`.
pub const TOKEN_COUNT_METHOD: HeaderName = HeaderName::from_static("x-assistiv-token-count-method");
