//! Reads conversations from Anthropic's Messages.
//!
//! Anthropic API reference, "Messages", read on 2026-11-23. What the front door has validated is not validated again
//! (`call/messages.rs`). A request whose provider is Anthropic is not read here at all: it is passed on as it is.

mod blocks;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    Conversation, Effort, Format, JsonSchema, Parameter, Sampling, Tool, ToolChoice, Weight,
    invalid, unsupported,
};
use crate::call::InferenceRequest;
use crate::json::Members;
use crate::provider::{ProviderError, ProviderErrorKind};

pub(crate) use blocks::call_ids;

/// Members that a conversation has a place for, or that concern the gateway alone.
const READ: [&str; 14] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "stream",
    "tools",
    "tool_choice",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "thinking",
    "output_config",
    "service_tier",
];

/// Members without a neutral form, by what becomes of the answer without them.
const SILENT: [&str; 5] = [
    "metadata",
    "cache_control",
    "diagnostics",
    "user_profile_id",
    "workspace_id",
];
const HINTS: [&str; 2] = ["speed", "context_management"];
/// A container and remote servers hold what the answer is made of; where a model may run is a promise to others.
const ESSENTIAL: [&str; 3] = ["container", "mcp_servers", "inference_geo"];

/// The largest thinking budgets that count as little and as some effort; Google's own steps lie at 1024, 8192 and
/// 24576 tokens.
const BUDGET_LOW: u64 = 4_096;
const BUDGET_MEDIUM: u64 = 16_384;

/// The conversation that a Messages request asks to go on with.
pub(crate) fn read(request: &InferenceRequest) -> Result<Conversation<'_>, ProviderError> {
    let members = request.members();
    let config = output_config(members)?;
    let (tool_choice, parallel_tool_calls) = tool_choice(members)?;
    Ok(Conversation {
        messages: blocks::read(members, request.recalled())?,
        tools: tools(members)?,
        tool_choice,
        parallel_tool_calls,
        format: config.format,
        max_output_tokens: request.output_limit().map(|(_, limit)| limit),
        choices: 1,
        sampling: Sampling {
            temperature: field(members, "temperature", "must be a number")?,
            top_p: field(members, "top_p", "must be a number")?,
            top_k: field(members, "top_k", "must be an integer")?,
            ..Sampling::default()
        },
        stop: field::<Vec<Text<'_>>>(members, "stop_sequences", "must be an array of strings")?
            .unwrap_or_default()
            .into_iter()
            .map(|text| text.0)
            .collect(),
        effort: effort(members, config.effort)?,
        service_tier: service_tier(members)?,
        others: others(members),
    })
}

/// A string that borrows where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn field<'a, T: Deserialize<'a>>(
    members: &'a Members,
    name: &str,
    rule: &str,
) -> Result<Option<T>, ProviderError> {
    members.read(name).map_err(|_| invalid(name, rule))
}

#[derive(Default)]
struct OutputConfig<'a> {
    effort: Option<Cow<'a, str>>,
    format: Format<'a>,
}

fn output_config(members: &Members) -> Result<OutputConfig<'_>, ProviderError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        effort: Option<Text<'a>>,
        #[serde(borrow)]
        format: Option<RawFormat<'a>>,
    }
    #[derive(Deserialize)]
    struct RawFormat<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
    }
    const NAME: &str = "output_config";
    let rule = "must be {\"effort\":…,\"format\":{\"type\":\"json_schema\",\"schema\":…}}";
    let Some(raw) = field::<Raw<'_>>(members, NAME, rule)? else {
        return Ok(OutputConfig::default());
    };
    let format = match raw.format {
        None => Format::Text,
        Some(format) if format.kind == "json_schema" && format.schema.is_some() => {
            let whole = format
                .schema
                .and_then(|schema| serde_json::from_str::<Value>(schema.get()).ok());
            Format::JsonSchema(JsonSchema {
                name: "answer".into(),
                description: None,
                schema: format.schema,
                // Anthropic holds every answer to its schema. Others do so only where all of it is required.
                strict: Some(whole.as_ref().is_some_and(all_required)),
            })
        }
        Some(_) => return Err(invalid(format!("{NAME}.format"), rule)),
    };
    Ok(OutputConfig {
        effort: raw.effort.map(|text| text.0),
        format,
    })
}

/// Whether every object of a schema is closed and requires all of its properties.
fn all_required(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            let closed = match object.get("properties").and_then(Value::as_object) {
                None => object.get("type").is_none_or(|kind| kind != "object"),
                Some(properties) => {
                    let required = object.get("required").and_then(Value::as_array);
                    let is_required =
                        |name: &String| required.is_some_and(|it| it.iter().any(|r| r == name));
                    properties.keys().all(is_required)
                        && object.get("additionalProperties") == Some(&Value::Bool(false))
                }
            };
            closed && object.values().all(all_required)
        }
        Value::Array(items) => items.iter().all(all_required),
        _ => true,
    }
}

