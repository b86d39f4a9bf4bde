//! Platforms, end users, keys, LLM configs, wallets and budgets.

use async_trait::async_trait;
use sea_orm::DbErr;
use sea_orm::sea_query::{
    ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Index, IndexOrder, Table,
};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::{
    big, big_or_null, bytes, flag, small, string, string_or_null, text, text_or_null, uuid,
    uuid_or_null,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000001_tenancy"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        platforms(manager).await?;
        end_users(manager).await?;
        api_keys(manager).await?;
        llm_configs(manager).await?;
        wallets(manager).await?;
        budgets(manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn platforms(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("platforms")
        .col(uuid("id").primary_key())
        .col(string("name", 100))
        .col(string("slug", 63).unique_key())
        .col(text("settings"))
        .col(flag("is_active"))
        .col(big("created_at"))
        .col(big("updated_at"))
        .take();
    manager.create_table(table).await?;
    let index = Index::create()
        .name("platforms_newest")
        .table("platforms")
        .col(("created_at", IndexOrder::Desc))
        .col(("id", IndexOrder::Desc))
        .take();
    manager.create_index(index).await
}

async fn end_users(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("end_users")
        .col(uuid("id").primary_key())
        .col(uuid("platform_id"))
        .col(string("external_id", 255))
        .col(string_or_null("display_name", 100))
        .col(text("metadata"))
        .col(flag("is_active"))
        .col(big("created_at"))
        .col(big("updated_at"))
        .foreign_key(&mut to("end_users", "platform_id", "platforms"))
        .take();
    manager.create_table(table).await?;
    let by_external_id = Index::create()
        .name("end_users_external_id")
        .table("end_users")
        .col("platform_id")
        .col("external_id")
        .unique()
        .take();
    manager.create_index(by_external_id).await?;
    newest_of_platform(manager, "end_users_newest", "end_users").await
}

async fn api_keys(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("api_keys")
        .col(uuid("id").primary_key())
        .col(uuid_or_null("platform_id"))
        .col(uuid_or_null("end_user_id"))
        .col(small("kind"))
        .col(bytes("digest").unique_key())
        .col(string("key_prefix", 32))
        .col(string("name", 100))
        .col(
            sea_orm::sea_query::ColumnDef::new("scopes")
                .integer()
                .not_null(),
        )
        .col(flag("is_active"))
        .col(big_or_null("last_used_at"))
        .col(big_or_null("expires_at"))
        .col(big("created_at"))
        .foreign_key(&mut to("api_keys", "platform_id", "platforms"))
        .foreign_key(&mut to("api_keys", "end_user_id", "end_users"))
        .take();
    manager.create_table(table).await?;
    newest_of_platform(manager, "api_keys_newest", "api_keys").await?;
    let of_end_user = Index::create()
        .name("api_keys_end_user")
        .table("api_keys")
        .col("end_user_id")
        .take();
    manager.create_index(of_end_user).await
}

async fn llm_configs(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("llm_configs")
        .col(uuid("id").primary_key())
        .col(uuid("platform_id"))
        .col(string("provider", 255))
        .col(string_or_null("name", 100))
        .col(
            sea_orm::sea_query::ColumnDef::new("priority")
                .integer()
                .not_null(),
        )
        .col(text_or_null("models"))
        .col(flag("is_default"))
        .col(flag("is_active"))
        .col(bytes("secret"))
        .col(big("created_at"))
        .col(big("updated_at"))
        .foreign_key(&mut to("llm_configs", "platform_id", "platforms"))
        .take();
    manager.create_table(table).await?;
    newest_of_platform(manager, "llm_configs_newest", "llm_configs").await
}

async fn wallets(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("wallets")
        .col(uuid("id").primary_key())
        .col(uuid("platform_id").unique_key())
        .col(big("account_id").unique_key())
        .col(big_or_null("low_balance_threshold"))
        .col(flag("is_active"))
        .col(big("version"))
        .col(big("created_at"))
        .col(big("updated_at"))
        .foreign_key(&mut to("wallets", "platform_id", "platforms"))
        .take();
    manager.create_table(table).await
}

async fn budgets(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("budgets")
        .col(uuid("id").primary_key())
        .col(uuid("platform_id"))
        .col(uuid("end_user_id").unique_key())
        .col(big("account_id").unique_key())
        .col(big_or_null("max_usd"))
        .col(big_or_null("max_tokens"))
        .col(big_or_null("max_display"))
        .col(small("period"))
        .col(string("timezone", 64))
        .col(big("period_start"))
        .col(big_or_null("period_end"))
        .col(flag("auto_replenish"))
        .col(big_or_null("replenish_usd"))
        .col(big_or_null("replenish_tokens"))
        .col(big_or_null("threshold_usd"))
        .col(big_or_null("threshold_tokens"))
        .col(flag("is_active"))
        .col(flag("is_suspended"))
        .col(big("version"))
        .col(big("created_at"))
        .col(big("updated_at"))
        .foreign_key(&mut to("budgets", "platform_id", "platforms"))
        .foreign_key(&mut to("budgets", "end_user_id", "end_users"))
        .take();
    manager.create_table(table).await?;
    let of_platform = Index::create()
        .name("budgets_platform")
        .table("budgets")
        .col("platform_id")
        .take();
    manager.create_index(of_platform).await?;
    let due = Index::create()
        .name("budgets_period_end")
        .table("budgets")
        .col("period_end")
        .take();
    manager.create_index(due).await
}

/// Rows go with what they belong to.
fn to(
    table: &'static str,
    column: &'static str,
    parent: &'static str,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(table, column)
        .to(parent, "id")
        .on_delete(ForeignKeyAction::Cascade)
        .take()
}

/// For lists of a platform's rows, newest first.
async fn newest_of_platform(
    manager: &SchemaManager<'_>,
    name: &'static str,
    table: &'static str,
) -> Result<(), DbErr> {
    let index = Index::create()
        .name(name)
        .table(table)
        .col("platform_id")
        .col(("created_at", IndexOrder::Desc))
        .col(("id", IndexOrder::Desc))
        .take();
    manager.create_index(index).await
}
