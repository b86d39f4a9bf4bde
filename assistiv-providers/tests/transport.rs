//! The HTTP transport against servers on loopback.

#![cfg(feature = "reqwest")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail so"
)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use assistiv_core::provider::{Transport, TransportErrorKind, UpstreamBody};
use assistiv_providers::transport::{HttpTransport, OutboundGuard, Resolver};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const SOON: Duration = Duration::from_secs(5);

async fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn transport() -> HttpTransport {
    let guard = OutboundGuard::allowing(["127.0.0.1".parse().unwrap()]);
    HttpTransport::builder().guard(guard).build().unwrap()
}

fn post(url: impl std::fmt::Display) -> http::Request<Bytes> {
    http::Request::post(url.to_string())
        .body(Bytes::from_static(b"hello"))
        .unwrap()
}

/// Reads a request with the body `hello`; gives its head. `None` when the client has left.
async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nhello") {
        if socket.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    String::from_utf8(read).ok()
}

async fn next(body: &mut UpstreamBody) -> Option<Bytes> {
    let frame = timeout(SOON, body.frame())
        .await
        .expect("a frame comes soon")?;
    frame.unwrap().into_data().ok()
}

async fn kind(transport: &HttpTransport, request: http::Request<Bytes>) -> TransportErrorKind {
    let sent = timeout(SOON, transport.send(request))
        .await
        .expect("the answer comes soon");
    sent.expect_err("there is no answer").kind()
}

#[tokio::test]
async fn a_stream_arrives_piece_by_piece() {
    let (listener, address) = server().await;
    let (seen, was_seen) = oneshot::channel::<()>();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = read_request(&mut socket).await.unwrap();
        socket.write_all(HEAD).await.unwrap();
        socket.write_all(b"5\r\nfirst\r\n").await.unwrap();
        // The second piece is written only after the first has arrived.
        was_seen.await.unwrap();
        socket.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
        head
    });
    let mut answer = transport()
        .send(post(format!("http://{address}/v1/x?y=1")))
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(next(answer.body_mut()).await.unwrap(), "first");
    seen.send(()).unwrap();
    assert_eq!(next(answer.body_mut()).await.unwrap(), "second");
    assert_eq!(next(answer.body_mut()).await, None);
    let head = tasks
        .join_next()
        .await
        .unwrap()
        .unwrap()
        .to_ascii_lowercase();
    assert!(head.starts_with("post /v1/x?y=1 http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-length: 5") && !head.contains("accept-encoding"),
        "{head}"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_body_is_broken() {
    let (listener, address) = server().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await.unwrap();
        socket.write_all(HEAD).await.unwrap();
        socket.write_all(b"5\r\nfirst\r\n").await.unwrap();
        socket.shutdown().await.unwrap();
    });
    let mut answer = transport()
        .send(post(format!("http://{address}/")))
        .await
        .unwrap();
    assert_eq!(next(answer.body_mut()).await.unwrap(), "first");
    let error = answer.body_mut().frame().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Broken);
}

#[tokio::test]
async fn dropping_a_request_or_an_answer_closes_its_connection() {
    for with_head in [false, true] {
        let (listener, address) = server().await;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            read_request(&mut socket).await.unwrap();
            if with_head {
                socket.write_all(HEAD).await.unwrap();
            }
            // The server says no more; it only notices that the client leaves.
            assert!(matches!(socket.read(&mut [0]).await, Ok(0) | Err(_)));
        });
        let transport = transport();
        let sent = timeout(
            Duration::from_millis(200),
            transport.send(post(format!("http://{address}/"))),
        )
        .await;
        assert_eq!(sent.is_ok(), with_head);
        drop(sent);
        timeout(SOON, tasks.join_next())
            .await
            .expect("the connection closes")
            .unwrap()
            .unwrap();
    }
}

/// Answers the first request of a connection, and closes the connection on the second.
async fn serve_one_request_a_connection(listener: TcpListener, wait: Duration) -> Vec<usize> {
    let mut requests = Vec::new();
    while let Ok(Ok((mut socket, _))) = timeout(Duration::from_secs(3), listener.accept()).await {
        let mut count = 0;
        while read_request(&mut socket).await.is_some() {
            count += 1;
            if count > 1 {
                tokio::time::sleep(wait).await;
                break;
            }
            socket
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
        }
        requests.push(count);
        if requests.len() == 2 {
            break;
        }
    }
    requests
}

#[tokio::test]
async fn a_stale_connection_of_the_pool_costs_one_more_attempt() {
    let (listener, address) = server().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_one_request_a_connection(listener, Duration::ZERO));
    let transport = transport();
    for _ in 0..2 {
        let answer = transport
            .send(post(format!("http://{address}/")))
            .await
            .unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
    drop(transport);
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), [2, 1]);
}

