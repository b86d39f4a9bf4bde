//! A client as plain as it gets: one connection for each call, read until it closes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use assistiv_core::id::EntryId;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    key: String,
}

/// An answer as it came over the wire, whole or cut.
pub(crate) struct Answer {
    head: String,
    body: String,
    stream: bool,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        Self {
            address,
            key: key.to_owned(),
        }
    }

    /// Makes a call. An error means that nothing was answered; a cut answer is an answer.
    pub(crate) async fn complete(&self, prompt: &str, stream: bool) -> io::Result<Answer> {
        let body = serde_json::json!({
            "model": "gpt-4o-mini",
            "messages": [{ "role": "user", "content": prompt }],
            "stream": stream,
            "stream_options": stream.then(|| serde_json::json!({ "include_usage": true })),
        });
        let body = body.to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.key,
            body.len()
        );
        let call = async {
            let mut socket = TcpStream::connect(self.address).await?;
            socket.write_all(request.as_bytes()).await?;
            let mut raw = Vec::new();
            // A reset in the middle leaves what came before it.
            let read = socket.read_to_end(&mut raw).await;
            let text = String::from_utf8_lossy(&raw).into_owned();
            match text.split_once("\r\n\r\n") {
                Some((head, body)) => Ok(Answer {
                    head: head.to_owned(),
                    body: body.to_owned(),
                    stream,
                }),
                None => Err(read
                    .err()
                    .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
            }
        };
        tokio::time::timeout(Duration::from_secs(20), call)
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Answer {
    /// Whether the answer came to its end: the client would take it for complete.
    pub(crate) fn is_whole(&self) -> bool {
        let ended = self.body.ends_with("0\r\n\r\n") || !self.head.contains("chunked");
        let complete = if self.stream {
            self.body.contains("data: [DONE]")
        } else {
            self.json().is_some()
        };
        self.head.starts_with("HTTP/1.1 200") && ended && complete
    }

    /// The id of the call's charge.
    pub(crate) fn log_id(&self) -> Option<EntryId> {
        let line = self
            .head
            .lines()
            .find(|line| line.starts_with("x-assistiv-log-id: "))?;
        line.split_once(": ")?.1.parse().ok()
    }

    /// The tokens that the client was told.
    pub(crate) fn tokens(&self) -> Option<(u64, u64)> {
        let usage = if self.stream {
            let frames = self
                .body
                .lines()
                .filter_map(|line| line.strip_prefix("data: "));
            let chunks = frames.filter_map(|frame| serde_json::from_str::<Value>(frame).ok());
            chunks
                .filter_map(|chunk| {
                    chunk
                        .get("usage")
                        .filter(|usage| usage.is_object())
                        .cloned()
                })
                .next_back()?
        } else {
            self.json()?.get("usage")?.clone()
        };
        Some((
            usage["prompt_tokens"].as_u64()?,
            usage["completion_tokens"].as_u64()?,
        ))
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }
}
