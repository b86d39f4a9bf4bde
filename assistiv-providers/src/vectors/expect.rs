//! Compares JSON with the matchers of the fixtures.

use regex::Regex;
use serde_json::Value;

/// Whether `actual` is as expected: objects may have more members, arrays are compared item by item.
pub(super) fn matches(expected: &Value, actual: Option<&Value>) -> bool {
    let found = actual.filter(|value| !value.is_null());
    match expected {
        Value::Null => found.is_none(),
        Value::String(matcher) if matcher.starts_with('$') => by_name(matcher, found),
        Value::Object(map) if map.len() == 1 && map.keys().all(|key| key.starts_with('$')) => map
            .iter()
            .all(|(matcher, argument)| by_argument(matcher, argument, found)),
        Value::Object(map) => found.is_some_and(|found| {
            map.iter()
                .all(|(key, value)| matches(value, found.get(key)))
        }),
        Value::Array(items) => found.and_then(Value::as_array).is_some_and(|found| {
            found.len() == items.len() && items.iter().zip(found).all(|(e, a)| matches(e, Some(a)))
        }),
        Value::Number(number) => found.and_then(Value::as_f64) == number.as_f64(),
        _ => found == Some(expected),
    }
}

fn by_name(matcher: &str, found: Option<&Value>) -> bool {
    match matcher {
        "$any" => true,
        "$absent" => found.is_none(),
        "$empty" => found.is_none_or(is_empty),
        "$nonempty" => found.is_some_and(|value| !is_empty(value)),
        "$int" | "$unix" => found.is_some_and(Value::is_u64),
        "$bool" => found.is_some_and(Value::is_boolean),
        "$array" => found.is_some_and(Value::is_array),
        other => {
            let text = found.and_then(Value::as_str);
            if let Some(pattern) = other.strip_prefix("$re:") {
                text.is_some_and(|text| Regex::new(pattern).unwrap().is_match(text))
            } else if let Some(start) = other
                .strip_prefix("$prefix:")
                .or_else(|| other.strip_prefix("$same:"))
            {
                text.is_some_and(|text| text.starts_with(start))
            } else {
                panic!("the fixtures use {other}")
            }
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn by_argument(matcher: &str, argument: &Value, found: Option<&Value>) -> bool {
    let text = found.map(|value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    });
    let holds = |part: &Value| {
        text.as_deref()
            .unwrap_or("")
            .contains(part.as_str().unwrap())
    };
    match matcher {
        "$json" => text.is_some_and(|text| {
            serde_json::from_str::<Value>(&text).is_ok_and(|value| value == *argument)
        }),
        "$contains" => argument.as_array().unwrap().iter().all(holds),
        "$not_contains" => !argument.as_array().unwrap().iter().any(holds),
        "$any_of" => argument
            .as_array()
            .unwrap()
            .iter()
            .any(|one| matches(one, found)),
        "$gte" => found.and_then(Value::as_f64) >= argument.as_f64(),
        other => panic!("the fixtures use {other}"),
    }
}
