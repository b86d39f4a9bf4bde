//! One file for each table: its row, the finders that every read starts from, and the way to and
//! from the domain's type.
//!
//! A finder of tenant data takes the scope, so that no statement can leave its platform by
//! forgetting a filter. Only the engine's tables, which belong to no tenant, have finders without
//! one.

pub mod account;
pub mod api_key;
pub mod audit;
pub mod budget;
pub mod change;
pub mod control;
pub mod end_user;
pub mod event;
pub mod idempotency;
pub mod lane;
pub mod ledger;
pub mod llm_config;
pub mod log;
pub mod log_mark;
pub mod log_rollup;
pub mod model_routes;
pub mod node;
pub mod platform;
pub mod price;
pub mod recon;
pub mod recon_mark;
pub mod recon_runner;
pub mod rerate;
pub mod rerated;
pub mod response;
pub mod response_turn;
pub mod setting;
pub mod slot;
pub mod stream;
pub mod unconfirmed;
pub mod wallet;
pub mod webhook;
pub mod webhook_delivery;

use crate::json::RawObject;
use crate::store::StoreError;

use super::error::corrupt;

fn object_text(object: &RawObject) -> Result<String, StoreError> {
    serde_json::to_string(object).map_err(|_| corrupt("an object that cannot be written as JSON"))
}

fn read_object(text: &str, what: &str) -> Result<RawObject, StoreError> {
    serde_json::from_str(text).map_err(|_| corrupt(what))
}
