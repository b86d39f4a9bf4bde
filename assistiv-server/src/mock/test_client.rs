//! The tests' client: plain sockets, so that cuts, line ends and chunks are seen as they are sent.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

pub(super) const SOON: Duration = Duration::from_secs(5);
pub(super) const MOMENT: Duration = Duration::from_millis(50);
const HEAD_END: &[u8] = b"\r\n\r\n";

pub(super) struct Got {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
    /// Whether the body ended as HTTP wants it.
    pub(super) whole: bool,
}

impl Got {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|w| w == HEAD_END)
            .expect("no head");
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        let status = head[9..12].parse().unwrap();
        let body = &bytes[end + 4..];
        let (body, whole) = match head.split_once("content-length: ") {
            Some((_, length)) => {
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                (body.to_vec(), length == body.len())
            }
            None => dechunk(body),
        };
        Self {
            status,
            head,
            body: String::from_utf8(body).unwrap(),
            whole,
        }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn data(&self) -> Vec<&str> {
        self.body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .collect()
    }

    /// The frames that are JSON, as all but `[DONE]` ought to be.
    pub(super) fn frames(&self) -> Vec<Value> {
        self.data()
            .into_iter()
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect()
    }

    pub(super) fn is_done(&self) -> bool {
        self.data().last() == Some(&"[DONE]")
    }

    pub(super) fn text(&self) -> String {
        let frames = self.frames();
        frames
            .iter()
            .filter_map(|f| f.pointer("/choices/0/delta/content")?.as_str())
            .collect()
    }

    pub(super) fn finish_reason(&self) -> Option<String> {
        let frames = self.frames();
        let reason = |f: &Value| Some(f.pointer("/choices/0/finish_reason")?.as_str()?.to_owned());
        frames.iter().find_map(reason)
    }
}

fn dechunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    (body, false)
}

pub(super) fn start() -> Mock {
    Mock::start(([127, 0, 0, 1], 0).into()).unwrap()
}

pub(super) async fn send(mock: &Mock, line: &str, key: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(mock.addr()).await.unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n{key}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

pub(super) async fn receive(mut stream: TcpStream) -> Got {
    let mut bytes = Vec::new();
    // A cut may show as a reset; what came before counts.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes))
        .await
        .unwrap();
    Got::parse(&bytes)
}

pub(super) async fn begin(mock: &Mock, text: &str, extra: Value) -> TcpStream {
    let mut body = json!({"model": "gpt-x", "messages": [{"role": "user", "content": text}]});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    let key = "authorization: Bearer sk-upstream\r\n";
    send(mock, "POST /v1/chat/completions", key, &body.to_string()).await
}

pub(super) async fn ask(mock: &Mock, text: &str, extra: Value) -> Got {
    receive(begin(mock, text, extra).await).await
}

pub(super) fn streamed() -> Value {
    json!({"stream": true, "stream_options": {"include_usage": true}})
}

/// Reads until `part` is there, and keeps the connection.
pub(super) async fn read_part(stream: &mut TcpStream, part: &str) {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(part) {
        let read = tokio::time::timeout(SOON, stream.read_buf(&mut bytes)).await;
        assert_ne!(read.unwrap().unwrap(), 0, "closed before {part}");
    }
}

pub(super) async fn is_silent(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(MOMENT, stream.read_u8())
        .await
        .is_err()
}
