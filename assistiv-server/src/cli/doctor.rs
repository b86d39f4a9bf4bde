//! `doctor`: a report on the health of the database, which changes nothing.

use std::path::Path;
use std::process::ExitCode;

use assistiv_core::clock::{Clock, SystemClock};
use assistiv_core::doctor::{Check, Patient, checked};
use assistiv_core::secrets::SecretCipher;
use assistiv_core::store::StoreError;
use assistiv_core::store::sql::SqlStore;
use serde_json::{Map, Value, json};

use super::{CliError, terminal};
use crate::config::Config;
use crate::node;

/// Less free space than this is wrong: a database that cannot grow refuses calls.
const FREE_BYTES_MIN: u64 = 256 << 20;

/// Runs all checks and prints what they found.
pub(super) async fn run(config: &Config, json: bool) -> Result<ExitCode, CliError> {
    let inspection = node::inspect(config).await?;
    let store = &inspection.store;
    let mut checks = vec![checked("schema", schema(store).await)];
    let (cipher, master_key) = match node::existing_cipher(config, store).await? {
        Ok(cipher) => (Some(cipher), Vec::new()),
        Err(error) => (None, vec![error.to_string()]),
    };
    let summary = "the key that secrets were sealed with";
    checks.push(Check::new("master_key", summary, master_key));
    let stores = store.stores();
    let patient = Patient {
        stores: &stores,
        catalogue: &node::catalogue(config)?,
        cipher: cipher.as_ref().map(|cipher| cipher as &dyn SecretCipher),
        is_in_use: inspection.is_in_use,
        database_time: store.time(),
        machine_time: SystemClock.now(),
    };
    checks.extend(patient.examine().await);
    checks.push(disk(&config.server.data_dir));
    // Nothing was written, so nothing can be lost by a connection that does not close.
    let _ = store.close().await;

    let ok = checks.iter().all(Check::is_ok);
    if json {
        let checks: Vec<Value> = checks.into_iter().map(as_json).collect();
        terminal::json(&json!({ "ok": ok, "in_use": inspection.is_in_use, "checks": checks }));
    } else {
        checks.iter().for_each(print);
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn schema(store: &SqlStore) -> Result<Check, StoreError> {
    let mut findings = Vec::new();
    let mut facts = Map::new();
    let mut newest = Vec::new();
    for state in store.schemas().await? {
        for name in &state.pending {
            findings.push(format!(
                "the schema `{}` lacks {name}; a start applies it",
                state.schema
            ));
        }
        for name in &state.unknown {
            findings.push(format!(
                "the schema `{}` has {name} of a newer version of this program",
                state.schema
            ));
        }
        newest.extend(state.newest.clone());
        facts.insert(state.schema.to_owned(), json!(state.newest));
    }
    let check = Check::new("schema", newest.join(", "), findings);
    Ok(Check { facts, ..check })
}

fn disk(data_dir: &Path) -> Check {
    let mut findings = Vec::new();
    let free = match rustix::fs::statvfs(data_dir) {
        Ok(space) => Some(space.f_bavail.saturating_mul(space.f_frsize)),
        Err(error) => {
            findings.push(format!(
                "{} cannot be examined: {error}",
                data_dir.display()
            ));
            None
        }
    };
    if free.is_some_and(|free| free < FREE_BYTES_MIN) {
        findings.push(format!(
            "the file system of {} is nearly full",
            data_dir.display()
        ));
    }
    let summary = format!("{} MiB are free", free.unwrap_or(0) >> 20);
    Check::new("disk", summary, findings).with("free_bytes", free)
}

fn as_json(check: Check) -> Value {
    let mut object = json!({
        "name": check.name,
        "ok": check.is_ok(),
        "summary": check.summary,
        "findings": check.findings,
    });
    if let Some(object) = object.as_object_mut() {
        object.extend(check.facts);
    }
    object
}

fn print(check: &Check) {
    let mark = if check.is_ok() { "ok   " } else { "WRONG" };
    terminal::line(&format!("{mark}  {:10}  {}", check.name, check.summary));
    for finding in &check.findings {
        terminal::line(&format!("                   {finding}"));
    }
}
