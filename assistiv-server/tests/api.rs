//! The management API through its router, on every store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "api/access.rs"]
mod access;
#[path = "api/audit.rs"]
mod audit;
#[path = "api/budgets.rs"]
mod budgets;
#[path = "api/catalogue.rs"]
mod catalogue;
#[path = "api/described.rs"]
mod described;
#[path = "api/doubt.rs"]
mod doubt;
#[path = "api/end_users.rs"]
mod end_users;
#[path = "api/idempotency.rs"]
mod idempotency;
#[path = "api/isolation.rs"]
mod isolation;
#[path = "api/keys.rs"]
mod keys;
#[path = "api/llm_configs.rs"]
mod llm_configs;
#[path = "api/matrix.rs"]
mod matrix;
#[path = "api/me.rs"]
mod me;
#[path = "api/modules.rs"]
mod modules;
#[path = "api/platforms.rs"]
mod platforms;
#[path = "api/prices.rs"]
mod prices;
#[path = "api/protocol.rs"]
mod protocol;
#[path = "api/rate_limits.rs"]
mod rate_limits;
#[path = "api/refunds.rs"]
mod refunds;
#[path = "api/support.rs"]
mod support;
#[path = "api/transactions.rs"]
mod transactions;
#[path = "api/wallets.rs"]
mod wallets;
