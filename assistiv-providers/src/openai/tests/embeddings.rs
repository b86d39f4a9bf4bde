//! Embeddings: two encodings, whatever the server knows.

use assistiv_core::provider::ProviderErrorKind as Kind;

use super::super::embeddings::EmbeddingsDecoder;
use super::*;

fn ask(more: &str) -> InferenceRequest {
    let body = format!(r#"{{"model":"small","input":["a","b"]{more}}}"#);
    InferenceRequest::parse(Operation::Embeddings, body.into()).unwrap()
}

fn read(more: &str, body: &str) -> Outcome {
    let request = ask(more);
    replay_every_split(
        || Box::new(EmbeddingsDecoder::new(&request, "small")),
        body.as_bytes(),
        End::Neat,
    )
}

const BASE64: &str = r#","encoding_format":"base64""#;

fn body(vector: &str) -> String {
    format!(
        r#"{{"object":"list","data":[{{"object":"embedding","index":0,"embedding":{vector},"x":1}}],"model":"real","usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#
    )
}

#[test]
fn vectors_come_as_they_were_asked_for() {
    // 1.5 and -0.25 as little-endian 32-bit floats.
    let (numbers, base64) = ("[1.5, -0.25]", "\"AADAPwAAgL4=\"");
    for (more, sent, expected) in [
        ("", numbers, numbers),
        (BASE64, base64, base64),
        ("", base64, "[1.5,-0.25]"),
        (BASE64, numbers, base64),
    ] {
        let outcome = read(more, &body(sent));
        assert!(outcome.complete && outcome.error.is_none(), "{outcome:?}");
        assert_eq!(outcome.text(), body(expected).replace("real", "small"));
        let usage = outcome.usage.unwrap();
        assert_eq!((usage.input, usage.total()), (8, 8));
        assert_eq!(outcome.content_bytes, 0);
    }
}

#[test]
fn nonsense_is_no_vector() {
    for vector in ["null", "7", "\"AA\"", "\"!\"", "[\"x\"]", "\"AADAfw==\""] {
        let more = if vector.starts_with('[') { BASE64 } else { "" };
        let outcome = read(more, &body(vector));
        assert_eq!(outcome.error.unwrap().0, Kind::Malformed, "{vector}");
    }
    assert_eq!(read("", "{}").error.unwrap().0, Kind::Malformed);
    let error = r#"{"error":{"message":"m","code":"model_not_found"}}"#;
    assert_eq!(read("", error).error.unwrap().0, Kind::ModelNotFound);
}
