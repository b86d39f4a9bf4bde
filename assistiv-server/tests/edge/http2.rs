//! HTTP/2 with prior knowledge, frame by frame.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::client::PATIENCE;
use crate::harness::{Edge, until};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Http2(TcpStream);

struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

impl Http2 {
    /// Connects, with an initial window for each stream.
    async fn connect(edge: &Edge, window: u32) -> Self {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        let mut this = Self(stream);
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        this.send(SETTINGS, 0, 0, &settings).await;
        this
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// Sends a request head; names and values as literals that are not indexed.
    async fn head(&mut self, flags: u8, stream: u32, fields: &[(&str, &str)]) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                assert!(text.len() < 127);
                block.push(text.len() as u8);
                block.extend(text.as_bytes());
            }
        }
        self.send(HEADERS, flags | END_HEADERS, stream, &block)
            .await;
    }

    async fn get(&mut self, stream: u32, path: &str) {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", path),
        ];
        self.head(END_STREAM, stream, &fields).await;
    }

    /// The next frame, `None` at the end.
    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        timeout(PATIENCE, self.0.read_exact(&mut head))
            .await
            .unwrap()
            .ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        if head[3] == PING && head[4] & ACK == 0 {
            self.send(PING, ACK, 0, &payload).await;
        }
        Some(Frame {
            kind: head[3],
            flags: head[4],
            payload,
        })
    }

    /// The first byte of the head of the next answer, which is its status for common ones, and the body.
    async fn answer(&mut self) -> (u8, Vec<u8>) {
        let mut status = 0;
        let mut body = Vec::new();
        loop {
            let frame = self.frame().await.unwrap();
            match frame.kind {
                HEADERS => status = frame.payload[0],
                DATA => body.extend(frame.payload),
                _ => continue,
            }
            if frame.flags & END_STREAM != 0 {
                return (status, body);
            }
        }
    }
}

/// HPACK's static table: `:status: 200` and `:status: 404`.
const INDEXED_200: u8 = 0x80 | 8;
const INDEXED_404: u8 = 0x80 | 13;

#[tokio::test]
async fn http2_works_with_prior_knowledge() {
    let edge = Edge::start().await;
    let mut client = Http2::connect(&edge, 65_535).await;
    client.get(1, "/healthz").await;
    assert_eq!(
        client.answer().await,
        (INDEXED_200, br#"{"status":"ok"}"#.to_vec())
    );
    client.get(3, "/nothing").await;
    assert_eq!(client.answer().await.0, INDEXED_404);
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_in_order() {
    let edge = Edge::with(|setup| setup.server.idle_timeout = Duration::from_millis(100)).await;
    let mut client = Http2::connect(&edge, 65_535).await;
    client.get(1, "/healthz").await;
    client.answer().await;
    let idle = Instant::now();
    let mut said_so = false;
    while let Some(frame) = client.frame().await {
        said_so |= frame.kind == GO_AWAY;
    }
    assert!(said_so && idle.elapsed() >= Duration::from_millis(90));
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_is_cut_and_its_call_ends() {
    let edge = Edge::with(|setup| setup.server.write_timeout = Duration::from_millis(200)).await;
    let mut client = Http2::connect(&edge, 0).await;
    let request = edge.stream("endless");
    let body = request.split("\r\n\r\n").nth(1).unwrap();
    let bearer = format!("Bearer {}", edge.platform_key);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/v1/chat/completions"),
        ("content-type", "application/json"),
        ("authorization", &bearer),
    ];
    client.head(0, 1, &fields).await;
    client.send(DATA, END_STREAM, 1, body.as_bytes()).await;
    let open = || edge.stage.open.load(Ordering::SeqCst);
    until(|| open() == 1).await;
    until(|| open() == 0).await;
}
