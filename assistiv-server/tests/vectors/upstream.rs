//! A provider that replays what was recorded, one exchange at a time.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The provider. It listens for as long as the runtime lives.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    answers: Mutex<VecDeque<Value>>,
    seen: Mutex<Vec<Seen>>,
    /// Whether the gateway has closed a connection before its answer was over.
    closed: watch::Sender<bool>,
}

/// A request as it arrived.
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    /// Names in lower case.
    pub(crate) headers: serde_json::Map<String, Value>,
    pub(crate) body: Vec<u8>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let upstream = Self {
            address,
            state: state.clone(),
        };
        crate::world::run(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                crate::world::run(serve(socket, state.clone()));
            }
        });
        upstream
    }

    /// Sets what the next requests are answered with.
    pub(crate) fn plan(&self, upstream: &Value) {
        let answers = match upstream {
            Value::Null => Vec::new(),
            Value::Array(answers) => answers.clone(),
            one => vec![one.clone()],
        };
        *self.state.answers.lock().unwrap() = answers.into();
        self.state.seen.lock().unwrap().clear();
        self.state.closed.send_replace(false);
    }

    /// The requests since the last plan.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().unwrap())
    }

    /// Waits until the gateway closes the connection of an answer that is not over; false when that takes too long.
    pub(crate) async fn sees_close(&self, within: Duration) -> bool {
        let mut closed = self.state.closed.subscribe();
        let closes = closed.wait_for(|closed| *closed);
        tokio::time::timeout(within, closes).await.is_ok()
    }
}

async fn serve(mut socket: TcpStream, state: Arc<State>) {
    socket.set_nodelay(true).unwrap();
    let Some(request) = read(&mut socket).await else {
        return;
    };
    state.seen.lock().unwrap().push(request);
    let answer = state.answers.lock().unwrap().pop_front();
    let answer = answer.unwrap_or_else(
        || json!({ "status": 500, "body": { "error": { "message": "no answer was planned" } } }),
    );
    if respond(&mut socket, &answer, &state).await.is_err() {
        state.closed.send_replace(true);
    }
}

async fn read(socket: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut line = lines.next()?.split(' ');
    let (method, target) = (line.next()?.to_owned(), line.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: serde_json::Map<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().into()))
        .collect();
    let length = headers.get("content-length").and_then(Value::as_str);
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: bytes[end + 4..].to_vec(),
    })
}

async fn respond(socket: &mut TcpStream, answer: &Value, state: &State) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", answer["status"]);
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        head.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap()));
    }
    let Some(chunks) = answer["sse_chunks"].as_array() else {
        let body = match &answer["body_text"] {
            Value::String(text) => text.clone(),
            _ => answer["body"].to_string(),
        };
        head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        socket.write_all(head.as_bytes()).await?;
        return socket.shutdown().await;
    };
    head.push_str("transfer-encoding: chunked\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    for chunk in chunks {
        let bytes = match chunk {
            Value::String(text) => text.clone().into_bytes(),
            chunk => BASE64_STANDARD
                .decode(chunk["b64"].as_str().unwrap())
                .unwrap(),
        };
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend(bytes);
        framed.extend(b"\r\n");
        socket.write_all(&framed).await?;
        // So that the pieces are more likely to arrive as pieces.
        tokio::task::yield_now().await;
    }
    match answer["end"].as_str() {
        None | Some("eof") => {
            socket.write_all(b"0\r\n\r\n").await?;
            socket.shutdown().await
        }
        // Closed without the last chunk.
        Some("abort") => socket.shutdown().await,
        Some("hang") => {
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
            state.closed.send_replace(true);
            Ok(())
        }
        Some(other) => panic!("the vectors end with {other}"),
    }
}
