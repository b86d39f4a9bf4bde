//! What knobs break, and clients that leave, over HTTP.

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::test_client::*;
use super::*;

#[tokio::test]
async fn errors_are_openai_s() {
    let mock = start();
    for (knob, status, code, waits) in [
        ("status=400", 400, Value::Null, false),
        ("status=404", 404, json!("model_not_found"), false),
        ("status=429", 429, json!("rate_limit_exceeded"), true),
        ("quota", 429, json!("insufficient_quota"), true),
        ("status=500", 500, Value::Null, false),
        ("status=503", 503, json!("server_is_overloaded"), true),
        ("nonsense", 400, json!("invalid_value"), false),
    ] {
        let got = ask(&mock, &format!("mock:{knob}"), streamed()).await;
        assert_eq!(
            (got.status, &got.json()["error"]["code"]),
            (status, &code),
            "{knob}"
        );
        assert_eq!(got.head.contains("retry-after: 2"), waits, "{knob}");
    }
    assert_eq!((mock.stats().failed, mock.stats().finished), (7, 0));
}

#[tokio::test]
async fn usage_can_be_kept_back_or_zero() {
    let mock = start();
    assert!(
        ask(&mock, "mock:no_usage", json!({}))
            .await
            .json()
            .get("usage")
            .is_none()
    );
    let got = ask(&mock, "mock:no_usage", streamed()).await;
    assert!(got.is_done() && got.frames().iter().all(|f| f["usage"].is_null()));
    let got = ask(&mock, "mock:zero_usage", streamed()).await;
    assert_eq!(got.frames().last().unwrap()["usage"]["total_tokens"], 0);
}

#[tokio::test]
async fn a_cut_leaves_half() {
    let mock = start();
    let got = ask(&mock, "mock:cut", json!({})).await;
    assert!(!got.whole && serde_json::from_str::<Value>(&got.body).is_err());
    let got = ask(&mock, "mock:cut mock:words=4", streamed()).await;
    assert!(!got.whole && got.status == 200);
    assert_eq!(got.text(), "mock answers");
    assert_eq!((mock.stats().failed, mock.stats().dropped), (2, 0));
}

#[tokio::test]
async fn streams_end_as_the_knobs_say() {
    let mock = start();
    let got = ask(&mock, "mock:end_early mock:words=4", streamed()).await;
    assert!(got.whole && !got.is_done() && got.finish_reason().is_none());
    assert_eq!(got.text(), "mock answers");

    let got = ask(&mock, "mock:no_done", streamed()).await;
    assert!(got.whole && !got.is_done() && got.finish_reason().is_some());

    let got = ask(&mock, "mock:error_mid mock:words=4", streamed()).await;
    assert_eq!(got.text(), "mock answers");
    assert_eq!(
        got.frames().last().unwrap()["error"]["type"],
        "server_error"
    );
    assert!(!got.is_done());

    let got = ask(&mock, "mock:error_first", streamed()).await;
    assert_eq!(got.data().len(), 1);
    assert!(got.frames()[0]["error"].is_object());
}

#[tokio::test]
async fn garbage_and_html_are_no_answers() {
    let mock = start();
    let got = ask(&mock, "mock:garbage", json!({})).await;
    assert!(got.status == 200 && serde_json::from_str::<Value>(&got.body).is_err());
    let got = ask(&mock, "mock:garbage", streamed()).await;
    assert_eq!(got.frames().len() + 2, got.data().len());
    let got = ask(&mock, "mock:html", json!({})).await;
    assert!(got.status == 502 && got.head.contains("text/html") && got.body.contains("<html>"));
}

#[tokio::test]
async fn frames_can_be_dressed_up() {
    let mock = start();
    let got = ask(&mock, "mock:crlf mock:comments mock:words=2", streamed()).await;
    assert_eq!(
        got.body.matches('\n').count(),
        got.body.matches("\r\n").count()
    );
    assert!(got.body.contains(": keep-alive\r\n\r\n"));
    assert!(got.body.contains("event: mock.unknown\r\n"));
    assert_eq!(got.text(), "mock answers");
}

#[tokio::test]
async fn a_client_that_gives_up_on_a_silent_answer_is_counted() {
    let mock = start();
    let mut stream = begin(&mock, "mock:hang", json!({})).await;
    assert!(is_silent(&mut stream).await);
    assert!(!mock.wait_dropped(1, MOMENT).await);
    drop(stream);
    assert!(mock.wait_dropped(1, SOON).await);
}

#[tokio::test]
async fn a_client_that_gives_up_half_way_is_counted() {
    let mock = start();
    let mut stream = begin(&mock, "mock:hang_mid mock:words=4", streamed()).await;
    read_part(&mut stream, "answers").await;
    drop(stream);
    assert!(mock.wait_dropped(1, SOON).await);
    let stream = begin(&mock, "mock:hang_mid", json!({})).await;
    assert!(mock.shared.wait(SOON, |stats| stats.requests == 2).await);
    drop(stream);
    assert!(mock.wait_dropped(2, SOON).await);
    assert_eq!(mock.stats().completion_tokens, 0);
}

#[tokio::test]
async fn a_pause_does_not_hold_back_what_came_before() {
    let mock = start();
    let mut stream = begin(&mock, "mock:delay_ms=60000", streamed()).await;
    read_part(&mut stream, "assistant").await;
    drop(stream);
    assert!(mock.wait_dropped(1, SOON).await);
}

#[tokio::test]
async fn the_head_can_be_late() {
    let mock = start();
    let mut stream = begin(&mock, "mock:first_ms=150", json!({})).await;
    assert!(is_silent(&mut stream).await);
    read_part(&mut stream, "chatcmpl-").await;
    assert!(mock.wait_finished(1, SOON).await);
}

#[tokio::test]
async fn dropping_the_mock_cuts_its_connections() {
    let mock = start();
    let stream = begin(&mock, "mock:hang", json!({})).await;
    assert!(mock.shared.wait(SOON, |stats| stats.requests == 1).await);
    let addr = mock.addr();
    drop(mock);
    let mut stream = stream;
    let read = tokio::time::timeout(SOON, stream.read_u8()).await.unwrap();
    assert!(read.is_err());
    assert!(TcpStream::connect(addr).await.is_err());
}
