//! TLS with an explicit cryptography provider and the platform's certificates.
//!
//! A library must not install a process-wide provider, so one is handed over with the configuration.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls_platform_verifier::BuilderVerifierExt;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Neither a feature nor the process names the cryptography.
    #[error("no cryptography: turn on `tls-ring` or `tls-aws-lc`, or install a provider of rustls")]
    NoCryptography,
    /// The platform's certificates or protocol versions cannot be used.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

pub(super) fn client_config(http1_only: bool) -> Result<ClientConfig, TlsError> {
    let provider = provider().ok_or(TlsError::NoCryptography)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_platform_verifier()?
        .with_no_client_auth();
    // The client does not add the protocols to a configuration that it is given.
    if !http1_only {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

#[cfg(feature = "tls-aws-lc")]
fn provider() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
fn provider() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
fn provider() -> Option<Arc<CryptoProvider>> {
    CryptoProvider::get_default().cloned()
}
