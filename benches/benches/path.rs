//! What the gateway itself costs: reading a request, and a whole call through the stack over in-memory parts and
//! over SQLite with its durable settlement.
//!
//! ```sh
//! cargo bench -p assistiv-benches
//! ```

#![expect(clippy::unwrap_used, reason = "a bench")]

use assistiv_core::auth::PresentedKey;
use assistiv_core::call::InferenceRequest;
use assistiv_core::money::NanoUsd;
use assistiv_core::store::sql::{SqlOptions, SqlStore};
use assistiv_core::tenancy::CreatePlatform;
use assistiv_core::{Call, Gateway, GatewayBuilder, Operation};
use assistiv_providers::echo::Echo;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;
use tower::ServiceExt;

fn body(text_bytes: usize) -> Bytes {
    let text = "word ".repeat(text_bytes / 5);
    format!(
        r#"{{"model":"echo","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":16}}"#
    )
    .into()
}

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

async fn started(builder: GatewayBuilder) -> (Gateway, PresentedKey) {
    let gateway = builder
        .provider("echo".parse().unwrap(), Echo::registered())
        .build()
        .await
        .unwrap();
    let command = CreatePlatform {
        name: "Bench".into(),
        initial_balance: NanoUsd::MAX_INPUT,
        ..CreatePlatform::default()
    };
    let made = gateway
        .tenancy()
        .run(&gateway.local_operator(), (), command)
        .await
        .unwrap();
    (gateway, made.raw_key)
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
    let (gateway, key) = runtime.block_on(started(Gateway::builder()));
    group.bench_function("in memory", |bencher| {
        bencher.iter(|| runtime.block_on(call(&gateway, &key, &body)));
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bench.db");
    let store = runtime
        .block_on(SqlStore::open(SqlOptions::sqlite(path)))
        .unwrap();
    let (gateway, key) = runtime.block_on(started(Gateway::builder().stores(store.into())));
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
