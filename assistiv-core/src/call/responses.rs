//! Reads OpenAI's Responses requests (`docs/api-design.md`).
//!
//! What the gateway itself needs to know is checked here, and what it does itself (storing, continuing) is taken out
//! of the body, so that what is left can be passed on or translated.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chat::{AUDIO_BYTES_PER_TOKEN, IMAGE_TOKENS, TOOLS_MAX, tokens_of_bytes};
use super::fields::Fields;
use crate::call::{InferenceRequest, LimitField, Operation, RequestError};
use crate::conversation::Recalled;
use crate::json::{Members, RawObject};
use crate::responses::{Asked, Echo};

const ITEMS_MAX: usize = 10_000;
const ROLES: [&str; 4] = ["system", "developer", "user", "assistant"];
const THREAD_CHARS_MAX: usize = 255;
const PAIRS_MAX: usize = 16;
const PAIR_NAME_CHARS_MAX: usize = 64;
const PAIR_VALUE_CHARS_MAX: usize = 512;

/// Parameters of OpenAI's that the gateway cannot honour on any route, since it holds the state itself.
const STATEFUL: [(&str, &str); 4] = [
    (
        "conversation",
        "continue by `previous_response_id` or `thread_id`",
    ),
    ("prompt", "send the prompt itself"),
    ("context_management", "shorten the input yourself"),
    ("agent_id", "this version runs no agents"),
];

