//! A TCP proxy that makes a network longer: every byte arrives later, in order, at whatever rate it was sent.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Chunks on their way in one direction of a connection. With any delay below seconds it is never reached.
const CHUNKS: usize = 4_096;

const CHUNK_BYTES: usize = 64 << 10;

/// A proxy on the loopback address. Its connections end with it.
#[derive(Debug)]
pub struct DelayProxy {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

/// Sleeps more finely than the runtime's timers, whose step is a millisecond.
struct FineTimer(AsyncFd<OwnedFd>);

// === impl DelayProxy ===

impl DelayProxy {
    /// Passes connections on to `upstream`; what is sent arrives `each_way` later.
    ///
    /// # Errors
    /// When no port can be taken.
    pub async fn start(upstream: SocketAddr, each_way: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, upstream, each_way));
        Ok(Self {
            address,
            _accepting: accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, each_way: Duration) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((near, _)) => {
                    connections.spawn(connect(near, upstream, each_way));
                }
                // Out of descriptors, say: there is no one to tell, and the next may go well.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// An error ends the connection on both sides, which is how either end learns of it.
async fn connect(near: TcpStream, upstream: SocketAddr, each_way: Duration) -> io::Result<()> {
    let far = TcpStream::connect(upstream).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    tokio::try_join!(
        carry(from_near, to_far, each_way),
        carry(from_far, to_near, each_way),
    )?;
    Ok(())
}

async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, delay: Duration) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::try_join!(read(from, sender, delay), write(receiver, to))?;
    Ok(())
}

async fn read(
    mut from: OwnedReadHalf,
    sender: mpsc::Sender<(Instant, Bytes)>,
    delay: Duration,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
    while from.read_buf(&mut buffer).await? > 0 {
        let due = Instant::now() + delay;
        if sender.send((due, buffer.split().freeze())).await.is_err() {
            break;
        }
        buffer.reserve(CHUNK_BYTES);
    }
    Ok(())
}

async fn write(
    mut receiver: mpsc::Receiver<(Instant, Bytes)>,
    mut to: OwnedWriteHalf,
) -> io::Result<()> {
    let timer = FineTimer::new()?;
    while let Some((due, chunk)) = receiver.recv().await {
        timer.until(due).await?;
        to.write_all(&chunk).await?;
    }
    to.shutdown().await
}

// === impl FineTimer ===

impl FineTimer {
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "what took its place is unsafe, for types that change their descriptor; an `OwnedFd` cannot"
        )]
        Ok(Self(AsyncFd::new(timer)?))
    }

    async fn until(&self, due: Instant) -> io::Result<()> {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value: Timespec::try_from(left).map_err(io::Error::other)?,
            };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            // Whether it rang or only seemed to: the clock above decides.
            let _ = rustix::io::read(&self.0, &mut expirations);
            ready.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Duration = Duration::from_millis(50);

    /// A server that sends back what it gets until the sender is done, then says goodbye.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.into_split();
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            to.write_all(b"goodbye").await.unwrap();
        });
        tasks.detach_all();
        address
    }

    async fn through(each_way: Duration) -> (DelayProxy, TcpStream) {
        let proxy = DelayProxy::start(echo().await, each_way).await.unwrap();
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, stream)
    }

    #[tokio::test]
    async fn a_round_trip_takes_both_ways() {
        let (_proxy, mut stream) = through(FAR).await;
        let begun = Instant::now();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
        assert!(begun.elapsed() >= 2 * FAR);
    }

    #[tokio::test]
    async fn a_fraction_of_a_millisecond_is_not_rounded_up_to_one() {
        let timer = FineTimer::new().unwrap();
        let mut shortest = Duration::MAX;
        for _ in 0..50 {
            let begun = Instant::now();
            timer
                .until(begun + Duration::from_micros(250))
                .await
                .unwrap();
            let took = begun.elapsed();
            assert!(took >= Duration::from_micros(250));
            shortest = shortest.min(took);
        }
        assert!(shortest < Duration::from_millis(1), "{shortest:?}");
    }

    #[tokio::test]
    async fn much_is_under_way_at_a_time_and_stays_in_order() {
        let (_proxy, stream) = through(FAR).await;
        let (mut from, mut to) = stream.into_split();
        let begun = Instant::now();
        let messages: u32 = 500;
        let send = async {
            for number in 0..messages {
                to.write_all(&number.to_be_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
            to.shutdown().await.unwrap();
        };
        let receive = async {
            for number in 0..messages {
                assert_eq!(from.read_u32().await.unwrap(), number);
            }
            let mut rest = Vec::new();
            from.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"goodbye", "each side ends for itself");
        };
        tokio::join!(send, receive);
        // One after the other they would take 50 seconds.
        assert!(begun.elapsed() < messages * FAR / 5);
    }
}
