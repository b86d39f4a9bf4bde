//! The HTTP edge: what every request passes, whatever it asks for.
//!
//! [`HttpService`] is the whole API as one tower service, usable inside any hyper or axum program. [`Server`]
//! is how the `assistiv-server` binary serves it: time limits, a cap on connections, an orderly stop.

pub mod body;
pub mod health;
pub mod problem;
pub mod serve;
pub mod service;

mod connection;
mod cors;
mod finish;
mod head;
mod inference;
mod intake;
mod io;
mod key;
mod log;
mod management;
pub(crate) mod metrics;
mod models;
mod response;
mod responses;
mod route;
mod tasks;

use std::net::SocketAddr;

pub use health::Readiness;
pub use response::{BodyAborted, ResponseBody};
pub use serve::{DrainOptions, Server, ServerOptions, Stopped};
pub use service::{HttpOptions, HttpService};

/// Who is at the other end of a request's connection: among the extensions of each request that [`Server`] reads.
/// Behind a proxy it is the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);
