//! Callers of the Responses API, in their own words.

use super::*;

const BODY: &str = r#"{"model":"gpt-6.1-sol","input":[{"role":"user","content":"x", "mood" : 1}],"temperature":0.3,"new_member":{"b" :1},"reasoning":{"effort":"low","context":"all"},"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"defer":true}]}"#;

fn sent(body: &str) -> (String, Vec<String>) {
    let request = InferenceRequest::parse(Operation::Responses, body.to_owned().into()).unwrap();
    let openai = OpenAiCompatible::openai();
    let encoded = openai
        .encode(&request, &target(&openai, "gpt-6.1-sol"))
        .unwrap();
    assert_eq!(encoded.request.uri().path(), "/v1/responses");
    let dropped = encoded.dropped.names().map(str::to_owned).collect();
    (
        String::from_utf8(encoded.request.body().to_vec()).unwrap(),
        dropped,
    )
}

#[test]
fn what_need_not_differ_stays_byte_for_byte() {
    let (body, dropped) = sent(BODY);
    for kept in [
        r#""input":[{"role":"user","content":"x", "mood" : 1}]"#,
        r#""new_member":{"b" :1}"#,
        r#""tools":[{"type":"function","name":"f","parameters":{"type":"object"},"defer":true}]"#,
        r#""reasoning":{"effort":"low","context":"all"}"#,
        r#""store":false"#,
        r#""include":["reasoning.encrypted_content"]"#,
    ] {
        assert!(body.contains(kept), "{kept} in {body}");
    }
    // This model thinks, and takes no temperature then.
    assert!(!body.contains("temperature"), "{body}");
    assert_eq!(dropped, ["temperature"]);
}

#[test]
fn what_a_model_has_said_is_written_anew() {
    let body = r#"{"model":"gpt-6.1-sol","instructions":"Be brief.","input":[
        {"role":"user","content":"x"},
        {"type":"reasoning","id":"rs_of_the_gateway","summary":[],"encrypted_content":"of another"},
        {"type":"message","id":"msg_of_the_gateway","role":"assistant","content":[{"type":"output_text","text":"y"}]},
        {"role":"user","content":"z"}],"truncation":"disabled","future":true}"#;
    let (body, _) = sent(body);
    assert!(!body.contains("of_the_gateway"), "{body}");
    assert!(!body.contains("of another"), "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let items = body["input"].as_array().unwrap().iter();
    let roles: Vec<_> = items.map(|item| item["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["developer", "user", "assistant", "user"]);
    assert_eq!(body["instructions"], Value::Null);
    assert_eq!(body["future"], true);
}
