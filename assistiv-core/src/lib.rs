//! The assistiv gateway as a library.
//!
//! A multi-tenant AI gateway: platforms (tenants) with their own provider keys, end users with budgets, a USD
//! wallet that is charged exactly once for each call, and OpenAI-compatible inference as a stack of tower
//! services whose request type changes at each layer:
//!
//! ```text
//! Call → Authenticated → Planned → Planned → Funded → Response
//!   Authenticate   Plan      Admit     Fund    Dispatch
//! ```
//!
//! Start with [`gateway::Gateway::builder`]. An adapter for another provider implements [`provider::Provider`];
//! a storage backend implements the traits in [`store`] and proves itself with the conformance suite in
//! `testing` (feature `testing`).
//!
//! # Features
//! None by default. `sqlite` adds the SQL backend on SQLite; `testing` exports the conformance suites.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod admit;
pub mod audit;
pub mod auth;
pub mod billing;
pub mod call;
pub mod clock;
pub mod command;
pub mod conversation;
pub mod dispatch;
pub mod doctor;
pub mod error;
pub mod events;
pub mod gateway;
pub mod id;
pub mod json;
pub mod keys;
pub mod limits;
pub mod llm_configs;
pub mod logs;
mod metrics;
pub mod model_routes;
pub mod money;
pub mod prices;
pub mod provider;
pub mod quotes;
pub mod recon;
pub mod responses;
mod revisions;
pub mod routing;
mod runtime;
pub mod secrets;
pub mod store;
pub mod tenancy;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod webhooks;

pub use call::{Call, Operation};
pub use error::{Error, Problem};
pub use gateway::{Gateway, GatewayBuilder};
