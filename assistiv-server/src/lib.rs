//! The assistiv gateway as a server.

pub mod config;
pub mod mock;
