//! One process for one database.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// Held as long as the database is open; the operating system releases it when the process ends in
/// any way.
#[derive(Debug)]
pub(in crate::store::sql) struct ProcessLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
enum LockError {
    #[error("another process uses this database")]
    InUse,
    #[error("the lock file beside the database cannot be opened")]
    Open(#[source] std::io::Error),
    #[error("the lock file beside the database cannot be locked")]
    Lock(#[source] std::io::Error),
}

impl ProcessLock {
    /// Takes the lock of the database at `path`.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be made.
    pub(super) fn acquire(path: &Path) -> Result<Self, StoreError> {
        // Never truncated or removed: only the lock on it counts, and a file that is removed while
        // it is locked would let two processes lock two files of one name.
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock_path(path));
        let file = file.map_err(|error| StoreError::unavailable(LockError::Open(error)))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::unavailable(LockError::InUse)),
            Err(TryLockError::Error(error)) => Err(StoreError::unavailable(LockError::Lock(error))),
        }
    }
}

/// Whether some process uses the database at `path`.
pub(super) fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(lock_path(path)) else {
        return false;
    };
    // Given back at once: a gateway that starts in this very moment would be refused.
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}
