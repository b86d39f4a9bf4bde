//! One connection: serves its requests until it ends, is told to end, or takes too long.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::Peer;
use super::io::{Busy, Patience, Pulse, Socket, Verdict};
use super::response::{BodyAborted, ResponseBody};
use super::service::HttpService;
use super::tasks::Tasks;

/// The size of a connection's read and write buffers. hyper takes no less than 8 KiB.
const BUFFER_MIN: usize = 8 << 10;
/// How many fields hyper takes without being told.
const FIELDS_DEFAULT: usize = 100;
const STREAMS_MAX: u32 = 100;
const STREAM_BUFFER: usize = 64 << 10;
/// Streams that the other side opened and reset before they were looked at.
const RESETS_PENDING_MAX: usize = 20;
/// Streams reset for the other side's errors; beyond, the connection ends.
const RESETS_MAX: usize = 128;
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WAIT: Duration = Duration::from_secs(20);
/// HTTP/2 answers are handed over in pieces: a stream buffers what it was given, however much that is.
const PIECE: usize = 16 << 10;

/// Serves connections, all in the same way.
#[derive(Clone)]
pub(super) struct Connections {
    builder: Arc<auto::Builder<Tasks>>,
    patience: Patience,
    /// Connections end after the requests that are running.
    closing: CancellationToken,
    /// Connections end now.
    cutting: CancellationToken,
}

/// A connection's view of the service.
struct Edge {
    service: HttpService,
    pulse: Arc<Pulse>,
    peer: Option<Peer>,
}

pin_project! {
    struct Answering {
        #[pin]
        answer: <HttpService as Service<Request<Incoming>>>::Future,
        busy: Option<Busy>,
    }
}

/// An answer that counts as a request being served until it is dropped.
struct Answer {
    body: ResponseBody,
    rest: Bytes,
    busy: Busy,
}

// === impl Connections ===

impl Connections {
    pub(super) fn new(
        header_bytes: usize,
        header_count: usize,
        patience: Patience,
        tasks: Tasks,
        closing: CancellationToken,
        cutting: CancellationToken,
    ) -> Self {
        let mut builder = auto::Builder::new(tasks);
        // The `Pulse` knows a head that is late from a connection that is idle; hyper's timer does not.
        builder
            .http1()
            .header_read_timeout(None)
            .max_buf_size(header_bytes.max(BUFFER_MIN));
        if header_count != FIELDS_DEFAULT {
            builder.http1().max_headers(header_count);
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_send_buf_size(STREAM_BUFFER)
            .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
            .max_local_error_reset_streams(RESETS_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WAIT);
        Self {
            builder: Arc::new(builder),
            patience,
            closing,
            cutting,
        }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(self, stream: TcpStream, service: HttpService) {
        let pulse = Arc::new(Pulse::new());
        let peer = stream.peer_addr().ok().map(Peer);
        let socket = TokioIo::new(Socket::new(stream, pulse.clone()));
        let edge = Edge {
            service,
            pulse: pulse.clone(),
            peer,
        };
        let mut connection = pin!(self.builder.serve_connection(socket, edge));
        let shortest = self
            .patience
            .head
            .min(self.patience.idle)
            .min(self.patience.write);
        let every = (shortest / 8).max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut finishing = None;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error = &*error as &dyn std::error::Error, "connection ended");
                    }
                    return;
                }
                () = self.cutting.cancelled() => return,
                () = self.closing.cancelled(), if finishing.is_none() => {
                    finishing = Some(Instant::now());
                    connection.as_mut().graceful_shutdown();
                }
                _ = ticks.tick() => match (pulse.verdict(self.patience), finishing) {
                    (Verdict::GoOn, _) => {}
                    (Verdict::Finish, None) => {
                        finishing = Some(Instant::now());
                        connection.as_mut().graceful_shutdown();
                    }
                    (Verdict::Finish, Some(since)) if since.elapsed() <= self.patience.write => {}
                    (Verdict::Finish | Verdict::Cut, _) => {
                        tracing::debug!("connection cut: it made no progress");
                        return;
                    }
                },
            }
        }
    }
}

// === impl Edge ===

impl hyper::service::Service<Request<Incoming>> for Edge {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, mut request: Request<Incoming>) -> Answering {
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        let busy = self.pulse.begin(request.version());
        Answering {
            answer: self.service.clone().call(request),
            busy: Some(busy),
        }
    }
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.answer.poll(cx));
        let Some(busy) = this.busy.take() else {
            // Polled again after it was ready, which is against the contract of futures.
            return Poll::Pending;
        };
        if response
            .headers()
            .get(CONNECTION)
            .is_some_and(|value| value == "close")
        {
            busy.leave_input();
        }
        Poll::Ready(Ok(response.map(|body| Answer {
            body,
            rest: Bytes::new(),
            busy,
        })))
    }
}

// === impl Answer ===

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyAborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAborted>>> {
        if !self.busy.is_http2() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        self.busy.moves();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx))
                .map(|frame| frame.map(Frame::into_data))
            {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.busy.waits();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
