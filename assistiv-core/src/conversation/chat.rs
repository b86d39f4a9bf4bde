//! Reads conversations from OpenAI's chat completions.
//!
//! OpenAI API reference, "Create chat completion", read on 2026-11-23. What the front door has validated is not
//! validated again (`call/chat.rs`); what only translation needs to understand is refused here, by name.

pub(super) mod messages;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::message::MediaData;
use super::{
    Conversation, Effort, Format, JsonSchema, Parameter, Sampling, Tool, ToolChoice, Weight,
    invalid, unsupported,
};
use crate::call::InferenceRequest;
use crate::json::Members;
use crate::provider::{ProviderError, ProviderErrorKind};

/// Members that a conversation has a place for, or that concern the gateway alone.
const READ: [&str; 20] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "n",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "service_tier",
];

/// Members without a neutral form, by what becomes of the answer without them.
const SILENT: [&str; 7] = [
    "user",
    "metadata",
    "store",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
];
const HINTS: [&str; 4] = ["logit_bias", "verbosity", "prediction", "moderation"];
const ESSENTIAL: [&str; 7] = [
    "logprobs",
    "top_logprobs",
    "modalities",
    "audio",
    "web_search_options",
    "functions",
    "function_call",
];

/// The conversation that a chat completion asks to go on with.
pub(crate) fn read(request: &InferenceRequest) -> Result<Conversation<'_>, ProviderError> {
    let members = request.members();
    Ok(Conversation {
        messages: messages::read(members, request.recalled())?,
        tools: tools(members)?,
        tool_choice: tool_choice(members)?,
        parallel_tool_calls: field(members, "parallel_tool_calls", "must be true or false")?,
        format: format(members)?,
        max_output_tokens: request.output_limit().map(|(_, limit)| limit),
        choices: request.choices(),
        sampling: Sampling {
            temperature: field(members, "temperature", "must be a number")?,
            top_p: field(members, "top_p", "must be a number")?,
            top_k: field(members, "top_k", "must be an integer")?,
            frequency_penalty: field(members, "frequency_penalty", "must be a number")?,
            presence_penalty: field(members, "presence_penalty", "must be a number")?,
            seed: field(members, "seed", "must be an integer")?,
        },
        stop: stop(members)?,
        effort: effort(members)?,
        service_tier: text(members, "service_tier")?,
        others: others(members),
    })
}

/// The ids of the tool calls in the messages.
pub(crate) fn call_ids(request: &InferenceRequest) -> Vec<String> {
    #[derive(Deserialize)]
    struct Message {
        tool_calls: Option<Vec<Call>>,
    }
    #[derive(Deserialize)]
    struct Call {
        id: String,
    }
    let messages = request.members().find("messages").unwrap_or_default();
    if memchr::memmem::find(messages.as_bytes(), b"tool_calls").is_none() {
        return Vec::new();
    }
    let messages: Vec<Message> = serde_json::from_str(messages).unwrap_or_default();
    let calls = messages
        .into_iter()
        .filter_map(|message| message.tool_calls);
    calls.flatten().map(|call| call.id).collect()
}

pub(super) fn field<'a, T: Deserialize<'a>>(
    members: &'a Members,
    name: &str,
    rule: &str,
) -> Result<Option<T>, ProviderError> {
    members.read(name).map_err(|_| invalid(name, rule))
}

/// A string that borrows where it can.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

fn text<'a>(members: &'a Members, name: &str) -> Result<Option<Cow<'a, str>>, ProviderError> {
    Ok(field::<Text<'a>>(members, name, "must be a string")?.map(|text| text.0))
}

fn stop(members: &Members) -> Result<Vec<Cow<'_, str>>, ProviderError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stop<'a> {
        One(#[serde(borrow)] Text<'a>),
        Many(#[serde(borrow)] Vec<Text<'a>>),
    }
    let stop = field::<Stop<'_>>(members, "stop", "must be a string or an array of strings")?;
    Ok(match stop {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text.0],
        Some(Stop::Many(texts)) => texts.into_iter().map(|text| text.0).collect(),
    })
}

fn effort(members: &Members) -> Result<Option<Effort>, ProviderError> {
    let Some(word) = text(members, "reasoning_effort")? else {
        return Ok(None);
    };
    Effort::parse(&word).map(Some).ok_or_else(|| {
        ProviderError::new(ProviderErrorKind::UnsupportedValue)
            .with_param("reasoning_effort")
            .with_message("must be one of none, minimal, low, medium, high, xhigh, max")
    })
}