/// How much the model is to think: by name, or by the tokens that it may spend on it.
fn effort(members: &Members, named: Option<Cow<'_, str>>) -> Result<Option<Effort>, ProviderError> {
    #[derive(Deserialize)]
    struct Thinking<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        budget_tokens: Option<u64>,
    }
    let rule =
        "must be of the type adaptive, enabled (with budget_tokens), between_tools or disabled";
    let thinking = field::<Thinking<'_>>(members, "thinking", rule)?;
    if thinking.as_ref().is_some_and(|it| it.kind == "disabled") {
        return Ok(Some(Effort::None));
    }
    if let Some(name) = named {
        return Effort::parse(&name)
            .filter(|effort| *effort >= Effort::Low)
            .map(Some)
            .ok_or_else(|| {
                ProviderError::new(ProviderErrorKind::UnsupportedValue)
                    .with_param("output_config.effort")
                    .with_message("must be one of low, medium, high, xhigh, max")
            });
    }
    let Some(thinking) = thinking else {
        return Ok(None);
    };
    match (&*thinking.kind, thinking.budget_tokens) {
        ("enabled", Some(budget)) if budget <= BUDGET_LOW => Ok(Some(Effort::Low)),
        ("enabled", Some(budget)) if budget <= BUDGET_MEDIUM => Ok(Some(Effort::Medium)),
        ("enabled", Some(_)) => Ok(Some(Effort::High)),
        ("adaptive" | "between_tools", _) => Ok(None),
        _ => Err(invalid("thinking", rule)),
    }
}

/// In OpenAI's words.
fn service_tier(members: &Members) -> Result<Option<Cow<'_, str>>, ProviderError> {
    let tier = field::<Text<'_>>(members, "service_tier", "must be a string")?;
    Ok(tier.map(|tier| match &*tier.0 {
        "standard_only" => "default".into(),
        _ => tier.0,
    }))
}

fn tools<'a>(members: &'a Members) -> Result<Vec<Tool<'a>>, ProviderError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Text<'a>>,
        #[serde(borrow)]
        name: Option<Text<'a>>,
        #[serde(borrow)]
        description: Option<Text<'a>>,
        #[serde(borrow)]
        input_schema: Option<&'a RawValue>,
        strict: Option<bool>,
    }
    let raw: Vec<&'a RawValue> =
        field(members, "tools", "must be an array of tools")?.unwrap_or_default();
    let read = |(index, raw): (usize, &'a RawValue)| -> Result<Tool<'a>, ProviderError> {
        let param = format!("tools[{index}]");
        let rule = "must be {\"name\":…,\"description\":…,\"input_schema\":…}";
        let tool: Raw<'a> = serde_json::from_str(raw.get()).map_err(|_| invalid(&*param, rule))?;
        if tool.kind.is_some_and(|kind| kind.0 != "custom") {
            return Err(unsupported(format!("{param}.type"))
                .with_message("tools that Anthropic runs are to be had on its own models alone"));
        }
        Ok(Tool {
            name: tool.name.ok_or_else(|| invalid(param, rule))?.0,
            description: tool.description.map(|text| text.0),
            parameters: tool.input_schema,
            strict: tool.strict,
        })
    };
    raw.into_iter().enumerate().map(read).collect()
}

fn tool_choice(members: &Members) -> Result<(Option<ToolChoice<'_>>, Option<bool>), ProviderError> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        name: Option<Text<'a>>,
        disable_parallel_tool_use: Option<bool>,
    }
    let rule = "must be of the type auto, any, tool (with a name) or none";
    let Some(raw) = field::<Raw<'_>>(members, "tool_choice", rule)? else {
        return Ok((None, None));
    };
    let choice = match (&*raw.kind, raw.name) {
        ("auto", _) => ToolChoice::Auto,
        ("any", _) => ToolChoice::Required,
        ("none", _) => ToolChoice::None,
        ("tool", Some(name)) => ToolChoice::Named(name.0),
        _ => return Err(invalid("tool_choice", rule)),
    };
    let parallel = (raw.disable_parallel_tool_use == Some(true)).then_some(false);
    Ok((Some(choice), parallel))
}

fn others(members: &Members) -> Vec<Parameter<'_>> {
    let weigh = |name: &str, json: &str| match name {
        "mcp_servers" if json == "[]" => None,
        "speed" if json == "\"standard\"" => None,
        name if READ.contains(&name) => None,
        name if SILENT.contains(&name) => Some(Weight::None),
        name if HINTS.contains(&name) => Some(Weight::Hint),
        name if ESSENTIAL.contains(&name) => Some(Weight::Essential),
        _ => Some(Weight::Unknown),
    };
    let weighed = |name| {
        let json = members.find(name)?;
        let weight = weigh(name, json)?;
        Some(Parameter { name, json, weight })
    };
    members.names().filter_map(weighed).collect()
}

#[cfg(test)]
mod tests;
