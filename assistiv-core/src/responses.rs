//! Responses of OpenAI's dialect: how they are written, stored and continued.
//!
//! The gateway keeps the state itself, whatever provider answers: a stored response can be continued on any model, and
//! belongs to the caller who made it. What earlier responses said is put in front of the input before a call is
//! planned, so that everything after that sees one request. Nobody waits for the store but who reads from it: a
//! response is written behind the answer, and this node knows it until then.

mod asked;
mod draft;
mod keeper;
mod read;
mod resume;
mod seal;
mod store;
mod thread;

pub use read::{InputItems, ItemsQuery};
pub use store::{Keep, NewTurn, ResponseId, ResponseStore, StoredResponse};

pub(crate) use asked::{Asked, Echo};
pub(crate) use draft::Draft;
pub(crate) use keeper::Saving;

use std::sync::Arc;

use self::keeper::Keeper;
use crate::clock::Clock;
use crate::secrets::SecretCipher;
use crate::store::StoreError;

/// Stores, reads and continues responses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Responses {
    keeper: Arc<Keeper>,
}

/// Why a response cannot be read or continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// There is none of this id, or none that the caller may see.
    #[error("there is no response `{id}`; it may have expired or been deleted")]
    NotFound {
        /// The id, as the caller wrote it.
        id: String,
        /// Where it stood in a request.
        param: Option<&'static str>,
    },
    /// The response before belongs to another thread.
    #[error("the previous response does not belong to this thread")]
    OtherThread,
    /// An item that is referred to is not among the caller's stored responses.
    #[error("names no stored item; send the item itself")]
    NoSuchItem {
        /// Where the reference stands.
        param: String,
    },
    /// With everything before it, the input is too long.
    #[error("with the responses before it, the input is longer than 32 MiB")]
    TooLong,
    /// Another response of the thread is being written.
    #[error("another response of this thread is being written; try again when it is done")]
    ThreadBusy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Responses ===

impl Responses {
    pub(crate) fn new(
        store: Arc<dyn ResponseStore>,
        cipher: Arc<dyn SecretCipher>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            keeper: Arc::new(Keeper::new(store, cipher, clock)),
        }
    }

    /// The background of it: writes down what waits, and removes what has expired.
    pub(crate) async fn run(self, stopping: tokio_util::sync::CancellationToken) {
        self.keeper.run(stopping).await;
    }

    /// Writes down everything that waits.
    pub(crate) async fn close(&self) {
        self.keeper.close().await;
    }
}

#[cfg(test)]
mod tests;
