//! The master key: from the configuration, or generated into the data directory on the very first start.
//!
//! A value sealed with the key is kept in the database. A start with another key, or without one once there is a
//! database, is refused: provider keys could not be opened.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use assistiv_core::secrets::{MasterKeyCipher, SecretCipher, SecretPlace};
use assistiv_core::store::sql::SqlStore;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use uuid::Uuid;

use crate::config::{Config, MASTER_KEY_FILE, decode_master_key};

const CHECK_TEXT: &str = "assistiv";

/// Why there is no usable master key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasterKeyError {
    /// The database was sealed with another key.
    #[error(
        "this database was sealed with another master key; start with that key \
         (security.master_key, or the file master.key of its data directory)"
    )]
    Other,
    /// The database was sealed, and there is no key.
    #[error(
        "this database was sealed with a master key, and none is configured; restore the file {0} \
         or set security.master_key"
    )]
    Missing(PathBuf),
    /// The file cannot be used.
    #[error("the master key file {path}: {message}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

/// Makes the data directory, for its owner alone.
pub(super) fn prepare_data_dir(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| {
            anyhow::Error::new(error).context(format!("the data directory {}", dir.display()))
        })
}

/// The master key, checked against what the database was sealed with.
pub(super) async fn obtain(
    config: &Config,
    store: &SqlStore,
) -> anyhow::Result<SecretBox<[u8; 32]>> {
    let path = config.server.data_dir.join(MASTER_KEY_FILE);
    let sealed = store.master_key_check().await?;
    let configured = config
        .security
        .master_key
        .as_ref()
        .and_then(|text| decode_master_key(text.expose_secret()));
    let key = match (configured, read(&path)?) {
        (Some(key), _) | (None, Some(key)) => key,
        (None, None) if sealed.is_some() => return Err(MasterKeyError::Missing(path).into()),
        (None, None) => {
            let key = MasterKeyCipher::generate_key()?;
            write(&path, &key)?;
            tracing::warn!(
                path = %path.display(),
                "generated a master key; back it up, stored provider keys are lost without it"
            );
            key
        }
    };
    let cipher = MasterKeyCipher::new(&key);
    match sealed {
        Some(sealed) => check(&cipher, &sealed)?,
        None => {
            let sealed = cipher.seal(place(), &SecretString::from(CHECK_TEXT))?;
            store.set_master_key_check(&sealed).await?;
        }
    }
    Ok(key)
}

/// The cipher of the key that there is, checked against what the database was sealed with.
pub(super) async fn existing(
    config: &Config,
    store: &SqlStore,
) -> anyhow::Result<Result<MasterKeyCipher, MasterKeyError>> {
    let path = config.server.data_dir.join(MASTER_KEY_FILE);
    let sealed = store.master_key_check().await?;
    let configured = config
        .security
        .master_key
        .as_ref()
        .and_then(|text| decode_master_key(text.expose_secret()));
    let key = match (configured, read(&path)) {
        (Some(key), _) | (None, Ok(Some(key))) => key,
        (None, Ok(None)) => return Ok(Err(MasterKeyError::Missing(path))),
        (None, Err(error)) => return Ok(Err(error)),
    };
    let cipher = MasterKeyCipher::new(&key);
    Ok(match sealed {
        Some(sealed) => check(&cipher, &sealed).map(|()| cipher),
        None => Ok(cipher),
    })
}

fn check(cipher: &MasterKeyCipher, sealed: &[u8]) -> Result<(), MasterKeyError> {
    let opened = cipher
        .open(place(), sealed)
        .map_err(|_| MasterKeyError::Other)?;
    if opened.expose_secret() == CHECK_TEXT {
        Ok(())
    } else {
        Err(MasterKeyError::Other)
    }
}

/// What would keep the key from being used, without opening the database.
pub(super) fn problems(config: &Config) -> Vec<String> {
    if config.security.master_key.is_some() {
        return Vec::new();
    }
    read(&config.server.data_dir.join(MASTER_KEY_FILE))
        .err()
        .map(|error| error.to_string())
        .into_iter()
        .collect()
}

fn place() -> SecretPlace {
    SecretPlace {
        table: "settings",
        column: "value",
        row: Uuid::nil(),
    }
}

fn read(path: &Path) -> Result<Option<SecretBox<[u8; 32]>>, MasterKeyError> {
    use std::os::unix::fs::PermissionsExt;
    let fail = |message: String| MasterKeyError::File {
        path: path.to_owned(),
        message,
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error.to_string())),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(fail("others can read it; run chmod 600 on it".to_owned()));
    }
    let text =
        SecretString::from(fs::read_to_string(path).map_err(|error| fail(error.to_string()))?);
    let key = decode_master_key(text.expose_secret().trim());
    key.map(Some)
        .ok_or_else(|| fail("it does not hold 32 bytes of base64".to_owned()))
}

fn write(path: &Path, key: &SecretBox<[u8; 32]>) -> Result<(), MasterKeyError> {
    use std::os::unix::fs::OpenOptionsExt;
    let fail = |error: std::io::Error| MasterKeyError::File {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(fail)?;
    let text = SecretString::from(STANDARD.encode(key.expose_secret()));
    writeln!(file, "{}", text.expose_secret()).map_err(fail)?;
    // A key that seals something must outlive a power cut right after.
    file.sync_all().map_err(fail)?;
    if let Some(dir) = path.parent() {
        fs::File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(fail)?;
    }
    Ok(())
}
