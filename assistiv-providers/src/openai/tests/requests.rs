//! Requests: what is exchanged, and that nothing else is.

use super::*;

fn body(dialect: &Dialect, request: &str, upstream: Upstream<'_>) -> String {
    let request =
        InferenceRequest::parse(Operation::ChatCompletions, request.to_owned().into()).unwrap();
    let sent = encode(dialect, &request, upstream).unwrap();
    String::from_utf8(sent.request.into_body().into()).unwrap()
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
        r#"{"content":"y","role":"system"},{"role":"system"}]}"#
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
    let sent = encode(&Dialect::openai(), &request, upstream("m"))
        .unwrap()
        .request;
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

/// What is sent for a model, and what is left out.
fn sent(dialect: &Dialect, model: &str, members: Value) -> (Value, Vec<String>) {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    let encoded = encode(dialect, &request(&body), upstream(model)).unwrap();
    let dropped = encoded.dropped.names().map(str::to_owned).collect();
    let body = serde_json::from_slice(encoded.request.body()).unwrap();
    (body, dropped)
}

#[test]
fn each_model_gets_what_it_takes() {
    let all = json!({ "temperature": 0.5, "top_p": 1, "stop": "x", "presence_penalty": 0, "frequency_penalty": 1 });
    let taken = |dialect: &Dialect, model: &str, effort: Option<&str>| {
        let mut members = all.clone();
        if let Some(effort) = effort {
            members["reasoning_effort"] = effort.into();
        }
        sent(dialect, model, members).1
    };
    let (openai, xai) = (Dialect::openai(), Dialect::xai());
    let none: [&str; 0] = [];
    assert_eq!(taken(&openai, "gpt-4o", None), none);
    assert_eq!(taken(&openai, "gpt-5.2", Some("none")), none);
    let all_three = ["temperature", "frequency_penalty", "stop"];
    assert_eq!(taken(&openai, "gpt-5.2", None), all_three);
    assert_eq!(taken(&openai, "gpt-6-sol", Some("none")), all_three);
    assert_eq!(taken(&xai, "grok-4.7", None), ["frequency_penalty", "stop"]);
    assert_eq!(taken(&xai, "grok-4.20-0309-non-reasoning", None), none);
    assert_eq!(
        taken(&Dialect::compatible("local"), "gpt-6-sol", None),
        none
    );
}

#[test]
fn xai_gets_what_it_knows() {
    let xai = Dialect::xai();
    let tool = |strict: bool| {
        let mut function = json!({ "name": "f" });
        if strict {
            function["strict"] = true.into();
        }
        json!([{ "type": "function", "function": function }])
    };
    let members = json!({
        "store": true, "metadata": { "a": "b" }, "prompt_cache_key": "k", "verbosity": "low",
        "reasoning_effort": "max", "service_tier": "flex", "tools": tool(true), "user": "u",
        "messages": [{ "role": "user", "content": "x", "name": "n" }],
    });
    let (body, dropped) = sent(&xai, "grok-4.5", members.clone());
    let expected = json!({
        "model": "grok-4.5", "reasoning_effort": "high", "tools": tool(false), "user": "u",
        "messages": [{ "role": "user", "content": "x" }],
    });
    assert_eq!(body, expected);
    assert_eq!(dropped, ["verbosity", "service_tier"]);
    let mut whole = members;
    whole["model"] = "m".into();
    let encoded = encode(&xai, &request(&whole), upstream("grok-4.5")).unwrap();
    assert_eq!(encoded.request.headers()["x-grok-conv-id"], "k");
    let (_, dropped) = sent(&xai, "grok-build-0.1", json!({ "reasoning_effort": "low" }));
    assert_eq!(dropped, ["reasoning_effort"]);
    for (members, param) in [
        (json!({ "web_search_options": {} }), "web_search_options"),
        (json!({ "modalities": ["text", "audio"] }), "audio"),
    ] {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
        let members = members.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        let error = encode(&xai, &request(&body), upstream("m")).unwrap_err();
        assert_eq!(error.kind(), ProviderErrorKind::UnsupportedParameter);
        assert_eq!(error.param(), Some(param));
    }
}
