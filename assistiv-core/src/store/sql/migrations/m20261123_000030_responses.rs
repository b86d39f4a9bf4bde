//! Stored responses, and the turns that run on threads.

use async_trait::async_trait;
use sea_orm::DbErr;
use sea_orm::sea_query::{Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::{big, bytes, string, string_or_null, uuid, uuid_or_null};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000030_responses"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        responses(manager).await?;
        turns(manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// Rows are written behind the calls that made them, so they refer to nothing that may be gone by then.
async fn responses(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("responses")
        .col(uuid("id").primary_key())
        .col(uuid("platform_id"))
        .col(uuid_or_null("end_user_id"))
        .col(uuid("conversation"))
        .col(uuid_or_null("previous"))
        .col(string_or_null("thread", 255))
        .col(big("created_at"))
        .col(big("expires_at"))
        .col(bytes("payload"))
        .take();
    manager.create_table(table).await?;
    for (name, columns) in [
        ("responses_conversation", &["conversation"][..]),
        (
            "responses_owner",
            &["platform_id", "end_user_id", "thread", "id"],
        ),
        ("responses_expiry", &["expires_at"]),
    ] {
        let mut index = Index::create().name(name).table("responses").take();
        for column in columns {
            index.col(*column);
        }
        manager.create_index(index).await?;
    }
    Ok(())
}

/// `end_user_id` is nil for a platform's own key.
async fn turns(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("response_turns")
        .col(uuid("platform_id"))
        .col(uuid("end_user_id"))
        .col(string("thread", 255))
        .col(uuid("holder"))
        .col(big("held_until"))
        .primary_key(
            Index::create()
                .col("platform_id")
                .col("end_user_id")
                .col("thread"),
        )
        .take();
    manager.create_table(table).await?;
    let by_holder = Index::create()
        .name("response_turns_holder")
        .table("response_turns")
        .col("holder")
        .take();
    manager.create_index(by_holder).await
}