fn tools<'a>(members: &'a Members) -> Result<Vec<Tool<'a>>, ProviderError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Text<'a>>,
        #[serde(borrow)]
        function: Option<Function<'a>>,
    }
    #[derive(Deserialize)]
    struct Function<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        description: Option<Text<'a>>,
        #[serde(borrow)]
        parameters: Option<&'a RawValue>,
        strict: Option<bool>,
    }
    let raw: Vec<&'a RawValue> =
        field(members, "tools", "must be an array of tools")?.unwrap_or_default();
    let read = |(index, raw): (usize, &'a RawValue)| -> Result<Tool<'a>, ProviderError> {
        let param = format!("tools[{index}]");
        let rule = "must be {\"type\":\"function\",\"function\":{\"name\":…}}";
        let tool: Raw<'a> = serde_json::from_str(raw.get()).map_err(|_| invalid(&*param, rule))?;
        if tool.kind.is_some_and(|kind| kind.0 != "function") {
            return Err(unsupported(format!("{param}.type"))
                .with_message("this model takes tools of the type `function` alone"));
        }
        let function = tool.function.ok_or_else(|| invalid(param, rule))?;
        Ok(Tool {
            name: function.name,
            description: function.description.map(|text| text.0),
            parameters: function.parameters,
            strict: function.strict,
        })
    };
    raw.into_iter().enumerate().map(read).collect()
}

fn tool_choice(members: &Members) -> Result<Option<ToolChoice<'_>>, ProviderError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw<'a> {
        Word(#[serde(borrow)] Text<'a>),
        Object(#[serde(borrow)] Object<'a>),
    }
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        function: Option<Named<'a>>,
        #[serde(borrow)]
        allowed_tools: Option<Allowed<'a>>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    #[derive(Deserialize)]
    struct Allowed<'a> {
        #[serde(borrow)]
        mode: Text<'a>,
        #[serde(borrow)]
        tools: Vec<AllowedTool<'a>>,
    }
    #[derive(Deserialize)]
    struct AllowedTool<'a> {
        #[serde(borrow)]
        function: Named<'a>,
    }
    let rule = "must be auto, none, required, a named function or allowed_tools of functions";
    let Some(raw) = field::<Raw<'_>>(members, "tool_choice", rule)? else {
        return Ok(None);
    };
    let choice = match raw {
        Raw::Word(word) => match &*word.0 {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => return Err(invalid("tool_choice", rule)),
        },
        Raw::Object(Object {
            function: Some(named),
            ..
        }) => ToolChoice::Named(named.name),
        Raw::Object(Object {
            allowed_tools: Some(allowed),
            ..
        }) => ToolChoice::Allowed {
            required: allowed.mode.0 == "required",
            names: allowed
                .tools
                .into_iter()
                .map(|tool| tool.function.name)
                .collect(),
        },
        Raw::Object(_) => return Err(invalid("tool_choice", rule)),
    };
    Ok(Some(choice))
}

fn format(members: &Members) -> Result<Format<'_>, ProviderError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        json_schema: Option<Schema<'a>>,
    }
    #[derive(Deserialize)]
    struct Schema<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow)]
        description: Option<Text<'a>>,
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
        strict: Option<bool>,
    }
    const NAME: &str = "response_format";
    let rule = "must be of the type text, json_object or json_schema (with a named schema)";
    let Some(raw) = field::<Raw<'_>>(members, NAME, rule)? else {
        return Ok(Format::Text);
    };
    match (&*raw.kind, raw.json_schema) {
        ("text", _) => Ok(Format::Text),
        ("json_object", _) => Ok(Format::JsonObject),
        ("json_schema", Some(schema)) => Ok(Format::JsonSchema(JsonSchema {
            name: schema.name,
            description: schema.description.map(|text| text.0),
            schema: schema.schema,
            strict: schema.strict,
        })),
        _ => Err(invalid(NAME, rule)),
    }
}

fn others(members: &Members) -> Vec<Parameter<'_>> {
    let weigh = |name: &str, json: &str| match name {
        // What these ask for, they would get anyway.
        "logprobs" if json == "false" => None,
        "top_logprobs" if json == "0" => None,
        "modalities" if !json.contains("audio") => None,
        "functions" if json == "[]" => None,
        name if READ.contains(&name) => None,
        name if SILENT.contains(&name) => Some(Weight::None),
        name if HINTS.contains(&name) => Some(Weight::Hint),
        name if ESSENTIAL.contains(&name) => Some(Weight::Essential),
        _ => Some(Weight::Unknown),
    };
    members
        .names()
        .filter_map(|name| {
            let json = members.find(name)?;
            let weight = weigh(name, json)?;
            Some(Parameter { name, json, weight })
        })
        .collect()
}

/// The content of a data URL, or a refusal that names the field.
pub(super) fn data_of<'a>(url: &Cow<'a, str>, param: &str) -> Result<MediaData<'a>, ProviderError> {
    MediaData::from_url(url)
        .ok_or_else(|| invalid(param, "must be a data URL with a media type and base64"))
}
