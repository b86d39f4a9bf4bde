//! Puts streams together as clients do, and notes what clients would stumble over.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

/// The events of a stream: their names and data.
pub(crate) fn events(body: &[u8]) -> Vec<(Option<String>, String)> {
    let text = std::str::from_utf8(body).unwrap();
    let mut events = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let mut name = None;
        let mut data: Vec<&str> = Vec::new();
        for line in block.lines() {
            if let Some(value) = line.strip_prefix("data: ") {
                data.push(value);
            } else if let Some(value) = line.strip_prefix("event: ") {
                name = Some(value.to_owned());
            }
        }
        if !data.is_empty() {
            events.push((name, data.join("\n")));
        }
    }
    events
}

/// A streamed chat completion.
pub(crate) fn chat(
    events: &[(Option<String>, String)],
    include_usage: bool,
    problems: &mut Vec<String>,
) -> Value {
    let mut problem = |what: String| problems.push(format!("stream: {what}"));
    let mut choices: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    let (mut usage, mut error, mut done) = (Value::Null, Value::Null, false);
    let mut ids = HashSet::new();
    for (at, (_, data)) in events.iter().enumerate() {
        if done || !error.is_null() {
            problem(format!("frame {at} follows the end"));
        }
        if data == "[DONE]" {
            done = true;
            continue;
        }
        let frame: Value = serde_json::from_str(data).unwrap();
        if frame["error"].is_object() {
            error = frame["error"].clone();
            continue;
        }
        ids.insert(frame["id"].to_string());
        if frame["object"] != "chat.completion.chunk" {
            problem(format!("frame {at} is a {}", frame["object"]));
        }
        if !usage.is_null() {
            problem(format!("frame {at} follows the usage"));
        }
        let deltas = frame["choices"].as_array().unwrap();
        if deltas.is_empty() && !include_usage {
            problem(format!("frame {at} has no choices"));
        }
        if !frame["usage"].is_null() {
            if !deltas.is_empty() {
                problem(format!("frame {at} has both choices and usage"));
            }
            usage = frame["usage"].clone();
        }
        for choice in deltas {
            let index = choice["index"].as_u64().unwrap();
            let is_new = !choices.contains_key(&index);
            let all = choices.entry(index).or_default();
            all.insert("index".to_owned(), index.into());
            let delta = choice["delta"].as_object().unwrap();
            if is_new != (delta.get("role") == Some(&json!("assistant"))) {
                problem(format!("frame {at}: the role is said once, and first"));
            }
            if all.contains_key("finish_reason") {
                problem(format!("frame {at} follows the finish reason"));
            }
            let message = all.entry("message").or_insert_with(|| json!({}));
            for (key, piece) in delta {
                match (piece, &mut message[key]) {
                    (Value::String(piece), Value::String(text)) => text.push_str(piece),
                    (Value::Array(pieces), calls) if key == "tool_calls" => {
                        for piece in pieces {
                            add_call(calls, piece).unwrap_or_else(|what| problem(what));
                        }
                    }
                    (Value::Null, Value::String(_)) => {}
                    (piece, slot) => *slot = piece.clone(),
                }
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                all.insert("finish_reason".to_owned(), reason.into());
            }
        }
    }
    if ids.len() > 1 {
        problem("it has more than one id".to_owned());
    }
    let choices: Vec<Value> = choices.into_values().map(Value::from).collect();
    let first = choices.first().cloned().unwrap_or_default();
    json!({
        "message": first["message"], "finish_reason": first["finish_reason"], "choices": choices,
        "usage": usage, "error": error, "done_marker": done,
    })
}

fn add_call(calls: &mut Value, piece: &Value) -> Result<(), String> {
    if !calls.is_array() {
        *calls = json!([]);
    }
    let list = calls.as_array_mut().unwrap();
    let index = usize::try_from(piece["index"].as_u64().unwrap()).unwrap();
    if index == list.len() {
        let whole = piece["id"].is_string()
            && piece["type"] == "function"
            && piece["function"]["name"].is_string();
        list.push(piece.clone());
        return whole
            .then_some(())
            .ok_or_else(|| format!("the call {piece} lacks something"));
    }
    let Some(call) = list.get_mut(index) else {
        return Err(format!("the call {piece} leaves a gap"));
    };
    let more = piece["function"]["arguments"].as_str().unwrap_or_default();
    let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
    call["function"]["arguments"] = format!("{arguments}{more}").into();
    if piece.get("id").is_some() || piece["function"].get("name").is_some() {
        return Err(format!("the call {piece} is named twice"));
    }
    Ok(())
}

/// A streamed response.
pub(crate) fn response(events: &[(Option<String>, String)], problems: &mut Vec<String>) -> Value {
    let mut problem = |what: String| problems.push(format!("stream: {what}"));
    let mut end: Option<Value> = None;
    let mut items: HashMap<u64, Value> = HashMap::new();
    let mut texts: HashMap<(u64, String, String), String> = HashMap::new();
    for (at, (name, data)) in (0_u64..).zip(events) {
        if data == "[DONE]" {
            continue;
        }
        let event: Value = serde_json::from_str(data).unwrap();
        let kind = event["type"].as_str().unwrap_or_default();
        if name.as_deref() != Some(kind) {
            problem(format!("event {at} is called {name:?} and is a {kind}"));
        }
        if event["sequence_number"] != at {
            problem(format!(
                "event {at} is numbered {}",
                event["sequence_number"]
            ));
        }
        if (at == 0) != (kind == "response.created") {
            problem(format!("event {at} is a {kind}"));
        }
        if end.is_some() {
            problem(format!("event {at} follows the end"));
        }
        if matches!(
            kind,
            "response.completed" | "response.incomplete" | "response.failed"
        ) {
            end = Some(event.clone());
            continue;
        }
        let Some(index) = event["output_index"].as_u64() else {
            continue;
        };
        if kind == "response.output_item.added" {
            if items.insert(index, event["item"].clone()).is_some() {
                problem(format!("item {index} is added twice"));
            }
            continue;
        }
        let Some(item) = items.get(&index) else {
            problem(format!(
                "event {at} is about item {index}, which was not added"
            ));
            continue;
        };
        let id = event.get("item_id").unwrap_or(&event["item"]["id"]);
        if *id != item["id"] {
            problem(format!("event {at} calls item {index} {id}"));
        }
        let (of, what) = kind.rsplit_once('.').unwrap_or_default();
        let part = format!("{}/{}", event["content_index"], event["summary_index"]);
        let text = texts.entry((index, of.to_owned(), part)).or_default();
        match what {
            "delta" => text.push_str(event["delta"].as_str().unwrap_or_default()),
            "done" => {
                let whole = ["text", "arguments", "refusal"]
                    .iter()
                    .find_map(|key| event[key].as_str());
                if whole.is_some_and(|whole| whole != text) {
                    problem(format!("event {at} differs from its pieces"));
                }
            }
            _ => {}
        }
    }
    let Some(end) = end else {
        problem("it has no end".to_owned());
        return Value::Null;
    };
    let response = &end["response"];
    json!({
        "final_event": end["type"], "status": response["status"], "output": response["output"],
        "usage": response["usage"], "error": response["error"],
        "incomplete_details": response["incomplete_details"],
    })
}
