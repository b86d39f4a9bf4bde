//! The assistiv gateway as a server.

pub mod config;
pub mod http;
pub mod mock;
