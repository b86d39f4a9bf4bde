//! What platforms change of the catalogue.

use sea_orm::sea_query::{ForeignKey, ForeignKeyAction, Table};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use super::{big, text, uuid};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261124_000050_model_routes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("model_routes")
            .col(uuid("platform_id").primary_key())
            .col(text("overrides"))
            .col(big("updated_at"))
            .foreign_key(
                ForeignKey::create()
                    .name("model_routes_platform_id")
                    .from("model_routes", "platform_id")
                    .to("platforms", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .take();
        manager.create_table(table).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
