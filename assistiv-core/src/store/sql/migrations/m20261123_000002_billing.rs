//! Accounts, slots, nodes, lanes, streams and the ledger.

use async_trait::async_trait;
use sea_orm::sea_query::{ConditionalStatement, Expr, ExprTrait, Index, Table};
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::{
    big, big_or_null, big_zero, bytes, identity, small, small_zero, string, string_or_null, text,
    text_or_null, uuid, uuid_or_null,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000002_billing"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        accounts(manager).await?;
        slots(manager).await?;
        nodes(manager).await?;
        streams(manager).await?;
        ledger(manager).await?;
        append_only(manager).await?;
        idempotency(manager).await?;
        unconfirmed(manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn accounts(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("billing_accounts")
        .col(identity("id"))
        .col(small("kind"))
        .col(uuid("platform_id"))
        .col(uuid("owner_id"))
        .col(big_zero("free_usd"))
        .col(big_zero("free_tokens"))
        .col(big_zero("free_display"))
        .col(small("enforce"))
        .col(small_zero("blocked"))
        .col(small_zero("armed"))
        .col(big_or_null("period_end"))
        .col(big_zero("version"))
        .col(big("created_at"))
        .col(big("updated_at"))
        .take();
    manager.create_table(table).await?;
    let of_platform = Index::create()
        .name("billing_accounts_platform")
        .table("billing_accounts")
        .col("platform_id")
        .take();
    manager.create_index(of_platform).await
}

async fn slots(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("billing_slots")
        .col(big("node_id"))
        .col(big("account_id"))
        .col(big_zero("usd"))
        .col(big_zero("tokens"))
        .col(big_zero("display"))
        .primary_key(Index::create().col("node_id").col("account_id"))
        .take();
    manager.create_table(table).await?;
    let of_account = Index::create()
        .name("billing_slots_account")
        .table("billing_slots")
        .col("account_id")
        .take();
    manager.create_index(of_account).await
}

async fn nodes(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let nodes = Table::create()
        .table("billing_nodes")
        .col(identity("id"))
        .col(uuid("instance").unique_key())
        .col(string("name", 128))
        .col(small_zero("state"))
        .col(big_or_null("expires_at"))
        .col(big_zero("acked_control"))
        .col(big_zero("ledger_from"))
        .col(big("created_at"))
        .col(big("updated_at"))
        .take();
    manager.create_table(nodes).await?;
    let by_state = Index::create()
        .name("billing_nodes_state")
        .table("billing_nodes")
        .col("state")
        .col("expires_at")
        .take();
    manager.create_index(by_state).await?;
    let lanes = Table::create()
        .table("billing_lanes")
        .col(big("node_id"))
        .col(small("lane"))
        .col(big_zero("seq"))
        .col(big_zero("delivered_seq"))
        .col(small_zero("state"))
        .primary_key(Index::create().col("node_id").col("lane"))
        .take();
    manager.create_table(lanes).await
}

async fn streams(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    // No index but the primary key: rows come and go with every stream, and only the sweep looks
    // for others.
    let table = Table::create()
        .table("billing_streams")
        .col(uuid("log_id").primary_key())
        .col(big("node_id"))
        .col(uuid("platform_id"))
        .col(uuid_or_null("end_user_id"))
        .col(big("wallet_account_id"))
        .col(big_or_null("budget_account_id"))
        .col(big("accrued_wallet"))
        .col(big("accrued_usd"))
        .col(big("accrued_tokens"))
        .col(big("accrued_display"))
        .col(big("hold_wallet"))
        .col(big("hold_usd"))
        .col(big("hold_tokens"))
        .col(big("hold_display"))
        .col(uuid("price_id"))
        .col(uuid("model_id"))
        .col(big("opened_at"))
        .col(big("checkpoint_at"))
        .take();
    manager.create_table(table).await
}

async fn ledger(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("billing_ledger")
        .col(identity("id"))
        .col(uuid("uid").unique_key())
        .col(small("kind"))
        .col(small("source"))
        .col(uuid("platform_id"))
        .col(uuid_or_null("end_user_id"))
        .col(big_or_null("wallet_account_id"))
        .col(big_or_null("wallet_usd"))
        .col(big_or_null("budget_account_id"))
        .col(big_or_null("rem_usd"))
        .col(big_or_null("rem_tokens"))
        .col(big_or_null("rem_display"))
        .col(big_or_null("lim_usd"))
        .col(big_or_null("lim_tokens"))
        .col(big_or_null("lim_display"))
        .col(uuid_or_null("ref_uid"))
        .col(small_zero("flags"))
        .col(big_or_null("node_id"))
        .col(big_or_null("lane_seq"))
        .col(uuid_or_null("model_id"))
        .col(uuid_or_null("price_id"))
        .col(big_or_null("in_tokens"))
        .col(big_or_null("cached_tokens"))
        .col(big_or_null("out_tokens"))
        .col(big_or_null("markup"))
        .col(string_or_null("idempotency_key", 255))
        .col(string_or_null("reason", 500))
        .col(text_or_null("metadata"))
        .col(string_or_null("actor", 128))
        .col(big("created_at"))
        .take();
    manager.create_table(table).await?;
    for (name, column) in [
        ("billing_ledger_wallet", "wallet_account_id"),
        ("billing_ledger_budget", "budget_account_id"),
    ] {
        let index = Index::create()
            .name(name)
            .table("billing_ledger")
            .col(column)
            .col("id")
            .take();
        manager.create_index(index).await?;
    }
    let references = Index::create()
        .name("billing_ledger_ref")
        .table("billing_ledger")
        .col("ref_uid")
        .and_where(Expr::col("ref_uid").is_not_null())
        .take();
    manager.create_index(references).await
}

/// Entries are never changed and never removed, by whatever program.
async fn append_only(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let statements: &[&str] = match manager.get_database_backend() {
        DbBackend::Sqlite => &[
            "CREATE TRIGGER billing_ledger_no_update BEFORE UPDATE ON billing_ledger
             BEGIN SELECT RAISE(ABORT, 'billing_ledger is append only'); END",
            "CREATE TRIGGER billing_ledger_no_delete BEFORE DELETE ON billing_ledger
             BEGIN SELECT RAISE(ABORT, 'billing_ledger is append only'); END",
        ],
        DbBackend::Postgres => &[
            "CREATE FUNCTION billing_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'billing_ledger is append only'; END $$",
            "CREATE TRIGGER billing_ledger_no_change BEFORE UPDATE OR DELETE ON billing_ledger
             FOR EACH ROW EXECUTE FUNCTION billing_ledger_refuse()",
            "CREATE TRIGGER billing_ledger_no_truncate BEFORE TRUNCATE ON billing_ledger
             FOR EACH STATEMENT EXECUTE FUNCTION billing_ledger_refuse()",
        ],
        other => {
            return Err(DbErr::Migration(format!(
                "no append-only rule for {other:?}"
            )));
        }
    };
    for statement in statements {
        manager
            .get_connection()
            .execute_unprepared(statement)
            .await?;
    }
    Ok(())
}

async fn idempotency(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("billing_idempotency")
        .col(bytes("scope_hash").primary_key())
        .col(bytes("request_hash"))
        .col(text("body"))
        .col(big_or_null("account_id"))
        .col(uuid_or_null("uid"))
        .col(big("created_at"))
        .take();
    manager.create_table(table).await
}

async fn unconfirmed(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("billing_unconfirmed")
        .col(uuid("uid").primary_key())
        .col(big("node_id"))
        .col(small_zero("resolution"))
        .col(big_or_null("resolved_at"))
        .col(string_or_null("actor", 128))
        .col(string_or_null("reason", 500))
        .col(big("created_at"))
        .take();
    manager.create_table(table).await?;
    let open = Index::create()
        .name("billing_unconfirmed_open")
        .table("billing_unconfirmed")
        .col("resolution")
        .col("uid")
        .take();
    manager.create_index(open).await
}
