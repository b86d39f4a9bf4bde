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

/// Whether a transaction was undone for the sake of another one: a deadlock, a conflict with what
/// committed meanwhile, or a lock that was not given in time. It can be tried again.
pub(super) fn gave_way(error: &StoreError) -> bool {
    let StoreError::Unavailable(source) = error else {
        return false;
    };
    let Some(
        DbErr::Exec(RuntimeErr::SqlxError(source))
        | DbErr::Query(RuntimeErr::SqlxError(source))
        | DbErr::Conn(RuntimeErr::SqlxError(source)),
    ) = source.downcast_ref()
    else {
        return false;
    };
    let code = source.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("40P01" | "40001" | "55P03"))
}

/// A stored value that this version cannot read. `what` names the column, never the value.
pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}
