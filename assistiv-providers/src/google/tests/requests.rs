//! Requests: what becomes of what the caller asks for.

use std::collections::HashMap;

use assistiv_core::conversation::Recalled;
use assistiv_core::provider::Output;

use super::*;

fn sent(model: &str, members: Value) -> (Value, Vec<String>) {
    let encoded = encoded(model, members).unwrap();
    let dropped = encoded.dropped.names().map(str::to_owned).collect();
    (
        serde_json::from_slice(encoded.request.body()).unwrap(),
        dropped,
    )
}

fn request(model: &str, members: Value) -> InferenceRequest {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "x" }] });
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    InferenceRequest::parse(Operation::ChatCompletions, body.to_string().into()).unwrap()
}

fn encoded(model: &str, members: Value) -> Result<Encoded, ProviderError> {
    Google.encode(&request(model, members), &target(model))
}

fn refused(model: &str, members: Value) -> (ProviderErrorKind, String) {
    let error = encoded(model, members).unwrap_err();
    (error.kind(), error.param().unwrap_or_default().to_owned())
}

const NEW: &str = "gemini-3.8-flash";
const QUICK: &str = "gemini-3.6-flash";
const OLD: &str = "gemini-2.5-flash";
const PRO: &str = "gemini-2.5-pro";

fn tools() -> Value {
    let city = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    json!([
        { "type": "function", "function": { "name": "f", "parameters": city } },
        { "type": "function", "function": { "name": "g", "parameters": { "type": "object", "properties": {} } } },
    ])
}

/// A loop in which `f` was called, with the result that it gave.
fn loop_of(result: &str) -> Value {
    json!({ "tools": tools(), "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": "Wait.", "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{\"n\": 12345678901234567890123}" } }] },
        { "role": "tool", "tool_call_id": "c1", "content": result },
        { "role": "user", "content": "and?" },
    ] })
}

#[test]
fn effort_is_told_in_each_models_own_way() {
    let level =
        |word: &str, thoughts: bool| json!({ "includeThoughts": thoughts, "thinkingLevel": word });
    let budget = |tokens: u64, thoughts: bool| json!({ "includeThoughts": thoughts, "thinkingBudget": tokens });
    for (model, effort, expected) in [
        (NEW, "none", level("low", false)),
        (NEW, "minimal", level("low", true)),
        (NEW, "medium", level("medium", true)),
        (NEW, "max", level("high", true)),
        (QUICK, "none", level("minimal", false)),
        (OLD, "none", budget(0, false)),
        (PRO, "none", budget(128, false)),
        (OLD, "low", budget(1024, true)),
        (OLD, "medium", budget(3999, true)),
    ] {
        let asked = json!({ "reasoning_effort": effort, "max_tokens": 4000 });
        let (body, dropped) = sent(model, asked);
        let config = &body["generationConfig"]["thinkingConfig"];
        assert_eq!(*config, expected, "{model} {effort}");
        assert!(dropped.is_empty());
    }
    let (body, _) = sent(PRO, json!({ "reasoning_effort": "max" }));
    assert_eq!(
        body["generationConfig"]["thinkingConfig"],
        budget(32_768, true)
    );
    assert!(sent(NEW, json!({})).0.get("generationConfig").is_none());
    let (body, dropped) = sent("gemma-4-31b-it", json!({ "reasoning_effort": "high" }));
    assert!(body.get("generationConfig").is_none());
    assert_eq!(dropped, ["reasoning_effort"]);
}

#[test]
fn sampling_goes_where_it_is_taken() {
    let all = json!({ "temperature": 1.5, "top_p": 0.5, "top_k": 5, "seed": 1, "presence_penalty": 0, "frequency_penalty": 1, "stop": ["a", "", "b"] });
    let (body, dropped) = sent(OLD, all.clone());
    let expected = json!({ "temperature": 1.5, "topP": 0.5, "topK": 5, "seed": 1, "frequencyPenalty": 1.0, "stopSequences": ["a", "b"] });
    assert_eq!(body["generationConfig"], expected);
    assert_eq!(dropped, ["stop"]);
    let (body, dropped) = sent(NEW, all);
    let expected = json!({ "seed": 1, "stopSequences": ["a", "b"] });
    assert_eq!(body["generationConfig"], expected);
    assert_eq!(
        dropped,
        ["temperature", "top_p", "frequency_penalty", "top_k", "stop"]
    );
    let (_, dropped) = sent(OLD, json!({ "seed": 3_000_000_000_i64 }));
    assert_eq!(dropped, ["seed"]);
}

