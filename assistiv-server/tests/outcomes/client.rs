//! A client as plain as it gets, so that tests see the bytes that a caller gets and can leave at any point.

mod stream;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) use self::stream::{Rest, Stream};

/// Far longer than anything here takes; only a server that hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the server.
pub(crate) struct Connection {
    socket: TcpStream,
    /// What was read and not yet looked at.
    buffer: Vec<u8>,
}

/// A request before it is sent.
#[derive(Clone)]
pub(crate) struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str, key: &str) -> Self {
        let line = format!("{method} {path} HTTP/1.1");
        Self {
            line,
            headers: Vec::new(),
            body: Vec::new(),
        }
        .header("host", "gateway.test")
        .header("authorization", &format!("Bearer {key}"))
    }

    /// A call of the chat endpoint with this body.
    pub(crate) fn chat(key: &str, body: impl ToString) -> Self {
        Self::new("POST", "/v1/chat/completions", key).json(body)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a header out.
    pub(crate) fn drop(&mut self, name: &str) {
        self.headers.retain(|(known, _)| known != name);
    }

    /// Sets a header to another value.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn json(mut self, body: impl ToString) -> Self {
        self.body = body.to_string().into_bytes();
        let length = self.body.len().to_string();
        self.header("content-type", "application/json")
            .header("content-length", &length)
    }

    fn head(&self) -> String {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{}\r\n{}\r\n", self.line, headers.collect::<String>())
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        Self {
            socket,
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, request: &Request) {
        let mut bytes = request.head().into_bytes();
        bytes.extend_from_slice(&request.body);
        self.write(&bytes).await.unwrap();
    }

    /// Fails when the server does not take the bytes any more.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        within(self.socket.write_all(bytes)).await
    }

    /// Reads an answer to its end.
    pub(crate) async fn answer(&mut self) -> Answer {
        let (status, headers) = self.head().await;
        self.body_of(status, headers).await
    }

    async fn body_of(&mut self, status: u16, headers: HeaderMap) -> Answer {
        let mut body = Vec::new();
        if is_chunked(&headers) {
            while let Some(chunk) = self.chunk().await {
                body.extend(chunk);
            }
        } else {
            let length = headers
                .get("content-length")
                .map_or(0, |length| length.to_str().unwrap().parse().unwrap());
            self.fill(length).await;
            body = self.buffer.drain(..length).collect();
        }
        Answer {
            status,
            headers,
            text: String::from_utf8(body).unwrap(),
        }
    }

    /// Reads the head of an answer whose body is a stream.
    pub(crate) async fn stream(mut self) -> Stream {
        let (status, headers) = self.head().await;
        assert!(is_chunked(&headers), "not a stream: {status} {headers:?}");
        Stream::new(self, status, headers)
    }

    /// Reads an answer that is a stream, or was refused before it began.
    pub(crate) async fn stream_or_answer(mut self) -> Result<Stream, Answer> {
        let (status, headers) = self.head().await;
        if status == 200 {
            return Ok(Stream::new(self, status, headers));
        }
        Err(self.body_of(status, headers).await)
    }

    /// Whether the server closes the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && !matches!(self.read().await, Ok(1..))
    }

    async fn head(&mut self) -> (u16, HeaderMap) {
        let end = loop {
            if let Some(at) = self
                .buffer
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at;
            }
            assert_ne!(
                self.read().await.unwrap(),
                0,
                "the server closed without an answer"
            );
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (
                name.parse::<HeaderName>().unwrap(),
                value.parse::<HeaderValue>().unwrap(),
            )
        });
        // Several fields of one name are kept, so that a test may notice them.
        (
            status,
            headers.fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            }),
        )
    }

    /// The next chunk of a body; `None` at its end.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                break at;
            }
            assert_ne!(self.read().await.unwrap(), 0, "the body was cut");
        };
        let size: Vec<u8> = self.buffer.drain(..end + 2).collect();
        let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
        self.fill(size + 2).await;
        let chunk: Vec<u8> = self.buffer.drain(..size + 2).take(size).collect();
        (size > 0).then_some(chunk)
    }

    async fn fill(&mut self, length: usize) {
        while self.buffer.len() < length {
            assert_ne!(self.read().await.unwrap(), 0, "the body was cut");
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        within(self.socket.read_buf(&mut self.buffer)).await
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks for an error in full, and gives the object inside `error`.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, reason: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.headers.contains_key("x-request-id"));
        let error = self.json()["error"].clone();
        check_error(&error, status, reason);
        assert_eq!(error["request_id"].as_str(), self.header("x-request-id"));
        error
    }
}

/// Checks everything in an error that follows from its status and reason.
#[track_caller]
fn check_error(error: &Value, status: u16, reason: &str) {
    let (code, kind) = match status {
        400 => ("bad_request", "invalid_request_error"),
        401 => ("unauthorized", "authentication_error"),
        402 => ("payment_required", "billing_error"),
        403 => ("forbidden", "permission_error"),
        404 => ("not_found", "invalid_request_error"),
        409 => ("conflict", "invalid_request_error"),
        413 => ("payload_too_large", "invalid_request_error"),
        415 => ("unsupported_media_type", "invalid_request_error"),
        429 => ("rate_limited", "rate_limit_error"),
        502 => ("bad_gateway", "server_error"),
        503 => ("service_unavailable", "server_error"),
        504 => ("gateway_timeout", "server_error"),
        _ => panic!("no test knows {status}: {error}"),
    };
    assert_eq!(
        (&error["code"], &error["reason"], &error["type"]),
        (&code.into(), &reason.into(), &kind.into()),
        "{error}"
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
    assert!(error["details"].is_object() && error["request_id"].is_string());
    assert!(
        error["doc_url"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/docs/errors#{reason}"))
    );
}

fn is_chunked(headers: &HeaderMap) -> bool {
    headers
        .get("transfer-encoding")
        .is_some_and(|value| value == "chunked")
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("the server hangs")
}
