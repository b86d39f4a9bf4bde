//! A gateway whose provider answers by itself, and requests for it.

use anyhow::Result;
use assistiv_core::auth::PresentedKey;
use assistiv_core::money::NanoUsd;
use assistiv_core::tenancy::CreatePlatform;
use assistiv_core::{Gateway, GatewayBuilder};
use assistiv_providers::echo::Echo;
use bytes::Bytes;

/// A chat request whose prompt has so many bytes.
pub fn body(text_bytes: usize) -> Bytes {
    let text = "word ".repeat(text_bytes / 5);
    format!(
        r#"{{"model":"echo","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":16}}"#
    )
    .into()
}

/// Starts a gateway with one platform, and gives its key.
///
/// # Errors
/// The store's.
pub async fn started(builder: GatewayBuilder) -> Result<(Gateway, PresentedKey)> {
    let gateway = builder
        .provider("echo".parse()?, Echo::registered())
        .build()
        .await?;
    let platform = CreatePlatform {
        name: "Bench".to_owned(),
        initial_balance: NanoUsd::MAX_INPUT,
        ..CreatePlatform::default()
    };
    let operator = gateway.local_operator();
    let made = gateway.tenancy().run(&operator, (), platform).await?;
    Ok((gateway, made.raw_key))
}
