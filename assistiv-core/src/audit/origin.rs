//! Where a change was asked for. It travels beside the command and not within it: scopes are small values that stores
//! copy, and no rule depends on it.

use std::net::IpAddr;
use std::sync::Arc;

/// The request behind a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its id.
    pub request_id: Option<Arc<str>>,
    /// The part of the key that may be shown.
    pub key_prefix: Option<Arc<str>>,
    /// Where it came from.
    pub ip: Option<IpAddr>,
}

tokio::task_local! {
    static ORIGIN: Arc<Origin>;
}

/// Runs a command with its origin known to what it writes.
pub(crate) async fn with_origin<T>(
    origin: Option<Arc<Origin>>,
    command: impl Future<Output = T>,
) -> T {
    match origin {
        Some(origin) => ORIGIN.scope(origin, command).await,
        None => command.await,
    }
}

/// The origin of the command that runs, if one is known.
pub(super) fn current() -> Origin {
    ORIGIN
        .try_with(|origin| (**origin).clone())
        .unwrap_or_default()
}
