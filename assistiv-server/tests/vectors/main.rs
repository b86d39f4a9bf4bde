//! Recorded exchanges through the whole gateway: a server in this process, a provider that replays what was recorded,
//! and a client that sees what callers see. What is charged is compared to a billionth of a dollar.
//!
//! `ASSISTIV_TEST_VECTORS` names a folder of vectors; without it those of the repository run (`tests/vectors`, whose
//! README describes the form). `ASSISTIV_TEST_VECTOR` runs those alone whose name holds a text.

#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

mod assemble;
mod check;
mod client;
#[path = "../../../assistiv-providers/src/vectors/expect.rs"]
mod expect;
mod upstream;
mod world;

use std::path::PathBuf;

use serde_json::Value;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_vector_comes_out_as_expected() {
    let only = std::env::var("ASSISTIV_TEST_VECTOR").unwrap_or_default();
    let world = World::new().await;
    let (mut ran, mut failed) = (0, Vec::new());
    for vector in vectors() {
        let name = vector["name"].as_str().unwrap().to_owned();
        if !name.contains(&only) {
            continue;
        }
        ran += 1;
        let problems = check::run(&world, &vector).await;
        failed.extend(
            problems
                .into_iter()
                .map(|problem| format!("{name}: {problem}")),
        );
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(ran > 0, "there are no vectors");
}

/// All vectors of the folder, by name.
fn vectors() -> Vec<Value> {
    let folder = std::env::var_os("ASSISTIV_TEST_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors"),
        PathBuf::from,
    );
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    let read = |path: PathBuf| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    paths.into_iter().map(read).collect()
}
