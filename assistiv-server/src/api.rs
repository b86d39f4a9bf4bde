//! The management API: platforms, end users, keys, LLM configs, wallets and budgets under `/v1`.
//!
//! A handler extracts, runs one command of the core, and shapes the answer as JSON. The order in which a
//! request can be refused is the order of a handler's arguments: who asks and whether the key is of the right
//! kind, which object the path names, and only then what the body or the query says. So a caller without
//! authority learns nothing about objects or fields.

mod answer;
mod audit;
mod budgets;
mod caller;
mod catalogue;
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
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};

use crate::http::body::BodyLimits;
use crate::reference::operations::{calls, money, operator, tenancy, traffic};
use crate::reference::{Op, Verb};

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
    described()
        .router
        .fallback(refusal::unknown_path)
        .method_not_allowed_fallback(refusal::wrong_method)
        .layer(from_fn_with_state(state.clone(), refusal::render))
        .with_state(state)
}

fn described() -> Routes {
    let all = [
        platform_routes,
        end_user_routes,
        money_routes,
        billing_routes,
        own_routes,
        log_routes,
        webhook_routes,
        module_routes,
        public_routes,
    ];
    all.into_iter()
        .fold(Routes::default(), |routes, more| more(routes))
}

fn platform_routes(routes: Routes) -> Routes {
    routes
        .at(&operator::ADMIN_LIST_PLATFORMS, platforms::admin_list)
        .at(&operator::ADMIN_CREATE_PLATFORM, platforms::create)
        .at(&operator::ADMIN_READ_PLATFORM, platforms::admin_read)
        .at(&operator::ADMIN_UPDATE_PLATFORM, platforms::admin_update)
        .at(&operator::ADMIN_DELETE_PLATFORM, platforms::admin_remove)
        .at(&tenancy::LIST_PLATFORMS, platforms::list)
        .at(&tenancy::READ_PLATFORM, platforms::read)
        .at(&tenancy::UPDATE_PLATFORM, platforms::update)
        .at(&tenancy::DELETE_PLATFORM, platforms::remove)
        .at(&tenancy::LIST_API_KEYS, keys::list)
        .at(&tenancy::CREATE_API_KEY, keys::create)
        .at(&tenancy::UPDATE_API_KEY, keys::update)
        .at(&tenancy::DELETE_API_KEY, keys::remove)
        .at(&tenancy::LIST_LLM_CONFIGS, llm_configs::list)
        .at(&tenancy::CREATE_LLM_CONFIG, llm_configs::create)
        .at(&tenancy::READ_LLM_CONFIG, llm_configs::read)
        .at(&tenancy::UPDATE_LLM_CONFIG, llm_configs::update)
        .at(&tenancy::DELETE_LLM_CONFIG, llm_configs::remove)
        .at(&tenancy::LIST_MODEL_ROUTES, model_routes::list)
        .at(&tenancy::REPLACE_MODEL_ROUTES, model_routes::replace)
        .at(&traffic::READ_RATE_LIMITS, rate_limits::read)
        .at(&traffic::UPDATE_RATE_LIMITS, rate_limits::update)
}

fn end_user_routes(routes: Routes) -> Routes {
    routes
        .at(&tenancy::LIST_END_USERS, end_users::list)
        .at(&tenancy::CREATE_END_USER, end_users::create)
        .at(&tenancy::READ_END_USER, end_users::read)
        .at(&tenancy::UPDATE_END_USER, end_users::update)
        .at(&tenancy::DELETE_END_USER, end_users::remove)
        .at(&tenancy::LIST_END_USER_API_KEYS, keys::list_of_end_user)
        .at(&tenancy::CREATE_END_USER_API_KEY, keys::create_for_end_user)
        .at(&tenancy::ROTATE_END_USER_API_KEYS, keys::rotate_of_end_user)
        .at(&tenancy::DELETE_END_USER_API_KEY, keys::remove_of_end_user)
        .at(
            &traffic::READ_END_USER_RATE_LIMITS,
            rate_limits::read_of_end_user,
        )
        .at(
            &traffic::SET_END_USER_RATE_LIMITS,
            rate_limits::set_of_end_user,
        )
        .at(
            &traffic::REMOVE_END_USER_RATE_LIMITS,
            rate_limits::remove_of_end_user,
        )
}

fn money_routes(routes: Routes) -> Routes {
    routes
        .at(&money::READ_WALLET, wallets::read)
        .at(&money::UPDATE_WALLET, wallets::update)
        .at(&money::TOP_UP_WALLET, wallets::top_up)
        .at(&money::READ_END_USER_WALLET, display::read)
        .at(&money::SET_END_USER_WALLET, display::set)
        .at(&money::DELETE_END_USER_WALLET, display::remove)
        .at(&money::TOP_UP_END_USER_WALLET, display::top_up)
        .at(&money::ADJUST_END_USER_WALLET, display::adjust)
        .at(&money::READ_BUDGET, budgets::read)
        .at(&money::CREATE_BUDGET, budgets::create)
        .at(&money::UPDATE_BUDGET, budgets::update)
        .at(&money::DELETE_BUDGET, budgets::remove)
        .at(&money::TOP_UP_BUDGET, budgets::top_up)
        .at(&money::DEBIT_BUDGET, budgets::debit)
        .at(&money::LIST_WALLET_TRANSACTIONS, transactions::of_wallet)
        .at(&money::LIST_BUDGET_TRANSACTIONS, transactions::of_budget)
        .at(&money::REFUND_TRANSACTION, budgets::refund)
}

