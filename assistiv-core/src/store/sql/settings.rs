//! Values that belong to the database as a whole, not to a tenant.

use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use sea_orm::sea_query::OnConflict;

use super::SqlStore;
use super::entities::setting::{ActiveModel, Column, Entity};
use super::error::failed;
use crate::store::StoreError;

const MASTER_KEY_CHECK: &str = "master_key_check";

impl SqlStore {
    /// A value that was sealed with the master key of this database, if one was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn master_key_check(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let row = Entity::find_by_id(MASTER_KEY_CHECK)
            .one(self.reader())
            .await
            .map_err(failed)?;
        Ok(row.map(|row| row.value))
    }

    /// Keeps a value that was sealed with the master key. The first one stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_master_key_check(&self, sealed: &[u8]) -> Result<(), StoreError> {
        let row = ActiveModel {
            name: Set(MASTER_KEY_CHECK.to_owned()),
            value: Set(sealed.to_vec()),
        };
        let txn = self.begin_write().await?;
        let keep = OnConflict::column(Column::Name).do_nothing().to_owned();
        Entity::insert(row)
            .on_conflict(keep)
            .exec_without_returning(&txn)
            .await
            .map_err(failed)?;
        super::commit(txn).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.reader().ping().await.map_err(failed)
    }
}
