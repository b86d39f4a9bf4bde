//! Bodies that come in place of a stream: an error as JSON, or a page of something in between.

use assistiv_core::provider::{ProviderError, ProviderErrorKind};
use bytes::Bytes;

/// How much is read of a body that is no stream.
const PAGE_BYTES_MAX: usize = 64 * 1024;

/// What the body of an answer to a streaming request turned out to be.
#[derive(Debug, Default)]
pub(crate) enum Page {
    /// Nothing came yet.
    #[default]
    Unknown,
    /// A stream: no page.
    Events,
    /// A JSON value or a page.
    Other(Vec<u8>),
}

// === impl Page ===

impl Page {
    /// Says whether `chunk` belongs to a page, and keeps it then. Of a stream, blanks before the first event are
    /// taken away, which mean nothing there.
    pub(crate) fn takes(&mut self, chunk: &mut Bytes) -> Result<bool, ProviderError> {
        if matches!(self, Self::Unknown) {
            let blank = chunk.iter().take_while(|b| b"\r\n".contains(b)).count();
            *chunk = chunk.split_off(blank);
            match chunk.first() {
                None => return Ok(true),
                // No field of an event begins so.
                Some(b'{' | b'[' | b'<') => *self = Self::Other(Vec::new()),
                Some(_) => *self = Self::Events,
            }
        }
        let Self::Other(page) = self else {
            return Ok(false);
        };
        if page.len() + chunk.len() > PAGE_BYTES_MAX {
            return Err(ProviderError::new(ProviderErrorKind::Malformed));
        }
        page.extend_from_slice(chunk);
        Ok(true)
    }

    /// The page, if it is one.
    pub(crate) fn content(&self) -> Option<&[u8]> {
        match self {
            Self::Other(page) => Some(page),
            _ => None,
        }
    }
}
