//! Benches of the gateway; see `benches/`.
