//! The HTTP edge over real sockets.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests panic like tests; clippy knows only test functions"
)]

#[path = "edge/bodies.rs"]
mod bodies;
#[path = "edge/client.rs"]
mod client;
#[path = "edge/cors.rs"]
mod cors;
#[path = "edge/harness.rs"]
mod harness;
#[path = "edge/heads.rs"]
mod heads;
#[path = "edge/http2.rs"]
mod http2;
#[path = "edge/keys.rs"]
mod keys;
#[path = "edge/lifecycle.rs"]
mod lifecycle;
#[path = "edge/log.rs"]
mod log;
#[path = "edge/models.rs"]
mod models;
#[path = "edge/paths.rs"]
mod paths;
#[path = "edge/time.rs"]
mod time;
