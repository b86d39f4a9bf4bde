//! Placeholder.

pub mod mock;
