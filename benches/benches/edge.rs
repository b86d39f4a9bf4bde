//! What the HTTP edge adds to a call: headers, limits, the log line, and a connection.
//!
//! ```sh
//! cargo bench -p assistiv-benches --bench edge
//! ```

#![expect(clippy::unwrap_used, reason = "a bench")]

use assistiv_benches::echo::{body, started};
use assistiv_core::auth::PresentedKey;
use assistiv_core::{Call, Gateway, Operation};
use assistiv_server::http::{DrainOptions, HttpOptions, HttpService, Server, ServerOptions};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http_body_util::{BodyExt, Full};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PATH: &str = "/v1/chat/completions";

fn edge(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let body = body(400);
    let (gateway, key) = runtime.block_on(started(Gateway::builder())).unwrap();
    let service = HttpService::new(gateway.clone(), axum::Router::new(), HttpOptions::default());
    let mut group = criterion.benchmark_group("a billed call in memory");
    group.bench_function("through the stack", |bencher| {
        bencher.iter(|| runtime.block_on(in_process(&gateway, &key, &body)));
    });
    group.bench_function("through the HTTP service", |bencher| {
        bencher.iter(|| runtime.block_on(as_request(&service, &key, &body)));
    });
    let stop = CancellationToken::new();
    let mut client = runtime.block_on(connect(service, stop.clone()));
    let request = wire(&key, &body);
    group.bench_function("through a connection that is kept", |bencher| {
        bencher.iter(|| runtime.block_on(over_tcp(&mut client, &request)));
    });
    stop.cancel();
    group.finish();
}

async fn in_process(gateway: &Gateway, key: &PresentedKey, body: &Bytes) {
    let call = Call::new(key.clone(), Operation::ChatCompletions, body.clone());
    let response = gateway.inference().oneshot(call).await.unwrap();
    response.into_body().collect().await.unwrap();
}

async fn as_request(service: &HttpService, key: &PresentedKey, body: &Bytes) {
    let request = Request::post(PATH)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {}", key.reveal()))
        .header("content-type", "application/json")
        .body(Full::new(body.clone()))
        .unwrap();
    let response = service.clone().oneshot(request).await.unwrap();
    assert!(response.status().is_success());
    response.into_body().collect().await.unwrap();
}

/// Serves on a free port, and connects.
async fn connect(service: HttpService, stop: CancellationToken) -> TcpStream {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let drain = DrainOptions {
        delay: Duration::ZERO,
        requests: Duration::ZERO,
    };
    let server = Server::new(ServerOptions::default());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { server.run(listener, service, stop, drain).await });
    tasks.detach_all();
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn wire(key: &PresentedKey, body: &Bytes) -> Vec<u8> {
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        key.reveal(),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Sends a request, and reads the answer by its length: so little that the server is what is measured.
async fn over_tcp(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).await.unwrap();
    let mut read = Vec::with_capacity(4_096);
    loop {
        stream.read_buf(&mut read).await.unwrap();
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.unwrap().parse().unwrap() {
            return;
        }
    }
}

criterion_group!(benches, edge);
criterion_main!(benches);
