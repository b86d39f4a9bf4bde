//! A client as plain as it gets: one request a connection, and the bytes of the answer.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far longer than anything here takes; only a server that hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer, as far as it was read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Map<String, Value>,
    pub(crate) body: Vec<u8>,
}

/// A JSON request, read to the end of its answer, or until it has so many frames.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    body: &Value,
    frames: Option<usize>,
) -> Answer {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = parse(&bytes, frames) {
                return answer;
            }
            let read = socket.read_buf(&mut bytes).await.unwrap();
            assert_ne!(
                read,
                0,
                "the answer was cut: {}",
                String::from_utf8_lossy(&bytes)
            );
        }
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap()
}

/// The answer, once as much of it is there as is wanted.
fn parse(bytes: &[u8], frames: Option<usize>) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let headers: Map<String, Value> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.into()))
        .collect();
    let rest = &bytes[end + 4..];
    let length = headers.get("content-length").and_then(Value::as_str);
    let body = match length {
        Some(length) => {
            let length: usize = length.parse().unwrap();
            rest.get(..length)?.to_vec()
        }
        None => {
            let (body, ended) = dechunk(rest);
            let seen = body.windows(2).filter(|window| *window == b"\n\n").count();
            let enough = ended || frames.is_some_and(|frames| seen >= frames);
            enough.then_some(body)?
        }
    };
    Some(Answer {
        status,
        headers,
        body,
    })
}

/// The content of whole chunks, and whether the last one was there.
fn dechunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(at) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..at]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = bytes.get(at + 2..at + 2 + size) else {
            break;
        };
        if size == 0 {
            return (body, true);
        }
        let Some(after) = bytes.get(at + 4 + size..) else {
            break;
        };
        body.extend_from_slice(chunk);
        bytes = after;
    }
    (body, false)
}