pub(super) fn read(mut members: Members) -> Result<InferenceRequest, RequestError> {
    let mut fields = Fields::new(&members);
    let model = fields.required::<String>("model", "must be a model slug");
    let prompt_tokens = input(&mut fields);
    fields.field::<Cow<'_, str>>("instructions", "must be a string");
    let flag = "must be true or false";
    let stream = fields.field::<bool>("stream", flag).unwrap_or(false);
    let store = fields.field::<bool>("store", flag).unwrap_or(true);
    let background = fields.field::<bool>("background", flag).unwrap_or(false);
    fields.field::<bool>("parallel_tool_calls", flag);
    let limit = fields.integer("max_output_tokens", 1, u64::from(u32::MAX));
    fields.integer("max_tool_calls", 1, u64::from(u32::MAX));
    fields.numbers(&[("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0)]);
    let service_tier = fields.field::<String>("service_tier", "must be a string");
    let previous = fields.field::<String>("previous_response_id", "must be a string");
    let thread = thread(&mut fields);
    fields.field::<Vec<Cow<'_, str>>>("include", "must be an array of strings");
    for name in ["text", "reasoning", "response_format", "stream_options"] {
        if members
            .find(name)
            .is_some_and(|json| !json.starts_with('{'))
        {
            fields.fail(name, "must be an object");
        }
    }
    metadata(&mut fields);
    let refused = tools(&mut fields);
    let errors = fields.errors;
    if !errors.is_empty() {
        return Err(RequestError::Fields(errors));
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    if let Some((name, hint)) = STATEFUL
        .into_iter()
        .find(|(name, _)| members.find(name).is_some())
    {
        return Err(unsupported(name, hint));
    }
    if background {
        return Err(unsupported(
            "background",
            "wait for the answer, or stream it",
        ));
    }
    let other_tokens = ["instructions", "tools", "text", "response_format"]
        .iter()
        .filter_map(|name| members.find(name))
        .map(|text| tokens_of_bytes(text.len() as u64))
        .sum::<u64>();
    flatten_tools(&mut members);
    move_format(&mut members);
    let echo = Echo::of(&members);
    for name in [
        "previous_response_id",
        "thread_id",
        "background",
        "stream_options",
    ] {
        members.remove(name);
    }
    // The gateway stores the response itself, and nobody else does.
    members.set("store", "false");
    let asked = Asked::new(echo, store, previous, thread);
    Ok(InferenceRequest {
        operation: Operation::Responses,
        model: model.unwrap_or_default(),
        stream,
        include_usage: true,
        output_limit: limit.map(|limit| (LimitField::MaxOutputTokens, limit)),
        choices: 1,
        service_tier,
        prompt_tokens: prompt_tokens.saturating_add(other_tokens),
        recalled: Recalled::default(),
        response: Some(Box::new(asked)),
        headers: http::HeaderMap::new(),
        members,
    })
}

fn unsupported(param: impl Into<String>, hint: &'static str) -> RequestError {
    RequestError::UnsupportedParameter {
        param: param.into(),
        hint,
    }
}

fn thread(fields: &mut Fields<'_>) -> Option<String> {
    let rule = "must be a string of 1 to 255 characters";
    let thread = fields.field::<String>("thread_id", rule)?;
    if thread.is_empty() || thread.chars().count() > THREAD_CHARS_MAX {
        fields.fail("thread_id", rule);
    }
    Some(thread)
}

fn metadata(fields: &mut Fields<'_>) {
    let rule = "must be an object of at most 16 strings, of names up to 64 and values up to 512 characters";
    let Some(pairs) = fields.field::<RawObject>("metadata", rule) else {
        return;
    };
    let fits = |(name, value): (&String, &crate::json::RawJson)| {
        let value = value.read::<Cow<'_, str>>();
        name.chars().count() <= PAIR_NAME_CHARS_MAX
            && value.is_ok_and(|value| value.chars().count() <= PAIR_VALUE_CHARS_MAX)
    };
    if pairs.len() > PAIRS_MAX || !pairs.iter().all(fits) {
        fields.fail("metadata", rule);
    }
}

/// Checks the tools, and gives the refusal of one that nobody here runs.
fn tools(fields: &mut Fields<'_>) -> Option<RequestError> {
    #[derive(Deserialize)]
    struct Tool<'t> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'t, str>,
    }
    let tools =
        fields.field::<Vec<Tool<'_>>>("tools", "must be an array of tools with a `type`")?;
    if tools.len() > TOOLS_MAX {
        fields.fail("tools", format!("must hold at most {TOOLS_MAX} tools"));
    }
    let index = tools.iter().position(|tool| tool.kind == "mcp")?;
    let hint = "this version runs no hosted MCP tools; connect to the MCP server yourself";
    Some(unsupported(format!("tools[{index}].type"), hint))
}

/// Tools of chat completions are taken, too; in the body they get the form of this dialect.
fn flatten_tools(members: &mut Members) {
    #[derive(Deserialize)]
    struct Nested<'a> {
        #[serde(borrow)]
        function: Option<&'a RawValue>,
    }
    let Ok(Some(tools)) = members.read::<Vec<&RawValue>>("tools") else {
        return;
    };
    let function = |tool: &RawValue| -> Option<String> {
        let nested = serde_json::from_str::<Nested<'_>>(tool.get()).ok()?;
        let rest = nested
            .function?
            .get()
            .trim()
            .strip_prefix('{')?
            .trim_start();
        let comma = if rest.starts_with('}') { "" } else { "," };
        Some(format!(r#"{{"type":"function"{comma}{rest}"#))
    };
    let flat: Vec<_> = tools.iter().map(|tool| function(tool)).collect();
    if flat.iter().all(Option::is_none) {
        return;
    }
    let written: Vec<_> = tools
        .iter()
        .zip(flat)
        .map(|(tool, flat)| flat.unwrap_or_else(|| tool.get().to_owned()))
        .collect();
    members.set("tools", format!("[{}]", written.join(",")));
}

/// `response_format` is the same as `text.format`, which wins.
fn move_format(members: &mut Members) {
    #[derive(Deserialize)]
    struct Chat<'a> {
        #[serde(borrow)]
        json_schema: Option<&'a RawValue>,
    }
    let Some(format) = members.find("response_format").map(str::to_owned) else {
        return;
    };
    members.remove("response_format");
    let text = members.find("text").unwrap_or("{}");
    let Ok(mut text) = Members::parse_trusted(text.to_owned().into()) else {
        return;
    };
    if text.find("format").is_some() {
        return;
    }
    let nested = serde_json::from_str::<Chat<'_>>(&format).ok();
    let schema = nested.and_then(|chat| chat.json_schema);
    let flat = schema.and_then(|schema| {
        let rest = schema.get().trim().strip_prefix('{')?.trim_start();
        let comma = if rest.starts_with('}') { "" } else { "," };
        Some(format!(r#"{{"type":"json_schema"{comma}{rest}"#))
    });
    text.set("format", flat.unwrap_or(format));
    if let Ok(text) = String::from_utf8(text.to_bytes().into()) {
        members.set("text", text);
    }
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

/// The size of the input in tokens.
fn input(fields: &mut Fields<'_>) -> u64 {
    const RULE: &str = "must be a string or an array of items";
    let Some(json) = fields.members().find("input") else {
        fields.fail("input", "is required");
        return 0;
    };
    if json.starts_with('"') {
        return tokens_of_bytes(json.len() as u64);
    }
    let Some(items) = fields.field::<Vec<&RawValue>>("input", RULE) else {
        return 0;
    };
    if items.is_empty() || items.len() > ITEMS_MAX {
        fields.fail("input", format!("must hold 1 to {ITEMS_MAX} items"));
    }
    let mut tokens = 0u64;
    for (index, raw) in items.iter().enumerate() {
        let Ok(item) = serde_json::from_str::<Item<'_>>(raw.get()) else {
            fields.fail(
                format!("input[{index}]"),
                "must be an object with a `type`, or with a `role`",
            );
            continue;
        };
        let is_message = item.kind.as_deref().is_none_or(|kind| kind == "message");
        if is_message
            && item
                .role
                .as_deref()
                .is_none_or(|role| !ROLES.contains(&role))
        {
            let rule = format!("must be one of {}", ROLES.join(", "));
            fields.fail(format!("input[{index}].role"), rule);
        }
        tokens = tokens.saturating_add(item.tokens(raw));
        if fields.errors.len() > 20 {
            break;
        }
    }
    tokens
}

/// Tokens that items count for.
pub(crate) fn tokens_of_items(items: &[&RawValue]) -> u64 {
    let tokens = |raw: &&RawValue| {
        let item = serde_json::from_str::<Item<'_>>(raw.get());
        item.map_or(0, |item| item.tokens(raw))
    };
    items.iter().map(tokens).fold(0, u64::saturating_add)
}

impl Item<'_> {
    /// An item counts by its bytes; pictures and sound count by what they are.
    fn tokens(&self, raw: &RawValue) -> u64 {
        #[derive(Deserialize)]
        struct Part<'a> {
            #[serde(borrow, rename = "type")]
            kind: Option<Cow<'a, str>>,
        }
        let lists = [self.content, self.output].into_iter().flatten();
        let parts =
            lists.filter_map(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
        let mut bytes = raw.get().len() as u64;
        let mut tokens = 0u64;
        for part in parts.flatten() {
            let size = part.get().len() as u64;
            let kind = serde_json::from_str::<Part<'_>>(part.get()).ok();
            match kind.and_then(|part| part.kind).as_deref() {
                Some("input_image") => tokens = tokens.saturating_add(IMAGE_TOKENS),
                Some("input_audio") => {
                    tokens = tokens.saturating_add(size.div_ceil(AUDIO_BYTES_PER_TOKEN));
                }
                _ => continue,
            }
            bytes = bytes.saturating_sub(size);
        }
        tokens.saturating_add(tokens_of_bytes(bytes))
    }
}
