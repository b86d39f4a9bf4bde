//! The assistiv gateway as a server.

pub mod api;
pub mod cli;
pub mod config;
pub mod http;
pub mod mock;
pub mod node;
pub mod reference;
