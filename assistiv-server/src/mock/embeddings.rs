//! OpenAI's embeddings: a text becomes a short vector of its bytes, at the usual price of a prompt.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::errors::{self, ApiError};
use super::knobs::{Fault, Knobs};
use super::reply::{Call, Reply};
use super::stats::{Outcome, Tokens};

const DIMENSIONS: usize = 8;
const BYTES_PER_TOKEN: u64 = 4;

pub(super) fn reply(call: &Call<'_>, key: &str) -> Result<Reply, ApiError> {
    let body: Value = serde_json::from_slice(call.body).map_err(|_| errors::not_json())?;
    let model = body["model"]
        .as_str()
        .ok_or_else(|| errors::missing("model"))?;
    let inputs: Vec<&Value> = match &body["input"] {
        Value::Array(items) if items.iter().all(|it| it.is_string() || it.is_array()) => {
            items.iter().collect()
        }
        Value::Null => return Err(errors::missing("input")),
        one => vec![one],
    };
    let texts: Vec<&str> = inputs.iter().filter_map(|it| it.as_str()).collect();
    let (knobs, _) = Knobs::parse(&texts.join(" "))
        .map_err(|error| errors::invalid("input", error.to_string()))?;
    match knobs.fault {
        Some(Fault::Status(status)) => {
            return Ok(Reply::from(errors::with_status(status, model, key)).paced(&knobs));
        }
        Some(Fault::Quota) => return Ok(errors::quota().into()),
        Some(Fault::Html) => return Ok(Reply::bad_gateway()),
        _ => {}
    }
    let dimensions = body["dimensions"].as_u64();
    let counted: u64 = inputs.iter().map(|input| tokens_of(input)).sum();
    let tokens = knobs.prompt_tokens.unwrap_or(counted);
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector_of(&input.to_string(), dimensions);
            let embedding = if body["encoding_format"] == "base64" {
                let bytes: Vec<u8> = vector.iter().flat_map(|it| it.to_le_bytes()).collect();
                json!(BASE64_STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let body = json!({
        "object": "list", "model": model, "data": data,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    let charged = Tokens {
        prompt_tokens: tokens,
        completion_tokens: 0,
    };
    let outcome = Outcome::Finished(Some((model.to_owned(), charged)));
    let reply = match knobs.fault {
        None => Reply::json(StatusCode::OK, body.to_string(), outcome),
        Some(_) => Reply::whole_json(body.to_string(), &knobs, outcome),
    };
    Ok(reply.paced(&knobs))
}

fn tokens_of(input: &Value) -> u64 {
    match input {
        Value::String(text) => tokens_of_text(text),
        Value::Array(tokens) => tokens.len() as u64,
        _ => 0,
    }
}

pub(super) fn tokens_of_text(text: &str) -> u64 {
    (text.len() as u64).div_ceil(BYTES_PER_TOKEN)
}

/// Numbers that have an exact 32-bit form, so that both encodings say the same.
pub(super) fn vector_of(text: &str, dimensions: Option<u64>) -> Vec<f32> {
    let dimensions = dimensions.and_then(|it| usize::try_from(it).ok());
    let bytes = text.as_bytes();
    (0..dimensions.unwrap_or(DIMENSIONS).min(4096))
        .map(|at| f32::from(bytes[at % bytes.len()]) / 256.0 - 0.25)
        .collect()
}
