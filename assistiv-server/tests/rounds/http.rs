//! A client as plain as it gets: one connection for each request, and what came over it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than any fault lasts: a server that was frozen still answers its callers.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of a request, whole or cut.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) head: String,
    pub(crate) body: String,
    /// The caller has left in the middle.
    pub(crate) left: bool,
}

/// Sends a request and reads until the server closes the connection, or until the caller has seen enough.
///
/// # Errors
/// When nothing came that could be called an answer.
pub(crate) async fn exchange(
    address: SocketAddr,
    request: &str,
    seen_enough: impl Fn(&str) -> bool,
) -> io::Result<Raw> {
    let mut bytes = Vec::new();
    let work = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(request.as_bytes()).await?;
        loop {
            match socket.read_buf(&mut bytes).await {
                Ok(0) => return Ok(false),
                Ok(_) if seen_enough(&String::from_utf8_lossy(&bytes)) => return Ok(true),
                Ok(_) => {}
                // A reset in the middle leaves what came before it.
                Err(error) => return Err(error),
            }
        }
    };
    let ended = match tokio::time::timeout(PATIENCE, work).await {
        Ok(ended) => ended,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.split_once("\r\n\r\n") {
        Some((head, body)) => Ok(Raw {
            head: head.to_owned(),
            body: body.to_owned(),
            left: ended.unwrap_or(false),
        }),
        None => Err(ended
            .err()
            .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
    }
}

/// A request as text.
pub(crate) fn request(
    method: &str,
    path: &str,
    key: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> String {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{headers}connection: close\r\n\r\n{body}",
        body.len()
    )
}

impl Raw {
    pub(crate) fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1);
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// The body as JSON; null where it is none, or not whole.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// Whether the body came to the end that the head announced.
    pub(crate) fn came_to_its_end(&self) -> bool {
        match self.header("content-length") {
            Some(length) => length.parse() == Ok(self.body.len()),
            None => self.body.ends_with("0\r\n\r\n"),
        }
    }

    /// The frames of a stream that are JSON.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Value> {
        let data = self
            .body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| serde_json::from_str(data).ok())
    }
}