#[test]
fn the_rest_goes_where_it_belongs() {
    for (asked, tier, dropped) in [
        ("auto", Value::Null, None),
        ("default", Value::Null, None),
        ("flex", json!("flex"), None),
        ("priority", json!("priority"), None),
        ("scale", Value::Null, Some("service_tier")),
    ] {
        let (body, names) = sent(NEW, json!({ "service_tier": asked }));
        assert_eq!(body["serviceTier"], tier, "{asked}");
        assert_eq!(names.first().map(String::as_str), dropped, "{asked}");
    }
    let (body, dropped) = sent(
        NEW,
        json!({ "user": "u", "metadata": {}, "store": true, "prompt_cache_key": "k", "logit_bias": {}, "sparkle": 1 }),
    );
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    assert_eq!(dropped, ["logit_bias", "sparkle"]);
    let unsupported = |param: &str| (ProviderErrorKind::UnsupportedParameter, param.to_owned());
    assert_eq!(refused(NEW, json!({ "n": 2 })), unsupported("n"));
    assert_eq!(
        refused(NEW, json!({ "logprobs": true })),
        unsupported("logprobs")
    );
    let lone = json!({ "messages": [{ "role": "system", "content": "x" }] });
    let invalid = (ProviderErrorKind::Invalid, "messages".to_owned());
    assert_eq!(refused(NEW, lone), invalid);
    let silent = json!({ "messages": [{ "role": "user", "content": "" }] });
    assert_eq!(refused(NEW, silent), invalid);
}

