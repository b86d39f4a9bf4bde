//! The assistiv gateway as a server.

pub mod config;
