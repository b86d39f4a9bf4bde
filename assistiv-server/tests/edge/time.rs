//! What takes too long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::harness::{Edge, until};

const GET: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[tokio::test]
async fn a_head_must_be_complete_in_time_however_it_trickles() {
    let edge = Edge::with(|setup| setup.server.header_timeout = millis(150)).await;
    let mut silent = edge.connect().await;
    let mut partial = edge.connect().await;
    let mut second = edge.connect().await;
    partial.send("GET /healthz HTTP/1.1\r\nHo").await;
    assert_eq!(second.ask(GET).await.status, 200);
    second.send("GET /heal").await;
    let started = Instant::now();
    let mut trickling = edge.connect().await;
    let trickle = async {
        trickling.send("GET /healthz HTTP/1.1\r\nHost: a\r\n").await;
        while trickling.stream.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(millis(20)).await;
        }
    };
    tokio::time::timeout(millis(5_000), trickle).await.unwrap();
    assert!(started.elapsed() >= millis(150));
    for client in [&mut silent, &mut partial, &mut second] {
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_limit_for_heads() {
    let edge = Edge::with(|setup| {
        setup.server.header_timeout = millis(100);
        setup.server.idle_timeout = millis(600);
    })
    .await;
    let mut client = edge.connect().await;
    assert_eq!(client.ask(GET).await.status, 200);
    tokio::time::sleep(millis(250)).await;
    assert_eq!(client.ask(GET).await.status, 200);
    let idle = Instant::now();
    assert!(client.is_closed().await);
    assert!(idle.elapsed() >= millis(550), "{:?}", idle.elapsed());
}

#[tokio::test]
async fn a_running_request_is_not_idle() {
    let edge = Edge::with(|setup| {
        setup.server.header_timeout = millis(80);
        setup.server.idle_timeout = millis(80);
    })
    .await;
    let mut client = edge.connect().await;
    client.send(edge.chat("wait")).await;
    tokio::time::sleep(millis(300)).await;
    edge.stage.gate.add_permits(1);
    assert_eq!(client.reply().await.status, 200);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_and_its_call_ends() {
    let edge = Edge::with(|setup| setup.server.write_timeout = millis(200)).await;
    let socket = TcpSocket::new_v4().unwrap();
    // Less for the kernel to take in the reader's place.
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let mut stream = socket.connect(edge.address).await.unwrap();
    stream
        .write_all(edge.stream("endless").as_bytes())
        .await
        .unwrap();
    let open = || edge.stage.open.load(Ordering::SeqCst);
    until(|| open() == 1).await;
    let started = Instant::now();
    until(|| open() == 0).await;
    assert!(started.elapsed() >= millis(200));
    let mut taken = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut taken).await;
    assert!(!String::from_utf8_lossy(&taken).contains("[DONE]"));
}

#[tokio::test]
async fn a_caller_who_leaves_ends_its_call() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    client.send(edge.stream("hang")).await;
    let open = || edge.stage.open.load(Ordering::SeqCst);
    until(|| open() == 1).await;
    drop(client);
    let left = Instant::now();
    until(|| open() == 0).await;
    assert!(left.elapsed() < Duration::from_secs(1));
}
