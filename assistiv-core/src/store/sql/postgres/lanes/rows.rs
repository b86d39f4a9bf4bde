//! Rows as arrays of columns, the way one statement inserts any number of them.

use sea_orm::sea_query::{ColumnType, Value, ValueType};
use sea_orm::{ActiveModelTrait, ActiveValue, ColumnTrait, EntityTrait, Iden};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

use crate::store::StoreError;
use crate::store::sql::error::corrupt;

/// A statement to which parameters are being bound.
pub(super) type Binding<'q> = Query<'q, Postgres, PgArguments>;

/// A column's type, of those that the tables of billing have.
#[derive(Clone, Copy)]
enum Kind {
    Big,
    Small,
    Uuid,
    Text,
}

/// `INSERT INTO table (…) SELECT … FROM unnest(…)`, whose arrays are the parameters from `$first`
/// on.
pub(super) fn insert<C: ColumnTrait>(table: &str, columns: &[C], first: usize) -> String {
    let names: Vec<_> = columns.iter().map(Iden::to_string).collect();
    let arrays: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| format!("${}::{}[]", first + index, Kind::of(column).name()))
        .collect();
    let names = names.join(", ");
    format!(
        "INSERT INTO {table} ({names}) SELECT * FROM unnest({}) AS t({names})",
        arrays.join(", ")
    )
}

/// Binds the arrays of the rows.
pub(super) fn bind<'q, A: ActiveModelTrait>(
    mut query: Binding<'q>,
    columns: &[<A::Entity as EntityTrait>::Column],
    rows: &[A],
) -> Result<Binding<'q>, StoreError> {
    for column in columns {
        let values = rows.iter().map(|row| match row.get(*column) {
            ActiveValue::Set(value) | ActiveValue::Unchanged(value) => Some(value),
            ActiveValue::NotSet => None,
        });
        query = match Kind::of(column) {
            Kind::Big => query.bind(array::<i64>(values)?),
            Kind::Small => query.bind(array::<i16>(values)?),
            Kind::Uuid => query.bind(array::<Uuid>(values)?),
            Kind::Text => query.bind(array::<String>(values)?),
        };
    }
    Ok(query)
}

fn array<T>(values: impl Iterator<Item = Option<Value>>) -> Result<Vec<Option<T>>, StoreError>
where
    Option<T>: ValueType,
{
    let read = |value: Option<Value>| match value {
        None => Ok(None),
        Some(value) => <Option<T> as ValueType>::try_from(value)
            .map_err(|_| corrupt("a value that is not of its column's type")),
    };
    values.map(read).collect()
}

// === impl Kind ===

impl Kind {
    fn of(column: &impl ColumnTrait) -> Self {
        match column.def().get_column_type() {
            ColumnType::SmallInteger => Self::Small,
            ColumnType::Uuid => Self::Uuid,
            ColumnType::String(_) | ColumnType::Text => Self::Text,
            _ => Self::Big,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Big => "bigint",
            Self::Small => "smallint",
            Self::Uuid => "uuid",
            Self::Text => "text",
        }
    }
}
