//! Errors of the gateway, and the one place that maps them to HTTP.
//!
//! Each room has its own typed error; [`Error`] gathers them. What a caller may read is the [`Problem`] made
//! from it: a status, a stable reason, and a message that names the way out. Causes stay in `source()` and go
//! to the log only.

mod messages;
mod problem;
mod reason;

pub use problem::{FieldError, Problem};
pub use reason::{ErrorType, Reason};

use crate::auth::AuthError;
use crate::billing::FundError;
use crate::call::RequestError;
use crate::command::CommandError;
use crate::limits::RateLimited;
use crate::provider::ProviderError;
use crate::responses::ResponseError;
use crate::routing::PlanError;
use crate::store::StoreError;

/// Why a call was refused or failed, in the gateway's own terms.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller is not who it says, or may not do this.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The request cannot be read.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// There is no way to serve the model.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A rate limit stands against it.
    #[error(transparent)]
    RateLimited(#[from] Box<RateLimited>),
    /// Wallet or budget cannot pay.
    #[error(transparent)]
    Fund(#[from] FundError),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// A response cannot be read or continued.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// A management command was refused.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// More calls are running than this node takes.
    #[error("the gateway is at its limit of concurrent calls, try again in a moment")]
    Overloaded,
    /// The node is shutting down.
    #[error("the gateway is shutting down")]
    Draining,
}
