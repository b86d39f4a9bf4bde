//! A built-in mock of the providers' wire formats, served over real HTTP on a loopback port.
//!
//! The `demo` command and the integration tests send their upstream calls to it, so that
//! everything between the gateway and a provider (connections, streams, cuts, silence) is real
//! and nothing leaves the machine. It speaks OpenAI's Chat Completions, which xAI speaks too:
//! `POST /v1/chat/completions` and `POST /v1/responses` (JSON and SSE), `POST /v1/embeddings` and `GET /v1/models`;
//! Anthropic's Messages: `POST /v1/messages` (JSON and SSE) and `POST /v1/messages/count_tokens`; and Google's Gemini API:
//! `POST /v1/models/MODEL:generateContent` and `POST /v1/models/MODEL:streamGenerateContent`.
//!
//! Answers are deterministic. The prompt costs one token for each four bytes of message text,
//! rounded up, plus three. An answer costs one token a word; a tool call costs one for its name
//! and one for each piece of its arguments. Any key is accepted but [`Mock::INVALID_KEY`].
//!
//! # Knobs
//!
//! The text of the last user message may hold `mock:NAME=VALUE` or `mock:NAME` words anywhere.
//! Of several faults the last one counts; an unknown knob is answered 400, so that a typing error
//! does not pass for a healthy provider.
//!
//! | fault | the answer |
//! | --- | --- |
//! | `status=N` | that status (400 to 599) with the provider's error body; 429 and 503 ask to wait 2 s |
//! | `quota` | 429 for an account that is used up: the one that must not be retried |
//! | `hang` | no head, ever |
//! | `hang_mid` | half of the answer, then silence on an open connection |
//! | `cut` | half of the answer, then the connection is closed |
//! | `end_early` | a stream that ends neatly half-way, without finish reason (JSON: no effect) |
//! | `garbage` | a body or, half-way, a stream frame that is not JSON |
//! | `html` | 502 with an HTML page, as a proxy before the provider sends |
//! | `error_mid`, `error_first` | a stream with an error frame half-way or first (JSON: no effect) |
//!
//! | knob | what it changes |
//! | --- | --- |
//! | `words=N` | length of the answer, at most 20 000 |
//! | `first_ms=N`, `delay_ms=N` | pause before the head; before each content chunk of a stream |
//! | `prompt_tokens=N`, `completion_tokens=N`, `cached_tokens=N`, `reasoning_tokens=N` | what `usage` says |
//! | `no_usage`, `zero_usage` | usage is never sent; usage says zero |
//! | `no_done` | the stream lacks its last frame: `[DONE]`, `message_stop`, a repetition of the usage |
//! | `crlf`, `comments` | frames end with CRLF; comments and an unknown event between frames |
//! | `header_secret` | a response header `x-secret: leak` |

mod answer;
mod anthropic;
mod body;
mod embeddings;
mod errors;
#[cfg(test)]
mod fault_tests;
mod google;
mod knobs;
mod openai;
mod reply;
mod request;
mod responses;
mod schema;
mod stats;
mod stream;
#[cfg(test)]
mod test_client;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use self::body::ScriptBody;
use self::reply::{Call, Head};
use self::stats::Shared;
pub use self::stats::{Recorded, Stats, Tokens};

/// Larger request bodies are refused: what is recorded stays in memory.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// Connections served at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 4096;

/// Rest after a failed accept, which mostly means that the process is out of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A running mock provider. Dropping it stops the server and cuts its connections.
///
/// ```
/// # async fn example() -> std::io::Result<()> {
/// use assistiv_server::mock::Mock;
///
/// let mock = Mock::start(([127, 0, 0, 1], 0).into())?;
/// assert!(mock.base_url().ends_with("/v1"));
/// assert_eq!(mock.stats().requests, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mock {
    addr: SocketAddr,
    shared: Arc<Shared>,
    // Aborts the server, and with it every connection, when it is dropped.
    _server: JoinSet<()>,
}

// === impl Mock ===

impl Mock {
    /// The key that the mock refuses with a 401 which repeats it, as OpenAI does.
    pub const INVALID_KEY: &'static str = "mock-invalid-key";

    /// Starts a mock on `addr`, which must be a loopback address; port 0 takes a free port.
    /// Requests are answered on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an address that others could reach, `Other` outside a tokio runtime, or
    /// the reason why the address cannot be bound.
    pub fn start(addr: SocketAddr) -> io::Result<Self> {
        if !addr.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the mock provider listens on loopback addresses only",
            ));
        }
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let listener = std::net::TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let mut server = JoinSet::new();
        server.spawn_on(accept(listener, Arc::clone(&shared)), &runtime);
        Ok(Self {
            addr,
            shared,
            _server: server,
        })
    }

    /// The address that the mock listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL of its formats, such as `http://127.0.0.1:40123/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// What was asked and answered so far, taken at one moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The tokens of finished answers by the model that was asked, for the first 256 models;
    /// [`Mock::stats`] counts those of all.
    #[must_use]
    pub fn tokens_by_model(&self) -> BTreeMap<String, Tokens> {
        self.shared.tokens_by_model()
    }

    /// The newest request whose body came in whole.
    #[must_use]
    pub fn last_request(&self) -> Option<Recorded> {
        self.shared.last_request()
    }

    /// The newest requests, oldest first: at most 256, and fewer when their bodies are large.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests()
    }

    /// Waits until at least `n` clients in all have left before the end of their answer; false
    /// when that takes longer than `timeout`.
    pub async fn wait_dropped(&self, n: u64, timeout: Duration) -> bool {
        self.shared.wait(timeout, |stats| stats.dropped >= n).await
    }

    /// Waits until at least `n` answers in all have finished; false when that takes longer than
    /// `timeout`.
    pub async fn wait_finished(&self, n: u64, timeout: Duration) -> bool {
        self.shared.wait(timeout, |stats| stats.finished >= n).await
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::debug!(%error, "mock provider cannot accept");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Without it the kernel could hold back a chunk until the one before is acknowledged.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "mock provider cannot set TCP_NODELAY");
    }
    let service = service_fn(move |request| serve(Arc::clone(&shared), request));
    let served = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(error, "mock provider lost a connection");
    }
}

async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<ScriptBody>, Infallible> {
    let exchange = shared.begin();
    let (parts, body) = request.into_parts();
    let reply = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            shared.record(&parts, &body);
            let call = Call {
                number: exchange.number(),
                parts: &parts,
                body: &body,
            };
            match parts.uri.path() {
                anthropic::PATH | anthropic::COUNT_PATH => anthropic::reply(&call),
                responses::PATH => responses::reply(&call),
                path if google::is_path(path) => google::reply(&call),
                _ => openai::reply(&call),
            }
        }
        Err(_) => errors::unreadable().into(),
    };
    match reply.head {
        Head::Now => {}
        Head::After(pause) => tokio::time::sleep(pause).await,
        // The exchange lives on in this future, so that the client's leaving is counted.
        Head::Never => std::future::pending().await,
    }
    Ok(reply.into_response(exchange))
}
