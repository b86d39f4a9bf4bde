//! What the gateway itself costs: reading a request, and a whole call through the stack over in-memory parts and
//! over SQLite with its durable settlement.
//!
//! ```sh
//! cargo bench -p assistiv-benches --bench path
//! ```

#![expect(clippy::unwrap_used, reason = "a bench")]

use assistiv_benches::echo::{body, started};
use assistiv_core::auth::PresentedKey;
use assistiv_core::call::InferenceRequest;
use assistiv_core::store::sql::{SqlOptions, SqlStore};
use assistiv_core::{Call, Gateway, Operation};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::ServiceExt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read a request");
    for size in [400, 10_000, 100_000] {
        let body = body(size);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{size} bytes"), |bencher| {
            bencher.iter(|| {
                InferenceRequest::parse(Operation::ChatCompletions, body.clone()).unwrap()
            });
        });
    }
    group.finish();
}

async fn call(gateway: &Gateway, key: &PresentedKey, body: &Bytes) {
    let call = Call::new(key.clone(), Operation::ChatCompletions, body.clone());
    let response = gateway.inference().oneshot(call).await.unwrap();
    response.into_body().collect().await.unwrap();
}

/// So many calls side by side, as a loaded gateway has them: settlements share commits.
async fn calls(gateway: &Gateway, key: &PresentedKey, body: &Bytes, count: usize) {
    let calls = (0..count).map(|_| call(gateway, key, body));
    futures(calls).await;
}

async fn futures(calls: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        calls.retain_mut(|call| call.as_mut().poll(context).is_pending());
        if calls.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

fn stack(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let body = body(400);
    let mut group = criterion.benchmark_group("a billed call through the stack");
    let (gateway, key) = runtime.block_on(started(Gateway::builder())).unwrap();
    group.bench_function("in memory", |bencher| {
        bencher.iter(|| runtime.block_on(call(&gateway, &key, &body)));
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bench.db");
    let store = runtime
        .block_on(SqlStore::open(SqlOptions::sqlite(path)))
        .unwrap();
    let on_sqlite = Gateway::builder().stores(store.into());
    let (gateway, key) = runtime.block_on(started(on_sqlite)).unwrap();
    for side_by_side in [1, 16, 256] {
        group.throughput(Throughput::Elements(side_by_side as u64));
        group.bench_function(
            format!("on SQLite, {side_by_side} side by side"),
            |bencher| {
                bencher.iter(|| runtime.block_on(calls(&gateway, &key, &body, side_by_side)));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, requests, stack);
criterion_main!(benches);
