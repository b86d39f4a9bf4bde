//! Requests: what is exchanged, and that nothing else is.

use super::*;

fn body(dialect: &Dialect, request: &str, upstream: Upstream<'_>) -> String {
    let request =
        InferenceRequest::parse(Operation::ChatCompletions, request.to_owned().into()).unwrap();
    let sent = encode(dialect, &request, upstream).unwrap();
    String::from_utf8(sent.into_body().into()).unwrap()
}

const MESSAGES: &str = r#""messages":[{"role":"user","content":"x"}]"#;

#[test]
fn untouched_members_keep_their_bytes() {
    let request = r#"{ "model":"m", "seed" : 12345678901234567890123, "x": {"b" : 1.50, "a":null},
        "stop":null, "messages":[ {"role":"user","content":"gr\u00fc\u00df"} ] }"#;
    let sent = body(&Dialect::openai(), request, upstream("gpt \"4\""));
    assert_eq!(
        sent,
        concat!(
            r#"{"model":"gpt \"4\"","seed":12345678901234567890123,"x":{"b" : 1.50, "a":null},"#,
            r#""stop":null,"messages":[ {"role":"user","content":"gr\u00fc\u00df"} ]}"#
        )
    );
}

#[test]
fn usage_is_asked_for_in_streams_alone() {
    for (given, sent) in [
        ("", r#","stream_options":{"include_usage":true}"#),
        (
            r#","stream_options":null"#,
            r#","stream_options":{"include_usage":true}"#,
        ),
        (
            r#","stream_options":{"include_obfuscation":false}"#,
            r#","stream_options":{"include_obfuscation":false,"include_usage":true}"#,
        ),
        (
            r#","stream_options":{ "include_usage":true }"#,
            r#","stream_options":{ "include_usage":true }"#,
        ),
        (
            r#","stream_options":{"include_usage":false}"#,
            r#","stream_options":{"include_usage":true}"#,
        ),
    ] {
        let request = format!(r#"{{"model":"m","stream":true,{MESSAGES}{given}}}"#);
        let expected = format!(r#"{{"model":"m","stream":true,{MESSAGES}{sent}}}"#);
        assert_eq!(body(&Dialect::openai(), &request, upstream("m")), expected);
    }
    let request = format!(r#"{{"model":"m","stream":false,{MESSAGES}}}"#);
    assert_eq!(body(&Dialect::openai(), &request, upstream("m")), request);
}

#[test]
fn the_limit_stands_once_where_the_target_takes_it() {
    use LimitField::{MaxCompletionTokens as New, MaxTokens as Old};
    for (given, field, lowered, sent) in [
        ("", Old, None, ""),
        ("", Old, Some(7), r#","max_tokens":7"#),
        ("", New, Some(7), r#","max_completion_tokens":7"#),
        (r#","max_tokens":9"#, Old, None, r#","max_tokens":9"#),
        (r#","max_tokens":9"#, Old, Some(7), r#","max_tokens":7"#),
        (
            r#","max_tokens":9"#,
            New,
            None,
            r#","max_completion_tokens":9"#,
        ),
        (
            r#","max_tokens":9"#,
            New,
            Some(7),
            r#","max_completion_tokens":7"#,
        ),
        (
            r#","max_completion_tokens":9"#,
            Old,
            None,
            r#","max_tokens":9"#,
        ),
        (
            r#","max_tokens":9,"max_completion_tokens":9"#,
            New,
            None,
            r#","max_completion_tokens":9"#,
        ),
        (
            r#","max_tokens":9,"max_completion_tokens":null"#,
            New,
            Some(7),
            r#","max_completion_tokens":7"#,
        ),
        (r#","max_tokens":null"#, New, None, r#","max_tokens":null"#),
    ] {
        let request = format!(r#"{{"model":"m",{MESSAGES}{given}}}"#);
        let upstream = Upstream {
            limit_field: field,
            output_limit: lowered,
            ..upstream("m")
        };
        let expected = format!(r#"{{"model":"m",{MESSAGES}{sent}}}"#);
        assert_eq!(body(&Dialect::openai(), &request, upstream), expected);
    }
}

#[test]
fn xai_gets_system_messages_and_no_logit_bias() {
    let request = concat!(
        r#"{"model":"m","logit_bias":{"1":1},"messages":[{"role": "user" ,"content":"x"},"#,
        r#"{"content" : "y","role":"developer"},{"role":"d\u0065veloper","name":"n"}]}"#
    );
    let expected = concat!(
        r#"{"model":"m","messages":[{"role": "user" ,"content":"x"},"#,
        r#"{"content":"y","role":"system"},{"role":"system","name":"n"}]}"#
    );
    // Members of a renamed message keep their bytes; the space around them goes.
    assert_eq!(body(&Dialect::xai(), request, upstream("m")), expected);
    let kept = body(&Dialect::openai(), request, upstream("m"));
    assert!(kept.contains("logit_bias") && kept.contains(r#""developer""#));
    let plain = r#"{"model":"m","messages":[ {"role":"user" , "content":"developer"} ]}"#;
    assert_eq!(body(&Dialect::xai(), plain, upstream("m")), plain);
}

#[test]
fn a_stream_is_asked_for_unpacked() {
    let request = request(
        &json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "x" }] }),
    );
    let sent = encode(&Dialect::openai(), &request, upstream("m")).unwrap();
    let header = |name: &str| sent.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(sent.method(), http::Method::POST);
    assert_eq!(sent.uri(), "https://api.example.com/v1/chat/completions");
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("accept"), "text/event-stream");
    assert_eq!(header("accept-encoding"), "identity");
    let nowhere = Upstream {
        base_url: "not a url",
        ..upstream("m")
    };
    assert_eq!(
        encode(&Dialect::openai(), &request, nowhere)
            .unwrap_err()
            .kind(),
        ProviderErrorKind::Failed
    );
}
