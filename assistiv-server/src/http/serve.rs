//! Serves [`HttpService`] on a listener.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use assistiv_core::Problem;
use assistiv_core::error::Reason;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::connection::Connections;
use super::io::{Patience, Pulse, Socket};
use super::service::HttpService;
use super::tasks::Tasks;
use crate::config::Limits;

/// How long nothing is accepted after the system had no resources for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections beyond the cap that are told so at a time; others are dropped.
const REFUSALS_MAX: usize = 64;
const REFUSAL_WAIT: Duration = Duration::from_secs(2);
/// How long the tasks of connections that were cut may take to notice.
const CUT_WAIT: Duration = Duration::from_secs(1);
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Limits of connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The most open connections. More get 503 and are closed.
    pub connections: usize,
    /// The largest header block of a request.
    pub header_bytes: usize,
    /// The most header fields of a request.
    pub header_count: usize,
    /// How long a request header may take to arrive.
    pub header_timeout: Duration,
    /// How long a connection is kept between two requests.
    pub idle_timeout: Duration,
    /// How long the other side may take nothing of an answer.
    pub write_timeout: Duration,
}

/// The course of a stop.
#[derive(Clone, Copy, Debug)]
pub struct DrainOptions {
    /// How long new connections are still accepted, so that load balancers notice that `/readyz` says no.
    pub delay: Duration,
    /// How long running requests are waited for after that.
    pub requests: Duration,
}

/// How a server stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that had to be cut because their requests did not end in time.
    pub cut: usize,
}

/// A server for HTTP/1.1 and HTTP/2 without encryption.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    closed: CancellationToken,
}

// === impl ServerOptions ===

impl ServerOptions {
    /// Options from the server's configuration.
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            header_bytes: limits.header_bytes,
            header_count: limits.header_count,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new(&Limits::default())
    }
}

// === impl Server ===

impl Server {
    /// A server with these limits.
    pub fn new(options: ServerOptions) -> Self {
        Self {
            options,
            closed: CancellationToken::new(),
        }
    }

    /// Cancelled when the server has stopped accepting and waits for running requests.
    ///
    /// This is the moment to call [`Gateway::shut_down`](assistiv_core::Gateway::shut_down), *beside* the
    /// waiting [`Server::run`]: earlier, connections that are still accepted would be refused; after `run`,
    /// streams would be cut without their error frame.
    ///
    /// ```no_run
    /// # async fn stop(gateway: assistiv_core::Gateway, service: assistiv_server::http::HttpService,
    /// #     listener: tokio::net::TcpListener, shutdown: tokio_util::sync::CancellationToken) {
    /// # use assistiv_server::http::{DrainOptions, Server, ServerOptions};
    /// # use std::time::Duration;
    /// let server = Server::new(ServerOptions::default());
    /// let closed = server.closed();
    /// let patience = Duration::from_secs(30);
    /// let drain = DrainOptions { delay: Duration::from_secs(5), requests: patience + Duration::from_secs(10) };
    /// let gateway_stops = async {
    ///     closed.cancelled().await;
    ///     gateway.shut_down(patience).await
    /// };
    /// let (stopped, flushed) = tokio::join!(server.run(listener, service, shutdown, drain), gateway_stops);
    /// # }
    /// ```
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Serves until `shutdown` is cancelled, then stops in order: `/readyz` says no at once; after
    /// [`DrainOptions::delay`] nothing is accepted any more, idle connections close, the others do so after
    /// their request; after [`DrainOptions::requests`] what is left is cut.
    ///
    /// Whoever runs the server tells its [`Readiness`](super::Readiness) when everything else is ready, too.
    pub async fn run(
        self,
        listener: TcpListener,
        service: HttpService,
        shutdown: CancellationToken,
        drain: DrainOptions,
    ) -> Stopped {
        let Self { options, closed } = self;
        let cutting = CancellationToken::new();
        let tasks = Tasks::default();
        let patience = Patience {
            head: options.header_timeout,
            idle: options.idle_timeout,
            write: options.write_timeout,
        };
        let connections = Connections::new(
            options.header_bytes,
            options.header_count,
            patience,
            tasks.clone(),
            closed.clone(),
            cutting.clone(),
        );
        let cap = Arc::new(Semaphore::new(
            options.connections.min(Semaphore::MAX_PERMITS),
        ));
        let readiness = service.readiness().clone();
        let accepting = Accepting {
            connections,
            service,
            tasks: tasks.clone(),
            cap: cap.clone(),
        };
        tokio::select! {
            () = accepting.run(&listener) => {}
            () = async {
                shutdown.cancelled().await;
                readiness.drain();
                tokio::time::sleep(drain.delay).await;
            } => {}
        }
        drop(listener);
        closed.cancel();
        let in_time = tokio::time::timeout(drain.requests, tasks.wait()).await;
        let cut = if in_time.is_ok() {
            0
        } else {
            options.connections.saturating_sub(cap.available_permits())
        };
        cutting.cancel();
        let _ = tokio::time::timeout(CUT_WAIT, tasks.wait()).await;
        Stopped { cut }
    }
}

/// The accept loop.
struct Accepting {
    connections: Connections,
    service: HttpService,
    tasks: Tasks,
    cap: Arc<Semaphore>,
}

// === impl Accepting ===

impl Accepting {
    async fn run(&self, listener: &TcpListener) {
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        let mut is_short = false;
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    // Out of descriptors or memory: the next try would fail at once, too.
                    if !is_short {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "cannot accept connections"
                        );
                    }
                    is_short = true;
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            is_short = false;
            // Fails only on a connection that is gone again.
            let _ = stream.set_nodelay(true);
            if let Ok(permit) = self.cap.clone().try_acquire_owned() {
                self.serve(stream, permit);
            } else if let Ok(permit) = refusals.clone().try_acquire_owned() {
                self.refuse(stream, permit);
            }
        }
    }

    fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let serving = self.connections.clone().serve(stream, self.service.clone());
        self.tasks.spawn(async move {
            serving.await;
            drop(permit);
        });
    }

    /// Says that the server is full, without reading the request.
    fn refuse(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let problem = Problem::new(
            Reason::SERVICE_UNAVAILABLE,
            "the server is at its limit of connections",
        );
        let (request_id, json) = self.service.refusal(&problem);
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             retry-after: 1\r\nx-request-id: {}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{json}",
            json.len(),
            request_id.0,
        );
        let pulse = Arc::new(Pulse::new());
        pulse.leave_input();
        let mut socket = Socket::new(stream, pulse);
        self.tasks.spawn(async move {
            let _ = tokio::time::timeout(REFUSAL_WAIT, async {
                socket.write_all(answer.as_bytes()).await?;
                socket.shutdown().await
            })
            .await;
            drop(permit);
        });
    }
}

/// Whether an error of `accept` says something about one connection only.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted
            | Kind::ConnectionReset
            | Kind::ConnectionRefused
            | Kind::Interrupted
    )
}
