//! What callers see, what the provider sees and what is charged, for every way in which a call can end: a whole
//! server in this process, a mock provider, and real connections on both sides.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests and their helpers"
)]

mod charge;
mod claude;
mod client;
mod clients;
mod display;
mod embeddings;
mod failover;
mod fault_table;
mod gemini;
mod gpt;
mod hygiene;
mod logs;
mod messages;
mod metrics;
mod model_routes;
mod money;
mod provider_faults;
mod quotes;
mod rate_limits;
mod refusals;
mod responses;
mod server;
mod streams;
mod webhooks;
mod world;
