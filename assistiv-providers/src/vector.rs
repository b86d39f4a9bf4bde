//! Vectors of embeddings in the two encodings that callers may ask for.

use assistiv_core::provider::{ProviderError, ProviderErrorKind as Kind};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A JSON array of numbers as JSON text of base64: little-endian 32-bit floats.
pub(crate) fn base64(numbers: &str) -> Result<String, ProviderError> {
    let numbers: Vec<f32> = serde_json::from_str(numbers).map_err(malformed)?;
    let bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
    Ok(format!("\"{}\"", BASE64_STANDARD.encode(bytes)))
}

/// JSON text of base64 as a JSON array of numbers.
pub(crate) fn numbers(base64: &str) -> Result<String, ProviderError> {
    let text: String = serde_json::from_str(base64).map_err(malformed)?;
    let bytes = BASE64_STANDARD.decode(text).map_err(malformed)?;
    let (floats, rest) = bytes.as_chunks::<4>();
    let floats: Vec<f32> = floats.iter().map(|it| f32::from_le_bytes(*it)).collect();
    if !rest.is_empty() || floats.iter().any(|it| !it.is_finite()) {
        return Err(ProviderError::new(Kind::Malformed));
    }
    serde_json::to_string(&floats).map_err(malformed)
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::new(Kind::Malformed).with_source(error)
}
