//! The log: one line for each request, and nothing of what a caller wants kept to itself.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use crate::harness::{Edge, until};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        let text = self.text();
        let lines = text
            .lines()
            .filter(|line| line.contains(r#""message":"request"#));
        lines.map(str::to_owned).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn each_request_is_one_line_without_secrets() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    let id = "0b8f6a1e-0000-4000-8000-000000000000";
    assert_eq!(client.ask(edge.chat("my secret wish")).await.status, 200);
    let management = format!(
        "GET /v1/platforms/{id}/wallet?q=hidden HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
        edge.managing_key
    );
    assert_eq!(client.ask(management).await.status, 403);
    assert_eq!(
        client
            .ask("SHOUT /hidden HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .status,
        405
    );
    until(|| lines.requests().len() == 3).await;
    for (line, wanted) in lines.requests().iter().zip([
        [
            r#""method":"POST""#,
            r#""route":"/v1/chat/completions""#,
            r#""status":200"#,
        ],
        [
            r#""method":"GET""#,
            r#""route":"/v1/platforms/{platform_id}/wallet""#,
            r#""status":403"#,
        ],
        [r#""method":"-""#, r#""route":"-""#, r#""status":405"#],
    ]) {
        for part in wanted
            .into_iter()
            .chain([r#""duration_us":"#, r#""request_id":"req_"#])
        {
            assert!(line.contains(part), "{part} in {line}");
        }
        for part in ["hidden", id, "SHOUT", "wish"] {
            assert!(!line.contains(part), "{part} in {line}");
        }
    }
    let text = lines.text();
    for line in text.lines() {
        for secret in [&edge.platform_key, &edge.managing_key, "my secret wish"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

#[tokio::test]
async fn a_caller_who_leaves_is_in_the_log() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    client.send(edge.chat("wait")).await;
    until(|| edge.stage.arrived.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
    drop(client);
    until(|| {
        lines
            .requests()
            .iter()
            .any(|line| line.contains("left by its caller"))
    })
    .await;
}
