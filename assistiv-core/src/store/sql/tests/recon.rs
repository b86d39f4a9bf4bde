//! Differences that were planted behind the store's back are found, and told to the operator.

use std::sync::Arc;

use sea_orm::ConnectionTrait;

use super::{Bench, engine, operator};
use crate::billing::BillingOptions;
use crate::clock::Clock;
use crate::doctor::Patient;
use crate::provider::Providers;
use crate::recon::{ReconSchedule, Reconciler};
use crate::routing::{Catalogue, Router};
use crate::secrets::MasterKeyCipher;
use crate::store::Stores;

fn reconciler(bench: &Bench) -> Reconciler {
    let stores: Stores = bench.store.stores();
    let cipher = MasterKeyCipher::new(&MasterKeyCipher::generate_key().unwrap());
    let clock: Arc<dyn Clock> = Arc::new(bench.clock.clone());
    let router = Router::new(
        Catalogue::default(),
        Providers::default(),
        stores.llm_configs.clone(),
        stores.model_routes.clone(),
        Arc::new(cipher),
        clock.clone(),
        BillingOptions::default(),
    );
    let options = BillingOptions::default();
    Reconciler {
        stores,
        router,
        clock,
        schedule: ReconSchedule {
            full: options.recon_full,
            incremental: options.recon_incremental,
            lease: options.ttl,
        },
    }
}

async fn tamper(bench: &Bench, statement: &str) {
    let done = bench.store.0.writer.execute_unprepared(statement).await;
    assert!(done.unwrap().rows_affected() > 0, "{statement}");
}

#[tokio::test]
async fn planted_differences_are_found() {
    for (statement, check) in [
        ("UPDATE billing_accounts SET free_usd = free_usd + 1", "ledger"),
        ("UPDATE billing_accounts SET free_tokens = free_tokens - 1", "ledger"),
        (
            "INSERT INTO billing_slots (node_id, account_id, usd, tokens, display)
             SELECT 99, id, 5, 0, 0 FROM billing_accounts",
            "ledger",
        ),
        (
            "INSERT INTO billing_slots (node_id, account_id, usd, tokens, display)
             SELECT 99, id, -5, 0, 0 FROM billing_accounts",
            "slots",
        ),
        (
            "INSERT INTO billing_nodes (instance, name, state, expires_at, acked_control, ledger_from, created_at, updated_at)
             SELECT randomblob(16), 'old', 0, 0, 0, 0, 0, 0",
            "nodes",
        ),
        (
            "INSERT INTO billing_ledger (uid, kind, source, platform_id, wallet_account_id, wallet_usd, flags, created_at)
             SELECT randomblob(16), 1, 2, platform_id, id, -1, 0, 0 FROM billing_accounts",
            "charges",
        ),
        (
            "INSERT INTO billing_ledger (uid, kind, source, platform_id, wallet_account_id, wallet_usd, ref_uid, flags, created_at)
             SELECT randomblob(16), 3, 3, platform_id, wallet_account_id, 1, uid, 0, 0 FROM billing_ledger",
            "refunds",
        ),
        (
            "INSERT INTO billing_streams (log_id, node_id, platform_id, wallet_account_id, accrued_wallet, accrued_usd,
               accrued_tokens, accrued_display, hold_wallet, hold_usd, hold_tokens, hold_display, price_id, model_id,
               opened_at, checkpoint_at)
             SELECT randomblob(16), 99, platform_id, id, 0, 0, 0, 0, 0, 0, 0, 0, randomblob(16), randomblob(16), 0, 0
             FROM billing_accounts",
            "slots",
        ),
    ] {
        let bench = Bench::new().await;
        bench.platform("acme", 1_000).await;
        let reconciler = reconciler(&bench);
        if check == "nodes" {
            // The newest one that is open is the gateway's own.
            tamper(&bench, statement).await;
        }
        tamper(&bench, statement).await;
        // Every charge must have its row by now.
        let logs = &reconciler.stores.logs;
        logs.set_repaired_to(&engine(), i64::MAX).await.unwrap();
        let outcome = reconciler.look().await.unwrap().unwrap();
        assert!(outcome.mismatches > 0, "{statement}");
        let details = outcome.details.unwrap();
        assert!(details.contains(&format!("\"check\":\"{check}\"")), "{statement}: {details}");
        let events = reconciler.stores.events.events(&engine(), None, 9).await.unwrap();
        let told = events.iter().filter(|event| event.event_type().is_for_operators());
        assert_eq!(told.count(), 1, "{statement}");
        // The doctor looks at the same.
        let stores = bench.store.stores();
        let catalogue = Catalogue::default();
        let patient = Patient {
            stores: &stores,
            catalogue: &catalogue,
            cipher: None,
            is_in_use: Some(true),
            database_time: bench.now(),
            machine_time: bench.now(),
        };
        let checks = patient.examine().await;
        let wrong: Vec<_> = checks.iter().filter(|check| !check.is_ok()).collect();
        assert!(wrong.iter().any(|wrong| wrong.name == check), "{statement}: {wrong:?}");
    }
}

#[tokio::test]
async fn books_that_agree_are_silent() {
    let bench = Bench::new().await;
    bench.platform("acme", 1_000).await;
    bench.platform("other", 0).await;
    let reconciler = reconciler(&bench);
    let outcome = reconciler.look().await.unwrap().unwrap();
    assert_eq!((outcome.accounts, outcome.mismatches), (2, 0));
    assert_eq!(outcome.details, None);
    let again = reconciler.look().await.unwrap();
    assert_eq!(again, None, "nothing is due");
    let scope = operator();
    let audits = reconciler
        .stores
        .recon
        .audit_since_checkpoint(&scope)
        .await
        .unwrap();
    assert!(audits.iter().all(|audit| audit.balances()));
}
