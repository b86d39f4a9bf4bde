//! A connection's socket, and what is known about its progress.
//!
//! The socket only takes notes in a [`Pulse`]; the task that serves the connection reads them now and then and
//! decides. So the request path sets no timers.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// How much input is read after the last answer, and for how long. Closing a socket with unread input resets
/// the connection, which may destroy the answer on its way.
const LINGER_BYTES: usize = 64 << 10;
const LINGER: Duration = Duration::from_secs(1);

/// How long a connection may make no progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first byte of a request, or the start of the connection, to the end of the head.
    pub(super) head: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// Without a byte of the answer taken by the other side.
    pub(super) write: Duration,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    /// Nobody uses it: finish in order.
    Finish,
    /// The other side takes too long.
    Cut,
}

/// What happened on a connection last. Times are microseconds since its start; zero means "not now".
#[derive(Debug)]
pub(super) struct Pulse {
    started: Instant,
    /// Requests between the end of their head and the end of their answer.
    busy: AtomicUsize,
    head_since: AtomicU64,
    idle_since: AtomicU64,
    blocked_since: AtomicU64,
    is_http2: AtomicBool,
    leaves_input: AtomicBool,
    /// Streams of HTTP/2 whose next piece waits for the other side to open its window.
    waiting: Mutex<HashMap<u64, u64>>,
    next_stream: AtomicU64,
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct Busy {
    pulse: Arc<Pulse>,
    stream: u64,
}

/// A TCP stream that keeps a [`Pulse`].
pub(super) struct Socket {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    lingering: Option<(usize, Pin<Box<Sleep>>)>,
}

// === impl Pulse ===

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            busy: AtomicUsize::new(0),
            head_since: AtomicU64::new(1),
            idle_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
            leaves_input: AtomicBool::new(false),
            waiting: Mutex::default(),
            next_stream: AtomicU64::new(0),
        }
    }

    /// The head of a request is complete.
    pub(super) fn begin(self: &Arc<Self>, version: http::Version) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        if version >= http::Version::HTTP_2 {
            self.is_http2.store(true, Ordering::Relaxed);
        }
        Busy {
            pulse: self.clone(),
            stream: self.next_stream.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The connection ends with the answer, although more input may be on its way.
    pub(super) fn leave_input(&self) {
        self.leaves_input.store(true, Ordering::Relaxed);
    }

    /// What is to become of the connection at this moment.
    pub(super) fn verdict(&self, patience: Patience) -> Verdict {
        let now = self.now();
        let over = |since: u64, limit: Duration| {
            since != 0 && now.saturating_sub(since) > limit.as_micros() as u64
        };
        let idle = self.busy.load(Ordering::Relaxed) == 0;
        if self.is_stalled(patience)
            || (idle && over(self.head_since.load(Ordering::Relaxed), patience.head))
        {
            Verdict::Cut
        } else if idle && over(self.idle_since.load(Ordering::Relaxed), patience.idle) {
            Verdict::Finish
        } else {
            Verdict::GoOn
        }
    }

    fn is_stalled(&self, patience: Patience) -> bool {
        let oldest = self.waiting().values().min().copied();
        let blocked = self.blocked_since.load(Ordering::Relaxed);
        let over =
            |since: u64| self.now().saturating_sub(since) > patience.write.as_micros() as u64;
        (blocked != 0 && over(blocked)) || oldest.is_some_and(over)
    }

    fn received(&self) {
        let in_head = self.head_since.load(Ordering::Relaxed) != 0;
        let is_http2 = self.is_http2.load(Ordering::Relaxed);
        if !in_head && !is_http2 && self.busy.load(Ordering::Relaxed) == 0 {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn wrote<T>(&self, outcome: &Poll<io::Result<T>>) {
        let blocked = self.blocked_since.load(Ordering::Relaxed) != 0;
        match outcome {
            Poll::Pending if !blocked => self.blocked_since.store(self.now(), Ordering::Relaxed),
            Poll::Ready(_) if blocked => self.blocked_since.store(0, Ordering::Relaxed),
            _ => {}
        }
    }

    /// Whether input may be left: of a head that was refused, or of a body that nobody wanted.
    fn lingers(&self) -> bool {
        self.leaves_input.load(Ordering::Relaxed) || self.head_since.load(Ordering::Relaxed) != 0
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_micros() as u64 + 1
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Busy ===

impl Busy {
    /// A piece of the answer was handed over; the next is asked for when there is room for it.
    pub(super) fn waits(&self) {
        let now = self.pulse.now();
        self.pulse.waiting().insert(self.stream, now);
    }

    /// The next piece was asked for.
    pub(super) fn moves(&self) {
        self.pulse.waiting().remove(&self.stream);
    }

    /// Whether the request came over HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.pulse.is_http2.load(Ordering::Relaxed)
    }

    /// See [`Pulse::leave_input`].
    pub(super) fn leave_input(&self) {
        self.pulse.leave_input();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.is_http2() {
            self.moves();
        }
        self.pulse
            .idle_since
            .store(self.pulse.now(), Ordering::Relaxed);
        self.pulse.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Socket ===

impl Socket {
    pub(super) fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Self {
        Self {
            stream,
            pulse,
            lingering: None,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.pulse.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.pulse.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.pulse.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that nothing more comes, then reads what the other side is still sending, up to a limit.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self {
            stream,
            pulse,
            lingering,
        } = self.get_mut();
        if lingering.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            if !pulse.lingers() {
                return Poll::Ready(Ok(()));
            }
        }
        let (left, timer) =
            lingering.get_or_insert_with(|| (LINGER_BYTES, Box::pin(sleep(LINGER))));
        let mut scratch = [0; 4096];
        while *left > 0 && timer.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {
                    *left = left.saturating_sub(buf.filled().len())
                }
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A peer that takes nothing any more would keep the kernel's buffers for minutes: those go at once.
impl Drop for Socket {
    fn drop(&mut self) {
        if self.pulse.blocked_since.load(Ordering::Relaxed) != 0 {
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(60),
    };

    async fn later(pulse: &Pulse, seconds: u64) -> Verdict {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        pulse.verdict(PATIENCE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_ten_seconds_and_an_idle_connection_more() {
        let pulse = Arc::new(Pulse::new());
        assert_eq!(later(&pulse, 9).await, Verdict::GoOn);
        let busy = pulse.begin(Version::HTTP_11);
        assert_eq!(later(&pulse, 1_000).await, Verdict::GoOn);
        drop(busy);
        assert_eq!(later(&pulse, 74).await, Verdict::GoOn);
        pulse.received();
        assert_eq!(later(&pulse, 2).await, Verdict::Finish);
        let pulse = Arc::new(Pulse::new());
        drop(pulse.begin(Version::HTTP_11));
        pulse.received();
        pulse.received();
        assert_eq!(later(&pulse, 9).await, Verdict::GoOn);
        pulse.received();
        assert_eq!(later(&pulse, 2).await, Verdict::Cut);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_of_http2_are_not_heads() {
        let pulse = Arc::new(Pulse::new());
        drop(pulse.begin(Version::HTTP_2));
        pulse.received();
        assert_eq!(later(&pulse, 70).await, Verdict::GoOn);
        assert_eq!(later(&pulse, 6).await, Verdict::Finish);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_cut() {
        let pulse = Arc::new(Pulse::new());
        let busy = pulse.begin(Version::HTTP_2);
        busy.waits();
        assert_eq!(later(&pulse, 59).await, Verdict::GoOn);
        busy.moves();
        busy.waits();
        assert_eq!(later(&pulse, 59).await, Verdict::GoOn);
        assert_eq!(later(&pulse, 2).await, Verdict::Cut);
        drop(busy);
        pulse.wrote::<usize>(&Poll::Pending);
        assert_eq!(later(&pulse, 50).await, Verdict::GoOn);
        pulse.wrote(&Poll::Ready(Ok(1)));
        pulse.wrote::<usize>(&Poll::Pending);
        pulse.wrote::<usize>(&Poll::Pending);
        assert_eq!(later(&pulse, 61).await, Verdict::Cut);
    }
}