#[test]
fn tools_and_choices() {
    let city = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let both = json!([{ "functionDeclarations": [{ "name": "f", "parametersJsonSchema": city }, { "name": "g" }] }]);
    let calling = |mode: &str| json!({ "functionCallingConfig": { "mode": mode } });
    let named = json!({ "type": "function", "function": { "name": "g" } });
    let only_g =
        json!({ "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["g"] } });
    for (choice, config) in [
        (json!("auto"), Value::Null),
        (json!("none"), calling("NONE")),
        (json!("required"), calling("ANY")),
        (named, only_g),
    ] {
        let (body, _) = sent(NEW, json!({ "tools": tools(), "tool_choice": choice }));
        assert_eq!((&body["tools"], &body["toolConfig"]), (&both, &config));
    }
    let some = |mode: &str| {
        json!({ "tools": tools(), "tool_choice": { "type": "allowed_tools", "allowed_tools": {
            "mode": mode, "tools": [{ "type": "function", "function": { "name": "g" } }] } } })
    };
    let only_g = json!([{ "functionDeclarations": [{ "name": "g" }] }]);
    for (mode, config) in [("auto", Value::Null), ("required", calling("ANY"))] {
        let (body, _) = sent(NEW, some(mode));
        assert_eq!((&body["tools"], &body["toolConfig"]), (&only_g, &config));
    }
    let (_, dropped) = sent(
        NEW,
        json!({ "tools": tools(), "parallel_tool_calls": false }),
    );
    assert_eq!(dropped, ["parallel_tool_calls"]);
    let bad =
        json!({ "tools": [{ "type": "function", "function": { "name": "f", "parameters": [] } }] });
    let param = "tools[0].function.parameters".to_owned();
    assert_eq!(refused(NEW, bad), (ProviderErrorKind::Invalid, param));
}

#[test]
fn a_form_of_the_answer() {
    let (body, _) = sent(NEW, json!({ "response_format": { "type": "json_object" } }));
    let config = json!({ "responseMimeType": "application/json" });
    assert_eq!(body["generationConfig"], config);
    let format = json!({ "response_format": { "type": "json_object" }, "tools": tools() });
    assert!(encoded(NEW, format.clone()).is_ok());
    let param = "response_format".to_owned();
    let unsupported = (ProviderErrorKind::UnsupportedParameter, param);
    assert_eq!(refused(OLD, format), unsupported);
}

#[test]
fn media_come_in_the_request_itself() {
    let parts = |parts: Value| json!({ "messages": [{ "role": "user", "content": parts }] });
    let image =
        |url: &str| json!({ "type": "image_url", "image_url": { "url": url, "detail": "low" } });
    let file = json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" } });
    let audio = |format: &str| json!({ "type": "input_audio", "input_audio": { "data": "AAAA", "format": format } });
    let all = json!([image("data:image/png;base64,AAAA"), file, audio("mp3")]);
    let (body, dropped) = sent(OLD, parts(all));
    let inline = |kind: &str| json!({ "inlineData": { "mimeType": kind, "data": "AAAA" } });
    assert_eq!(
        body["contents"][0]["parts"],
        json!([
            inline("image/png"),
            inline("application/pdf"),
            inline("audio/mp3")
        ])
    );
    assert!(dropped.is_empty());
    let param = "messages".to_owned();
    assert_eq!(
        refused(NEW, parts(json!([image("https://example.com/a.png")]))),
        (ProviderErrorKind::UnsupportedParameter, param.clone())
    );
    assert_eq!(
        refused(NEW, parts(json!([audio("mp3\",")]))),
        (ProviderErrorKind::UnsupportedValue, param)
    );
}

#[test]
fn a_call_of_elsewhere_passes_unchecked() {
    for (result, response) in [
        ("12:00", json!({ "output": "12:00" })),
        ("{\"t\": 1}", json!({ "t": 1 })),
        ("[1]", json!({ "output": "[1]" })),
        ("", json!({ "output": "" })),
    ] {
        let (body, _) = sent(NEW, loop_of(result));
        let contents = &body["contents"];
        assert_eq!(contents[1]["parts"][0], json!({ "text": "Wait." }));
        let call = &contents[1]["parts"][1];
        let signature = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";
        assert_eq!(call["thoughtSignature"], signature);
        assert!(call["functionCall"].get("id").is_none());
        let answer = json!({ "functionResponse": { "name": "f", "response": response } });
        assert_eq!(
            contents[2],
            json!({ "role": "user", "parts": [answer, { "text": "and?" }] })
        );
    }
    let encoded = encoded(NEW, loop_of("x")).unwrap();
    let text = std::str::from_utf8(encoded.request.body()).unwrap();
    assert!(
        text.contains(r#""args":{"n": 12345678901234567890123}"#),
        "{text}"
    );
    let (body, _) = sent(OLD, loop_of("x"));
    assert!(!body.to_string().contains("thoughtSignature"));
}

#[test]
fn what_a_model_has_signed_comes_back_to_it() {
    let answer = json!({ "candidates": [{ "content": { "role": "model", "parts": [
        { "text": "Hm.", "thought": true },
        { "text": "", "thoughtSignature": "U0lHMQ==" },
        { "functionCall": { "id": "c1", "name": "f", "args": {} }, "thoughtSignature": "U0lHMg==" },
    ] }, "finishReason": "STOP" }] });
    let mut out = Output::new();
    let mut decoder = Google.decoder(&request(NEW, json!({})), &target(NEW));
    decoder.push(answer.to_string().into(), &mut out).unwrap();
    decoder.finish(&mut out).unwrap();
    let memories = out.take_memories().into_iter();
    let memories: HashMap<_, _> = memories.map(|(id, it)| (id, it.into())).collect();
    let again = |model: &str| -> Value {
        let mut request = request(model, loop_of("18"));
        request.recall(Recalled(memories.clone()));
        let encoded = Google.encode(&request, &target(model)).unwrap();
        serde_json::from_slice(encoded.request.body()).unwrap()
    };
    let contents = &again(NEW)["contents"];
    let args: Value = serde_json::from_str("{\"n\": 12345678901234567890123}").unwrap();
    assert_eq!(
        contents[1]["parts"],
        json!([
            { "text": "", "thoughtSignature": "U0lHMQ==" },
            { "text": "Wait." },
            { "functionCall": { "id": "c1", "name": "f", "args": args }, "thoughtSignature": "U0lHMg==" },
        ])
    );
    assert_eq!(contents[2]["parts"][0]["functionResponse"]["id"], "c1");
    // Another model may not see it.
    let contents = again(QUICK)["contents"].to_string();
    assert!(
        !contents.contains("U0lH") && !contents.contains("\"id\""),
        "{contents}"
    );
}
