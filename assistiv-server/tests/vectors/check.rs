//! What a vector expects, compared with what came out.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::assemble;
use crate::client::{self, Answer};
use crate::expect::matches;
use crate::upstream::Seen;
use crate::world::World;

/// Runs a vector and says what is not as expected.
pub(crate) async fn run(world: &World, vector: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let platform = world.platform(vector);
    let before = world.last_charge(platform).await.map(|charge| charge.uid);
    world.upstream.plan(&vector["upstream"]);
    let leaves = vector["client_behavior"]["disconnect_after_events"].as_u64();
    let answer = client::send(
        world.address,
        "POST",
        vector["endpoint"].as_str().unwrap(),
        &platform.key,
        &vector["request"],
        leaves.map(|events| usize::try_from(events).unwrap()),
    )
    .await;
    if let Some(within) = vector["upstream_must_see_close_within_ms"].as_u64()
        && !world
            .upstream
            .sees_close(Duration::from_millis(within))
            .await
    {
        problems.push("the provider's connection stayed open".to_owned());
    }
    check_answer(vector, &answer, leaves.is_some(), &mut problems);
    check_requests(vector, &world.upstream.seen(), &platform.key, &mut problems);
    let usage = world.usage(platform, before).await;
    check_usage(&vector["expected_usage"], usage.as_ref(), &mut problems);
    problems
}

fn check_answer(vector: &Value, answer: &Answer, left: bool, problems: &mut Vec<String>) {
    let expected = &vector["expected_client"];
    let text = String::from_utf8_lossy(&answer.body);
    if expected["status"] != answer.status {
        problems.push(format!("the status is {}: {text}", answer.status));
        return;
    }
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        if !matches(value, answer.headers.get(name)) {
            problems.push(format!(
                "the header {name} is {:?}",
                answer.headers.get(name)
            ));
        }
    }
    if left {
        return;
    }
    let shown = match expected.get("body") {
        Some(body) => {
            let shown: Value = serde_json::from_slice(&answer.body).unwrap();
            if !matches(body, Some(&shown)) {
                problems.push(format!("the answer is {shown}"));
            }
            shown
        }
        None => {
            let events = assemble::events(&answer.body);
            let shown = if vector["endpoint"] == "/v1/responses" {
                assemble::response(&events, problems)
            } else {
                let options = &vector["request"]["stream_options"];
                assemble::chat(&events, options["include_usage"] == true, problems)
            };
            if !matches(&expected["assembled"], Some(&shown)) {
                problems.push(format!("the stream says {shown}"));
            }
            shown
        }
    };
    let message = shown.get("message").unwrap_or(&shown);
    for path in list(&vector["distinct"]) {
        let path = path.as_str().unwrap();
        let found = values(message, path);
        let different: HashSet<String> = found.iter().map(ToString::to_string).collect();
        if different.len() < found.len() {
            problems.push(format!("{path} has a value twice"));
        }
    }
}

/// The values at a path such as `tool_calls[].id`.
fn values<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let found: Vec<&Value> = match first.strip_suffix("[]") {
        Some(name) => value[name].as_array().into_iter().flatten().collect(),
        None => value.get(first).into_iter().collect(),
    };
    if rest.is_empty() {
        return found;
    }
    found
        .into_iter()
        .flat_map(|value| values(value, rest))
        .collect()
}

fn check_requests(vector: &Value, seen: &[Seen], key: &str, problems: &mut Vec<String>) {
    let expected = match &vector["expected_upstream_request"] {
        Value::Null => Vec::new(),
        Value::Array(requests) => requests.clone(),
        one => vec![one.clone()],
    };
    if expected.len() != seen.len() {
        problems.push(format!("the provider saw {} requests", seen.len()));
    }
    for (expected, seen) in expected.iter().zip(seen) {
        check_request(expected, seen, key, problems);
    }
}

fn check_request(expected: &Value, seen: &Seen, key: &str, problems: &mut Vec<String>) {
    let text = String::from_utf8_lossy(&seen.body);
    let headers = Value::from(seen.headers.clone());
    let all = [&seen.path, &seen.query, &headers.to_string(), &*text];
    if all.iter().any(|text| text.contains(key)) {
        problems.push("the caller's key reached the provider".to_owned());
    }
    if expected["method"] != *seen.method || !matches(&expected["path"], Some(&json!(seen.path))) {
        problems.push(format!("the provider saw {} {}", seen.method, seen.path));
    }
    for (name, value) in expected["query"].as_object().into_iter().flatten() {
        let pair = format!("{name}={}", value.as_str().unwrap());
        if !seen.query.split('&').any(|it| it == pair) {
            problems.push(format!("the provider saw the query {}", seen.query));
        }
    }
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        if !matches(value, headers.get(name.to_ascii_lowercase())) {
            problems.push(format!("the provider did not see the header {name}"));
        }
    }
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    if !matches(&expected["body"], Some(&body)) {
        problems.push(format!("the provider saw {body}"));
    }
    for pointer in list(&expected["body_absent"]) {
        if body.pointer(pointer.as_str().unwrap()).is_some() {
            problems.push(format!("the provider saw {pointer}"));
        }
    }
    let any = list(&expected["body_any"]);
    let holds = |pair: &Value| matches(&pair[1], body.pointer(pair[0].as_str().unwrap()));
    if !any.is_empty() && !any.iter().any(holds) {
        problems.push(format!("the provider saw none of {any:?}: {body}"));
    }
    for (rule, wanted) in [("body_contains", true), ("body_not_contains", false)] {
        for (pointer, parts) in expected[rule].as_object().into_iter().flatten() {
            let text = body
                .pointer(pointer)
                .map(Value::to_string)
                .unwrap_or_default();
            for part in list(parts) {
                if text.contains(part.as_str().unwrap()) != wanted {
                    problems.push(format!("{rule} {part} at {pointer}: {text}"));
                }
            }
        }
    }
}

fn check_usage(expected: &Value, charged: Option<&Value>, problems: &mut Vec<String>) {
    let nano = charged.map_or(0, |charged| charged["nano_usd"].as_i64().unwrap());
    let Some(expected) = expected.as_object() else {
        if nano != 0 {
            problems.push(format!(
                "{nano} nano-dollars were charged, and nothing is due"
            ));
        }
        return;
    };
    if expected["billable"] == false && nano != 0 {
        problems.push(format!(
            "{nano} nano-dollars were charged, and nothing is due"
        ));
    }
    if let Some(cost) = expected.get("cost_usd").and_then(Value::as_str) {
        let exact: f64 = cost.parse().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "the costs are small")]
        let off = exact.mul_add(1e9, -(nano as f64)).abs();
        // The only rounding is the one to whole nano-dollars.
        if off > 0.500_001 {
            problems.push(format!(
                "{nano} nano-dollars were charged for {cost} dollars"
            ));
        }
    }
    let Some(charged) = charged else {
        if expected["billable"] == true {
            problems.push("nothing was charged".to_owned());
        }
        return;
    };
    for (name, value) in expected {
        let is_compared = !matches!(
            &**name,
            "billable" | "cost_usd" | "provider_reported_cost_usd"
        );
        if is_compared && !matches(value, charged.get(name)) {
            problems.push(format!("{name} is {}", charged[name]));
        }
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
