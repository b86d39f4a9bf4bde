//! How the driver's errors become the store's.

use sea_orm::{DbErr, RuntimeErr, SqlErr};

use crate::store::StoreError;

/// Any error that is not a broken uniqueness rule.
pub(super) fn failed(error: DbErr) -> StoreError {
    use sea_orm::sqlx::Error as Driver;
    let undecodable = match &error {
        DbErr::Type(_) | DbErr::Json(_) | DbErr::TryIntoErr { .. } => true,
        DbErr::Query(RuntimeErr::SqlxError(source)) => {
            matches!(
                &**source,
                Driver::ColumnDecode { .. } | Driver::Decode(_) | Driver::ColumnNotFound(_)
            )
        }
        _ => false,
    };
    if undecodable {
        corrupt("a column has an unexpected type")
    } else {
        StoreError::unavailable(error)
    }
}

/// An error of a statement that a uniqueness rule may stand against; `name` is what it conflicts
/// with.
pub(super) fn conflict(error: DbErr, name: &'static str) -> StoreError {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => StoreError::Conflict(name),
        _ => failed(error),
    }
}

/// A stored value that this version cannot read. `what` names the column, never the value.
pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}