/// What the operator alone may do with money.
fn billing_routes(routes: Routes) -> Routes {
    routes
        .at(&operator::ADJUST_WALLET, wallets::adjust)
        .at(&operator::LIST_PROVIDERS, catalogue::providers)
        .at(&operator::READ_PROVIDER, catalogue::provider)
        .at(&operator::ADMIN_LIST_MODELS, catalogue::models)
        .at(&operator::ADMIN_READ_MODEL, catalogue::model)
        .at(&operator::LIST_ROUTES, catalogue::routes)
        .at(&operator::LIST_PRICES, prices::list)
        .at(&operator::CREATE_PRICE, prices::create)
        .at(&operator::RERATE, prices::rerate)
        .at(&operator::LIST_UNCONFIRMED, unconfirmed::list)
        .at(&operator::RESOLVE_UNCONFIRMED, unconfirmed::resolve)
}

fn log_routes(routes: Routes) -> Routes {
    routes
        .at(&traffic::LIST_LOGS, logs::list)
        .at(&traffic::READ_LOG, logs::read)
        .at(&traffic::LIST_AUDIT, audit::list)
        .at(&traffic::READ_USAGE, logs::usage)
}

fn webhook_routes(routes: Routes) -> Routes {
    routes
        .at(&traffic::LIST_WEBHOOKS, webhooks::list)
        .at(&traffic::CREATE_WEBHOOK, webhooks::create)
        .at(&traffic::READ_WEBHOOK, webhooks::read)
        .at(&traffic::UPDATE_WEBHOOK, webhooks::update)
        .at(&traffic::DELETE_WEBHOOK, webhooks::remove)
        .at(&traffic::READ_WEBHOOK_SECRET, webhooks::secret)
        .at(&traffic::ROTATE_WEBHOOK_SECRET, webhooks::rotate)
        .at(&traffic::TEST_WEBHOOK, webhooks::test)
        .at(&traffic::LIST_WEBHOOK_DELIVERIES, webhooks::deliveries)
        .at(&traffic::REPLAY_WEBHOOK_DELIVERY, webhooks::replay)
}

/// What is switched off.
fn module_routes(routes: Routes) -> Routes {
    routes
        .at(&calls::SEARCH_SKILLS, modules::skills)
        .at(&calls::CREATE_SKILL, modules::skills)
        .at(&calls::READ_SKILL, modules::skills)
        .at(&calls::DELETE_SKILL, modules::skills)
        .at(&calls::REVIEW_SKILL, modules::skills)
        .at(&calls::LIST_CAPABILITIES, modules::capabilities)
        .at(&calls::READ_CAPABILITY, modules::capability)
        .at(&calls::SEARCH_CAPABILITIES, modules::run_capability)
        .at(&calls::RUN_CAPABILITY, modules::run_capability)
        .at(&calls::SET_CAPABILITY_POLICY, modules::capability_policy)
}

fn own_routes(routes: Routes) -> Routes {
    routes
        .at(&calls::CREATE_QUOTE, quotes::quote)
        .at(&calls::READ_OWN_USER, me::read)
        .at(&calls::READ_OWN_BUDGET, me::budget)
        .at(&calls::READ_OWN_RATE_LIMITS, rate_limits::own)
        .at(&calls::LIST_OWN_TRANSACTIONS, transactions::list_own)
}

fn public_routes(routes: Routes) -> Routes {
    routes
        .at(&calls::READ_OPENAPI, docs::openapi)
        .at(&calls::READ_LLMS, docs::llms)
        .at(&calls::READ_LLMS_FULL, docs::llms_full)
        .at(&calls::READ_DOCS, docs::page)
        .at(&calls::READ_ERRORS, docs::errors)
}

/// Routes of operations that are described.
#[derive(Default)]
struct Routes {
    router: Router<ApiState>,
    #[cfg(test)]
    served: Vec<&'static Op>,
}

// === impl Routes ===

impl Routes {
    /// Serves an operation.
    fn at<T: 'static>(mut self, op: &'static Op, handler: impl Handler<T, ApiState>) -> Self {
        let verb = match op.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Put => MethodFilter::PUT,
            Verb::Patch => MethodFilter::PATCH,
            Verb::Delete => MethodFilter::DELETE,
        };
        self.router = self.router.route(op.path, on(verb, handler));
        #[cfg(test)]
        self.served.push(op);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::operations::all;

    /// What the edge serves before the router is asked.
    fn is_of_the_edge(op: &Op) -> bool {
        calls::CALLS.operations.iter().any(|call| call.id == op.id) && op.id != "create_quote"
            || ["read_health", "read_readiness"].contains(&op.id)
    }

    #[test]
    fn everything_that_is_described_is_served() {
        let served = described().served;
        for op in all().filter(|op| !is_of_the_edge(op)) {
            assert!(served.iter().any(|other| other.id == op.id), "{}", op.id);
        }
    }
}
