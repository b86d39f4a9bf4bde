//! The management API: platforms, end users, keys, LLM configs, wallets and budgets under `/v1`.
//!
//! A handler extracts, runs one command of the core, and shapes the answer as JSON. The order in which a
//! request can be refused is the order of a handler's arguments: who asks and whether the key is of the right
//! kind, which object the path names, and only then what the body or the query says. So a caller without
//! authority learns nothing about objects or fields.

mod answer;
mod budgets;
mod caller;
mod display;
mod docs;
mod end_users;
mod export;
mod field;
mod form;
mod idempotency;
mod keys;
mod llm_configs;
mod logs;
mod me;
mod model_routes;
mod modules;
mod path;
mod platforms;
mod prices;
mod query;
mod quotes;
mod rate_limits;
mod refusal;
mod transactions;
mod unconfirmed;
mod wallets;
mod webhooks;

use std::sync::Arc;

use assistiv_core::Gateway;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, patch, post, put};

use crate::http::body::BodyLimits;

/// What the handlers work with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState {
    /// The gateway that the commands are given to.
    pub gateway: Gateway,
    /// The base URL of this server's documentation, for `doc_url` in errors.
    pub docs_url: Arc<str>,
    /// What a request body may be.
    pub body: BodyLimits,
    /// Whether top-ups and debits are refused without an `Idempotency-Key`.
    pub require_idempotency_key: bool,
}

/// The routes of the management API, with answers of their own for unknown paths and wrong methods.
///
/// Errors carry the [`RequestId`](crate::http::problem::RequestId) found in the request's extensions; where
/// none is, one is generated.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .merge(platform_routes())
        .merge(end_user_routes())
        .merge(money_routes())
        .merge(billing_routes())
        .merge(own_routes())
        .merge(log_routes())
        .merge(webhook_routes())
        .merge(module_routes())
        .route("/docs/errors", get(docs::errors))
        .fallback(refusal::unknown_path)
        .method_not_allowed_fallback(refusal::wrong_method)
        .layer(from_fn_with_state(state.clone(), refusal::render))
        .with_state(state)
}

fn platform_routes() -> Router<ApiState> {
    Router::new()
        .route(
            "/v1/admin/platforms",
            get(platforms::admin_list).post(platforms::create),
        )
        .route(
            "/v1/admin/platforms/{platform_id}",
            get(platforms::admin_read)
                .patch(platforms::admin_update)
                .delete(platforms::admin_remove),
        )
        .route("/v1/platforms", get(platforms::list))
        .route(
            "/v1/platforms/{platform_id}",
            get(platforms::read)
                .patch(platforms::update)
                .delete(platforms::remove),
        )
        .route(
            "/v1/platforms/{platform_id}/api-keys",
            get(keys::list).post(keys::create),
        )
        .route(
            "/v1/platforms/{platform_id}/api-keys/{key_id}",
            patch(keys::update).delete(keys::remove),
        )
        .route(
            "/v1/platforms/{platform_id}/llm-configs",
            get(llm_configs::list).post(llm_configs::create),
        )
        .route(
            "/v1/platforms/{platform_id}/llm-configs/{config_id}",
            get(llm_configs::read)
                .patch(llm_configs::update)
                .delete(llm_configs::remove),
        )
        .route(
            "/v1/platforms/{platform_id}/model-routes",
            get(model_routes::list).put(model_routes::replace),
        )
        .route(
            "/v1/platforms/{platform_id}/rate-limits",
            get(rate_limits::read).put(rate_limits::update),
        )
}

fn end_user_routes() -> Router<ApiState> {
    Router::new()
        .route(
            "/v1/platforms/{platform_id}/end-users",
            get(end_users::list).post(end_users::create),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}",
            get(end_users::read)
                .patch(end_users::update)
                .delete(end_users::remove),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/api-keys",
            get(keys::list_of_end_user).post(keys::create_for_end_user),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/api-keys/rotate",
            post(keys::rotate_of_end_user),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/api-keys/{key_id}",
            delete(keys::remove_of_end_user),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/rate-limits",
            get(rate_limits::read_of_end_user)
                .put(rate_limits::set_of_end_user)
                .delete(rate_limits::remove_of_end_user),
        )
}

