//! Readers of single fields: from JSON text to a value, or what is wrong with it, for people.

use std::str::FromStr;

use assistiv_core::auth::{KeyScope, KeyScopes};
use assistiv_core::billing::{LongContext, Period, Rate, Rates};
use assistiv_core::events::{EventType, EventTypeError};
use assistiv_core::json::RawObject;
use assistiv_core::money::{DisplayUnits, NanoUsd, Tokens};
use assistiv_core::routing::ModelSlug;

/// A value, or what a field must be.
pub(super) type Read<T> = Result<T, String>;

/// A name or an id that people chose: 1 to `max` characters, none of them a control character.
pub(super) fn text(max: usize) -> impl Fn(&str) -> Read<String> {
    move |json| {
        let text = string(json)?;
        let length = text.chars().count();
        if length == 0 || length > max {
            return Err(format!("must have 1 to {max} characters"));
        }
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters".to_owned());
        }
        Ok(text)
    }
}

/// An object, as it was sent.
pub(super) fn source(json: &str) -> Read<String> {
    if json.starts_with('{') {
        Ok(json.to_owned())
    } else {
        Err("must be an object".to_owned())
    }
}

/// A remark of up to 500 characters; it may have lines.
pub(super) fn note(json: &str) -> Read<String> {
    let text = string(json)?;
    if text.chars().count() > NOTE_MAX {
        return Err(format!("must have at most {NOTE_MAX} characters"));
    }
    if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        return Err("must not contain control characters".to_owned());
    }
    Ok(text)
}

/// A remark that must say something.
pub(super) fn said(json: &str) -> Read<String> {
    let text = note(json)?;
    if text.trim().is_empty() {
        Err("must not be empty".to_owned())
    } else {
        Ok(text)
    }
}

const NOTE_MAX: usize = 500;

/// A string that is the text of a `T`.
pub(super) fn parsed<T>(json: &str) -> Read<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    string(json)?
        .parse()
        .map_err(|error: T::Err| error.to_string())
}

