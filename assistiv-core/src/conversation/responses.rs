//! Reads conversations from OpenAI's Responses.
//!
//! OpenAI API reference, "Create a model response", read on 2026-11-23. What the front door has validated is not
//! validated again (`call/responses.rs`). Earlier responses stand in the input already when it is read here.

mod items;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chat::{Text, field};
use super::{
    Conversation, Effort, Format, JsonSchema, Message, Parameter, Part, Role, Sampling, Tool,
    ToolChoice, Weight, invalid, unsupported,
};
use crate::call::InferenceRequest;
use crate::json::Members;
use crate::provider::{ProviderError, ProviderErrorKind};

pub(crate) use items::call_ids;

/// Members that a conversation has a place for, or that concern the gateway alone.
const READ: [&str; 13] = [
    "model",
    "input",
    "instructions",
    "stream",
    "max_output_tokens",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "service_tier",
];

/// Members without a neutral form, by what becomes of the answer without them.
const SILENT: [&str; 8] = [
    "user",
    "metadata",
    "store",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    // It counts calls of tools that run at the provider, and none do here.
    "max_tool_calls",
];
const HINTS: [&str; 2] = ["moderation", "access_programs"];
const ESSENTIAL: [&str; 2] = ["top_logprobs", "image"];

/// The conversation that a response is to continue.
pub(crate) fn read(request: &InferenceRequest) -> Result<Conversation<'_>, ProviderError> {
    let members = request.members();
    let text = format(members)?;
    let (effort, mut others) = (effort(members)?, others(members));
    others.extend(text.verbosity.map(|json| Parameter {
        name: "text.verbosity",
        json,
        weight: Weight::Hint,
    }));
    let mut messages = Vec::new();
    if let Some(instructions) = field::<Text<'_>>(members, "instructions", "must be a string")? {
        messages.push(Message {
            role: Role::System,
            parts: vec![Part::Text(instructions.0)],
        });
    }
    items::read(request, &mut messages)?;
    Ok(Conversation {
        messages,
        tools: tools(members)?,
        tool_choice: tool_choice(members)?,
        parallel_tool_calls: field(members, "parallel_tool_calls", "must be true or false")?,
        format: text.format,
        max_output_tokens: request.output_limit().map(|(_, limit)| limit),
        choices: 1,
        sampling: Sampling {
            temperature: field(members, "temperature", "must be a number")?,
            top_p: field(members, "top_p", "must be a number")?,
            ..Sampling::default()
        },
        stop: Vec::new(),
        effort,
        service_tier: field::<Text<'_>>(members, "service_tier", "must be a string")?
            .map(|tier| tier.0),
        others,
    })
}

fn effort(members: &Members) -> Result<Option<Effort>, ProviderError> {
    #[derive(Deserialize)]
    struct Reasoning<'a> {
        #[serde(borrow)]
        effort: Option<Text<'a>>,
    }
    let rule = "must be an object with a string `effort`";
    let reasoning = field::<Reasoning<'_>>(members, "reasoning", rule)?;
    let Some(word) = reasoning.and_then(|reasoning| reasoning.effort) else {
        return Ok(None);
    };
    Effort::parse(&word.0).map(Some).ok_or_else(|| {
        ProviderError::new(ProviderErrorKind::UnsupportedValue)
            .with_param("reasoning.effort")
            .with_message("must be one of none, minimal, low, medium, high, xhigh, max")
    })
}

fn tools(members: &Members) -> Result<Vec<Tool<'_>>, ProviderError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        name: Option<Text<'a>>,
        #[serde(borrow)]
        description: Option<Text<'a>>,
        #[serde(borrow)]
        parameters: Option<&'a RawValue>,
        strict: Option<bool>,
    }
    let raw: Vec<&RawValue> =
        field(members, "tools", "must be an array of tools")?.unwrap_or_default();
    let mut tools = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let param = format!("tools[{index}]");
        let rule = "must be {\"type\":\"function\",\"name\":…}";
        let tool: Raw<'_> = serde_json::from_str(raw.get()).map_err(|_| invalid(&*param, rule))?;
        if tool.kind != "function" {
            let message = format!("tools of the type `{}` do not run on this model", tool.kind);
            return Err(unsupported(format!("{param}.type")).with_message(message));
        }
        let name = tool
            .name
            .ok_or_else(|| invalid(format!("{param}.name"), "is required"))?;
        tools.push(Tool {
            name: name.0,
            description: tool.description.map(|text| text.0),
            parameters: tool.parameters,
            strict: tool.strict,
        });
    }
    Ok(tools)
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
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        name: Option<Text<'a>>,
        /// As chat completions write it.
        #[serde(borrow)]
        function: Option<Named<'a>>,
        #[serde(borrow)]
        mode: Option<Text<'a>>,
        #[serde(borrow)]
        tools: Option<Vec<Named<'a>>>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Text<'a>,
    }
    let rule = "must be auto, none, required, a named function or allowed_tools of functions";
    let wrong = || invalid("tool_choice", rule);
    let Some(raw) = field::<Raw<'_>>(members, "tool_choice", rule)? else {
        return Ok(None);
    };
    let choice = match raw {
        Raw::Word(word) => match &*word.0 {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" => ToolChoice::Required,
            _ => return Err(wrong()),
        },
        Raw::Object(object) => match &*object.kind {
            "function" => {
                let name = object.name.or(object.function.map(|named| named.name));
                ToolChoice::Named(name.ok_or_else(wrong)?.0)
            }
            "allowed_tools" => ToolChoice::Allowed {
                required: object.mode.is_some_and(|mode| mode.0 == "required"),
                names: object
                    .tools
                    .ok_or_else(wrong)?
                    .into_iter()
                    .map(|tool| tool.name.0)
                    .collect(),
            },
            _ => {
                return Err(unsupported("tool_choice")
                    .with_message("tools of this type do not run on this model"));
            }
        },
    };
    Ok(Some(choice))
}

struct TextForm<'a> {
    format: Format<'a>,
    /// The JSON of `verbosity`.
    verbosity: Option<&'a str>,
}

fn format(members: &Members) -> Result<TextForm<'_>, ProviderError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        format: Option<RawFormat<'a>>,
        #[serde(borrow)]
        verbosity: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct RawFormat<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        name: Option<Text<'a>>,
        #[serde(borrow)]
        description: Option<Text<'a>>,
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
        strict: Option<bool>,
    }
    let rule =
        "must have a format of the type text, json_object or json_schema (with name and schema)";
    let Some(text) = field::<Raw<'_>>(members, "text", rule)? else {
        return Ok(TextForm {
            format: Format::Text,
            verbosity: None,
        });
    };
    let format = match text.format {
        None => Format::Text,
        Some(raw) => match (&*raw.kind, raw.name) {
            ("text", _) => Format::Text,
            ("json_object", _) => Format::JsonObject,
            ("json_schema", Some(name)) => Format::JsonSchema(JsonSchema {
                name: name.0,
                description: raw.description.map(|text| text.0),
                schema: raw.schema,
                strict: raw.strict,
            }),
            _ => return Err(invalid("text.format", rule)),
        },
    };
    Ok(TextForm {
        format,
        verbosity: text.verbosity.map(RawValue::get),
    })
}

fn others(members: &Members) -> Vec<Parameter<'_>> {
    let weigh = |name: &str, json: &str| match name {
        // What these ask for, they would get anyway.
        "top_logprobs" if json == "0" => None,
        "truncation" if json == "\"disabled\"" => None,
        "truncation" => Some(Weight::Essential),
        "include" if json.contains("logprobs") => Some(Weight::Essential),
        "include" => None,
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
