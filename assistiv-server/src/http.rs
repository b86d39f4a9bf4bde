//! The HTTP edge: what every request passes, whatever it asks for.

pub mod body;
pub mod problem;