/// `true` or `false`.
pub(super) fn flag(json: &str) -> Read<bool> {
    match json {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// An integer of `min` to `max`.
pub(super) fn integer(min: i64, max: i64) -> impl Fn(&str) -> Read<i64> {
    move |json| {
        let value = json
            .parse()
            .ok()
            .filter(|value| (min..=max).contains(value));
        value.ok_or_else(|| format!("must be an integer of {min} to {max}"))
    }
}

/// An amount of 0 or more, from a number or a string.
pub(super) fn usd(json: &str) -> Read<NanoUsd> {
    let amount = amount(json)?;
    if amount < NanoUsd::ZERO {
        Err("must be 0 or more".to_owned())
    } else {
        Ok(amount)
    }
}

/// An amount above 0, from a number or a string.
pub(super) fn positive_usd(json: &str) -> Read<NanoUsd> {
    let amount = amount(json)?;
    if amount.is_positive() {
        Ok(amount)
    } else {
        Err("must be greater than 0".to_owned())
    }
}

/// An amount of either sign, from a number or a string.
pub(super) fn signed_usd(json: &str) -> Read<NanoUsd> {
    let amount = amount(json)?;
    if amount.is_zero() {
        Err("must not be 0".to_owned())
    } else {
        Ok(amount)
    }
}

/// Display units, 0 or more, with at most six fractional digits.
pub(super) fn display(json: &str) -> Read<DisplayUnits> {
    let units: DisplayUnits = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if units < DisplayUnits::ZERO {
        Err("must be 0 or more".to_owned())
    } else {
        Ok(units)
    }
}

/// Display units above 0.
pub(super) fn positive_display(json: &str) -> Read<DisplayUnits> {
    let units = display(json)?;
    if units.is_positive() {
        Ok(units)
    } else {
        Err("must be greater than 0".to_owned())
    }
}

/// Display units of either sign, not 0.
pub(super) fn signed_display(json: &str) -> Read<DisplayUnits> {
    let units: DisplayUnits = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if units.is_zero() {
        Err("must not be 0".to_owned())
    } else {
        Ok(units)
    }
}

/// A number of tokens, 0 or more.
pub(super) fn tokens(json: &str) -> Read<Tokens> {
    integer(0, Tokens::MAX_INPUT.get())(json).map(Tokens::new)
}

/// A number of tokens above 0.
pub(super) fn positive_tokens(json: &str) -> Read<Tokens> {
    integer(1, Tokens::MAX_INPUT.get())(json).map(Tokens::new)
}

/// How long a budget's limits last.
pub(super) fn period(json: &str) -> Read<Period> {
    serde_json::from_str(json)
        .map_err(|_| "must be `one_time`, `daily`, `weekly` or `monthly`".to_owned())
}

/// Any JSON object.
pub(super) fn object(json: &str) -> Read<RawObject> {
    serde_json::from_str(json).map_err(|_| "must be an object".to_owned())
}

/// An object of at most 4 KiB, kept on a ledger entry.
pub(super) fn entry_metadata(json: &str) -> Read<RawObject> {
    object_within(4 << 10, json)
}

/// An object of at most 16 KiB, kept on an end user.
pub(super) fn user_metadata(json: &str) -> Read<RawObject> {
    object_within(16 << 10, json)
}

/// Rates of a price by bucket, and the fixed amount of a call.
pub(super) fn rates(json: &str) -> Read<(Rates, NanoUsd)> {
    let mut members = object(json)?;
    let per_call = match members.remove("per_call") {
        Some(amount) if !amount.is_null() => {
            usd(amount.get()).map_err(|message| format!("is not valid: `per_call` {message}"))?
        }
        _ => NanoUsd::ZERO,
    };
    for (bucket, rate) in &members {
        if !rate.is_null() {
            rate.read::<Rate>()
                .map_err(|error| format!("is not valid: `{bucket}` {error}"))?;
        }
    }
    let text = serde_json::to_string(&members).map_err(|error| error.to_string())?;
    let rates = serde_json::from_str(&text).map_err(|error| format!("is not valid: {error}"))?;
    Ok((rates, per_call))
}

/// Rates that stand in for others when a prompt is long.
pub(super) fn long_context(json: &str) -> Read<LongContext> {
    let members = object(json)?;
    let known = ["above_input_tokens", "rates"];
    if members.keys().any(|name| !known.contains(&name.as_str())) {
        return Err("must be an object of `above_input_tokens` and `rates`".to_owned());
    }
    let above = members.get("above_input_tokens").map(|json| json.get());
    let above = above.and_then(|json| integer(1, Tokens::MAX_INPUT.get())(json).ok());
    let above_input_tokens = above
        .and_then(|tokens| u64::try_from(tokens).ok())
        .ok_or("must have an `above_input_tokens` of at least 1")?;
    let (rates, per_call) = rates(members.get("rates").map_or("{}", |json| json.get()))
        .map_err(|message| format!("is not valid: `rates` {message}"))?;
    if !per_call.is_zero() {
        return Err("`rates` must not have a `per_call`".to_owned());
    }
    Ok(LongContext {
        above_input_tokens,
        rates,
    })
}

fn object_within(bytes_max: usize, json: &str) -> Read<RawObject> {
    let object = object(json)?;
    // Space around members is not kept, so it does not count.
    let bytes = serde_json::to_string(&object).map_or(usize::MAX, |text| text.len());
    if bytes > bytes_max {
        return Err(format!("must be an object of at most {bytes_max} bytes"));
    }
    Ok(object)
}

/// A list of scopes; an empty one means no restriction within the key's kind.
pub(super) fn scopes(json: &str) -> Read<KeyScopes> {
    let wanted = "must be a list of `inference`, `management`, `mcp` and `self`";
    let names: Vec<String> = serde_json::from_str(json).map_err(|_| wanted.to_owned())?;
    let scopes: Result<Vec<KeyScope>, ()> = names.iter().map(|name| name.parse()).collect();
    scopes.map(KeyScopes::new).map_err(|()| wanted.to_owned())
}

/// A list of names of models.
pub(super) fn models(json: &str) -> Read<Vec<ModelSlug>> {
    let wanted = "must be null or a list of model names: letters, digits, `.`, `_`, `-` and `/`";
    serde_json::from_str(json).map_err(|_| wanted.to_owned())
}

/// Names of events.
pub(super) fn event_types(json: &str) -> Read<Vec<EventType>> {
    let names: Vec<String> =
        serde_json::from_str(json).map_err(|_| "must be a list of names of events".to_owned())?;
    let read = |name: String| {
        name.parse()
            .map_err(|error: EventTypeError| format!("`{name}` {error}"))
    };
    names.into_iter().map(read).collect()
}

fn string(json: &str) -> Read<String> {
    serde_json::from_str(json).map_err(|_| "must be a string".to_owned())
}

fn amount(json: &str) -> Read<NanoUsd> {
    let quoted = json.starts_with('"').then(|| string(json)).transpose()?;
    quoted
        .as_deref()
        .unwrap_or(json)
        .parse()
        .map_err(|error: assistiv_core::money::AmountError| error.to_string())
}
