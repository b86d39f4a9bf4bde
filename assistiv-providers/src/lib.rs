//! Provider adapters of the assistiv gateway, and the way their bytes travel.
//!
//! An adapter is a pure codec behind [`assistiv_core::provider::Provider`]; the network is reached through one
//! [`assistiv_core::provider::Transport`], so that a single address guard covers all of them.
//!
//! # Features
//! - `anthropic`: [`anthropic::Anthropic`], for Anthropic's Messages API.
//! - `google`: [`google::Google`], for Google's Gemini API.
//! - `openai`: [`openai::OpenAiCompatible`], for OpenAI, xAI and every server that speaks OpenAI's format.
//! - `echo`: [`echo::Echo`], the smallest adapter; answers in-process.
//! - `reqwest`: [`transport::HttpTransport`], the HTTP client with the address guard.
//! - `tls-ring`, `tls-aws-lc`: the cryptography of that client. Without one of them the process must have
//!   installed its own before the client is built.
//!
//! All of them but `tls-aws-lc` are on by default.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

#[cfg(feature = "anthropic")]
pub mod anthropic;
#[cfg(feature = "echo")]
pub mod echo;
#[cfg(feature = "google")]
pub mod google;
#[cfg(any(feature = "anthropic", feature = "google", feature = "openai"))]
mod key;
#[cfg(feature = "openai")]
pub mod openai;
#[cfg(any(feature = "anthropic", feature = "google", feature = "openai"))]
mod page;
#[cfg(any(feature = "anthropic", feature = "google", feature = "openai"))]
mod retry_after;
#[cfg(any(feature = "anthropic", feature = "google", feature = "openai"))]
mod scrub;
#[cfg(feature = "reqwest")]
pub mod transport;
#[cfg(any(feature = "google", feature = "openai"))]
mod vector;
#[cfg(all(
    test,
    any(feature = "anthropic", feature = "google", feature = "openai")
))]
#[expect(clippy::unwrap_used, reason = "what tests run on")]
mod vectors;