fn money_routes() -> Router<ApiState> {
    Router::new()
        .route(
            "/v1/platforms/{platform_id}/wallet",
            get(wallets::read).patch(wallets::update),
        )
        .route(
            "/v1/platforms/{platform_id}/wallet/topup",
            post(wallets::top_up),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/wallet",
            get(display::read)
                .put(display::set)
                .delete(display::remove),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/wallet/topup",
            post(display::top_up),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/wallet/adjust",
            post(display::adjust),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget",
            get(budgets::read)
                .post(budgets::create)
                .patch(budgets::update)
                .delete(budgets::remove),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget/topup",
            post(budgets::top_up),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget/debit",
            post(budgets::debit),
        )
        .route(
            "/v1/platforms/{platform_id}/wallet/transactions",
            get(transactions::of_wallet),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget/transactions",
            get(transactions::of_budget),
        )
        .route(
            "/v1/platforms/{platform_id}/end-users/{end_user_id}/budget/transactions/{transaction_id}/refund",
            post(budgets::refund),
        )
}

/// What the operator alone may do with money.
fn billing_routes() -> Router<ApiState> {
    Router::new()
        .route(
            "/v1/admin/platforms/{platform_id}/wallet/adjust",
            post(wallets::adjust),
        )
        .route("/v1/admin/prices", get(prices::list).post(prices::create))
        .route("/v1/admin/prices/rerate", post(prices::rerate))
        .route("/v1/admin/billing/unconfirmed", get(unconfirmed::list))
        .route(
            "/v1/admin/billing/unconfirmed/{transaction_id}/resolve",
            post(unconfirmed::resolve),
        )
}

fn log_routes() -> Router<ApiState> {
    Router::new()
        .route("/v1/platforms/{platform_id}/logs", get(logs::list))
        .route("/v1/platforms/{platform_id}/logs/{log_id}", get(logs::read))
        .route("/v1/platforms/{platform_id}/usage", get(logs::usage))
}

fn webhook_routes() -> Router<ApiState> {
    Router::new()
        .route(
            "/v1/platforms/{platform_id}/webhooks",
            get(webhooks::list).post(webhooks::create),
        )
        .route(
            "/v1/platforms/{platform_id}/webhooks/{webhook_id}",
            get(webhooks::read)
                .patch(webhooks::update)
                .delete(webhooks::remove),
        )
        .route(
            "/v1/platforms/{platform_id}/webhooks/{webhook_id}/secret",
            get(webhooks::secret),
        )
        .route(
            "/v1/platforms/{platform_id}/webhooks/{webhook_id}/rotate-secret",
            post(webhooks::rotate),
        )
        .route(
            "/v1/platforms/{platform_id}/webhooks/{webhook_id}/test",
            post(webhooks::test),
        )
        .route(
            "/v1/platforms/{platform_id}/webhooks/{webhook_id}/deliveries",
            get(webhooks::deliveries),
        )
        .route(
            "/v1/platforms/{platform_id}/webhooks/{webhook_id}/deliveries/{delivery_id}/replay",
            post(webhooks::replay),
        )
}

/// What is switched off.
fn module_routes() -> Router<ApiState> {
    Router::new()
        .route(
            "/v1/platforms/{platform_id}/skills/search",
            post(modules::skills),
        )
        .route("/v1/platforms/{platform_id}/skills", post(modules::skills))
        .route(
            "/v1/platforms/{platform_id}/skills/{skill_id}",
            get(modules::skills).delete(modules::skills),
        )
        .route(
            "/v1/platforms/{platform_id}/skills/{skill_id}/reviews",
            post(modules::skills),
        )
        .route("/v1/capabilities", get(modules::capabilities))
        .route("/v1/capabilities/{slug}", get(modules::capability))
        .route("/v1/capabilities/search", post(modules::run_capability))
        .route("/v1/capabilities/run", post(modules::run_capability))
        .route(
            "/v1/admin/platforms/{platform_id}/capability-policy",
            put(modules::capability_policy),
        )
}

fn own_routes() -> Router<ApiState> {
    Router::new()
        .route("/v1/quotes", post(quotes::quote))
        .route("/v1/me", get(me::read))
        .route("/v1/me/budget", get(me::budget))
        .route("/v1/me/rate-limits", get(rate_limits::own))
        .route("/v1/me/budget/transactions", get(transactions::list_own))
}
