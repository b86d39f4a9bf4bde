//! A receiver of webhooks: keeps what it got, answers as it was told to.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::world::run;

const PATIENCE: Duration = Duration::from_secs(30);

/// A message as it arrived.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Receiver {
    address: SocketAddr,
    got: tokio::sync::Mutex<mpsc::Receiver<Message>>,
    state: Arc<State>,
}

struct State {
    tell: mpsc::Sender<Message>,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    answers: VecDeque<String>,
    hangs: bool,
    hanging: usize,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, got) = mpsc::channel(1024);
        let state = Arc::new(State {
            tell,
            script: Mutex::default(),
        });
        let serving = state.clone();
        run(async move {
            while let Ok((socket, _)) = listener.accept().await {
                run(serving.clone().serve(socket));
            }
        });
        Self {
            address,
            got: got.into(),
            state,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The status lines, with headers, of the next answers; after them it takes everything.
    pub(super) fn answer(&self, answers: &[String]) {
        let mut script = self.state.script.lock().unwrap();
        script.answers.extend(answers.iter().cloned());
    }

    /// Answers nothing from here on.
    pub(super) fn hang(&self) {
        self.state.script.lock().unwrap().hangs = true;
    }

    /// How many requests wait for an answer that will not come.
    pub(super) fn most_at_once(&self) -> usize {
        self.state.script.lock().unwrap().hanging
    }

    pub(super) async fn next(&self) -> Message {
        let mut got = self.got.lock().await;
        let next = tokio::time::timeout(PATIENCE, got.recv()).await;
        next.expect("a message arrives").unwrap()
    }

    /// Whether everything that arrived was looked at.
    pub(super) fn is_idle(&self) -> bool {
        self.got.try_lock().is_ok_and(|got| got.is_empty())
    }
}

impl State {
    async fn serve(self: Arc<Self>, socket: TcpStream) {
        let mut socket = BufReader::new(socket);
        while let Some(message) = read(&mut socket).await {
            let answer = {
                let mut script = self.script.lock().unwrap();
                if script.hangs {
                    script.hanging += 1;
                    None
                } else {
                    let next = script.answers.pop_front();
                    Some(next.unwrap_or_else(|| "204 No Content".to_owned()))
                }
            };
            self.tell.try_send(message).unwrap();
            let Some(answer) = answer else {
                std::future::pending::<()>().await;
                return;
            };
            let length = if answer.starts_with("204") {
                ""
            } else {
                "content-length: 0\r\n"
            };
            let answer = format!("HTTP/1.1 {answer}\r\n{length}\r\n");
            if socket.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

async fn read(socket: &mut BufReader<TcpStream>) -> Option<Message> {
    let mut line = String::new();
    socket.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    assert!(line.starts_with("POST "), "{line}");
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().ok()?];
    socket.read_exact(&mut body).await.ok()?;
    Some(Message {
        path,
        headers,
        body,
    })
}

/// Whether a message is signed with a secret, under both sets of names.
pub(super) fn verify(message: &Message, secret: &str) -> bool {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    ["svix", "webhook"].iter().all(|names| {
        let header = |name: &str| &message.headers[&format!("{names}-{name}")];
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", header("id"), header("timestamp")).as_bytes());
        mac.update(&message.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        header("signature").split(' ').any(|one| one == expected)
    })
}
