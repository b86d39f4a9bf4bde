//! The way of a node to its database, on which replies get lost: the database has done what it was asked for, and the
//! connection ends before the node hears of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::dice::Dice;

/// A proxy on the loopback address. Its connections end with it.
pub(crate) struct LossyProxy {
    address: SocketAddr,
    loss: Arc<Loss>,
    _accepting: JoinSet<()>,
}

struct Loss {
    dice: Dice,
    /// Of a thousand replies to a commit.
    per_mille: AtomicU64,
    lost: AtomicU64,
}

/// Where a connection stands, from the sizes and types of the server's messages.
struct Replies {
    pending: Vec<u8>,
    /// The messages of the reply that is under way.
    reply: usize,
    commits: bool,
    /// Nothing but batches: each of their replies is the reply to a commit.
    is_lane: bool,
}

// === impl LossyProxy ===

impl LossyProxy {
    pub(crate) async fn start(upstream: SocketAddr, dice: Dice) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let loss = Arc::new(Loss {
            dice,
            per_mille: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, upstream, loss.clone()));
        Self {
            address,
            loss,
            _accepting: accepting,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets how many of a thousand replies get lost.
    pub(crate) fn lose(&self, per_mille: u64) {
        self.loss.per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// How many got lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.loss.lost.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, loss: Arc<Loss>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((near, _)) = accepted {
                let loss = loss.clone();
                connections.spawn(async move {
                    // An error ends the connection on both sides, which is how either end learns of it.
                    let _ = connect(near, upstream, &loss).await;
                });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(mut near: TcpStream, upstream: SocketAddr, loss: &Loss) -> io::Result<()> {
    let mut far = TcpStream::connect(upstream).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    // The first message says what the session is for.
    let mut hello = Vec::new();
    near.read_buf(&mut hello).await?;
    far.write_all(&hello).await?;
    let is_lane = String::from_utf8_lossy(&hello).contains("assistiv lane");
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    let replies = Replies {
        pending: Vec::new(),
        reply: 0,
        commits: false,
        is_lane,
    };
    tokio::select! {
        done = carry(from_near, to_far) => done,
        done = answer(from_far, to_near, replies, loss) => done,
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await.map(drop)
}

async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut replies: Replies,
    loss: &Loss,
) -> io::Result<()> {
    while from.read_buf(&mut replies.pending).await? > 0 {
        while let Some((whole, commits)) = replies.next() {
            if commits && loss.strikes() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            to.write_all(&whole).await?;
        }
    }
    to.write_all(&replies.pending).await
}

// === impl Loss ===

impl Loss {
    fn strikes(&self) -> bool {
        let strikes = self.dice.per_mille(self.per_mille.load(Ordering::Relaxed));
        self.lost.fetch_add(u64::from(strikes), Ordering::Relaxed);
        strikes
    }
}

// === impl Replies ===

impl Replies {
    /// The next whole reply, up to `ReadyForQuery`, or what the server says unasked; and whether something was
    /// committed with it.
    fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        loop {
            let message = &self.pending[self.reply..];
            let length: [u8; 4] = message.get(1..5)?.try_into().unwrap();
            let length = 1 + u32::from_be_bytes(length) as usize;
            let (kind, body) = (message[0], message.get(5..length)?);
            // `CommandComplete`; it comes before the commit, and the end of the reply after it.
            self.commits |= kind == b'C' && (self.is_lane || body.starts_with(b"COMMIT"));
            let unasked = self.reply == 0 && matches!(kind, b'A' | b'N' | b'S');
            self.reply += length;
            if kind == b'Z' || unasked {
                let whole = self.pending.drain(..self.reply).collect();
                self.reply = 0;
                return Some((whole, std::mem::take(&mut self.commits)));
            }
        }
    }
}

#[tokio::test]
async fn a_lost_reply_is_one_of_a_commit() {
    let message = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    };
    let read = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    let commit = [message(b'C', b"COMMIT\0"), message(b'Z', b"I")].concat();
    let told = message(b'A', b"news");
    let mut replies = Replies {
        pending: [told.clone(), read.clone(), commit.clone()].concat(),
        reply: 0,
        commits: false,
        is_lane: false,
    };
    replies.pending.extend(&commit[..5]);
    assert_eq!(replies.next(), Some((told, false)));
    assert_eq!(replies.next(), Some((read.clone(), false)));
    assert_eq!(replies.next(), Some((commit.clone(), true)));
    assert_eq!(replies.next(), None);
    replies.pending.extend(&commit[5..]);
    assert_eq!(replies.next(), Some((commit, true)));
    replies.is_lane = true;
    replies.pending.extend(&read);
    assert_eq!(replies.next(), Some((read, true)));
}