#[tokio::test]
async fn a_request_that_may_have_been_worked_on_is_not_repeated() {
    let (listener, address) = server().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(serve_one_request_a_connection(
        listener,
        Duration::from_millis(1200),
    ));
    let transport = transport();
    let answer = transport
        .send(post(format!("http://{address}/")))
        .await
        .unwrap();
    answer.into_body().collect().await.unwrap();
    assert_eq!(
        kind(&transport, post(format!("http://{address}/"))).await,
        TransportErrorKind::Broken
    );
    drop(transport);
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), [2]);
}

#[tokio::test]
async fn a_fresh_connection_that_closes_is_not_tried_again() {
    let (listener, address) = server().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut requests = 0;
        while let Ok(Ok((mut socket, _))) = timeout(Duration::from_secs(1), listener.accept()).await
        {
            read_request(&mut socket).await.unwrap();
            requests += 1;
        }
        requests
    });
    assert_eq!(
        kind(&transport(), post(format!("http://{address}/"))).await,
        TransportErrorKind::Broken
    );
    assert_eq!(tasks.join_next().await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_any_other() {
    let (listener, address) = server().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await.unwrap();
        let answer =
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
        socket.write_all(answer).await.unwrap();
        assert_eq!(read_request(&mut socket).await, None);
    });
    let transport = transport();
    let answer = transport
        .send(post(format!("http://{address}/")))
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (307, &"/other".parse().unwrap())
    );
    drop((answer, transport));
    timeout(SOON, tasks.join_next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn nobody_listening_is_no_connection() {
    let (listener, address) = server().await;
    drop(listener);
    assert_eq!(
        kind(&transport(), post(format!("http://{address}/"))).await,
        TransportErrorKind::Connect
    );
}

/// Answers every name with the same addresses.
struct Fixed(Vec<IpAddr>);

#[async_trait]
impl Resolver for Fixed {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn no_request_reaches_an_inner_address() {
    let (listener, address) = server().await;
    let port = address.port();
    let plain = HttpTransport::builder().build().unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "localhost",
        "localhost.",
        "[::ffff:7f00:1]",
    ] {
        let request = post(format!("https://{host}:{port}/"));
        assert_eq!(
            kind(&plain, request).await,
            TransportErrorKind::Refused,
            "{host}"
        );
    }
    let rebound = HttpTransport::builder()
        .resolver(Fixed(vec!["127.0.0.1".parse().unwrap()]))
        .build()
        .unwrap();
    let request = post(format!("https://api.example.com:{port}/"));
    assert_eq!(kind(&rebound, request).await, TransportErrorKind::Refused);
    let request = post(format!("http://api.example.com:{port}/"));
    assert_eq!(kind(&rebound, request).await, TransportErrorKind::Refused);
    assert!(
        timeout(Duration::from_millis(100), listener.accept())
            .await
            .is_err(),
        "nobody called"
    );
}

#[tokio::test]
async fn an_allowed_name_is_called_wherever_it_is() {
    let (listener, address) = server().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = read_request(&mut socket).await.unwrap();
        socket
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        head
    });
    let transport = HttpTransport::builder()
        .guard(OutboundGuard::allowing(["llm.internal".parse().unwrap()]))
        .resolver(Fixed(vec!["127.0.0.1".parse().unwrap()]))
        .http1_only()
        .build()
        .unwrap();
    let answer = transport
        .send(post(format!("http://llm.internal:{}/", address.port())))
        .await
        .unwrap();
    assert_eq!(answer.status(), 204);
    let head = tasks.join_next().await.unwrap().unwrap();
    assert!(
        head.contains(&format!("host: llm.internal:{}", address.port())),
        "{head}"
    );
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[tokio::test]
async fn tls_offers_both_protocols_under_the_name_that_was_asked_for() {
    for (http1_only, offers_h2) in [(false, true), (true, false)] {
        let (listener, address) = server().await;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut hello = Vec::new();
            // The order of the two differs from one greeting to the next.
            while !(holds(&hello, b"http/1.1") && holds(&hello, b"llm.internal")) {
                assert_ne!(socket.read_buf(&mut hello).await.unwrap(), 0);
            }
            hello
        });
        let mut builder = HttpTransport::builder()
            .guard(OutboundGuard::allowing(["llm.internal".parse().unwrap()]))
            .resolver(Fixed(vec!["127.0.0.1".parse().unwrap()]));
        if http1_only {
            builder = builder.http1_only();
        }
        let transport = builder.build().unwrap();
        let request = post(format!("https://llm.internal:{}/", address.port()));
        // The server never shakes hands, so the provider has seen nothing of the request.
        assert_eq!(kind(&transport, request).await, TransportErrorKind::Connect);
        let hello = timeout(SOON, tasks.join_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(holds(&hello, b"\x02h2\x08http/1.1"), offers_h2);
    }
}
