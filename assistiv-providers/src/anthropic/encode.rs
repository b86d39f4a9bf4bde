//! Requests, written from the neutral conversation.
//!
//! Anthropic API reference, "Messages", read on 2026-11-23.

use std::borrow::Cow;

use assistiv_core::call::InferenceRequest;
use assistiv_core::conversation::{Conversation, Dropped, Effort, Format, Part, ToolChoice, Turns};
use assistiv_core::provider::{Encoded, ProviderError, ProviderErrorKind as Kind};
use assistiv_core::routing::Target;
use http::Method;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::blocks::{self, Block, Message};
use super::model::{self, Thinking, Traits};
use super::schema;

/// The version whose requests may still carry `temperature`. Answers are the same in all of them.
pub(super) const VERSION: &str = "2023-06-01";
/// The output limit where neither caller nor catalogue has one.
const LIMIT: u64 = 4096;
/// The longest output that is asked for on the gateway's own account when the answer comes in one piece, since the
/// connection is silent until it is there.
const WHOLE_LIMIT: u64 = 32_000;
/// The fewest tokens that a model may think with.
pub(super) const BUDGET_MIN: u64 = 1024;

const JSON_ONLY: &str = "Answer with one JSON object and nothing else: no explanation before or after it, no code fence.";

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    output_config: OutputConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: Box<RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
}

#[derive(Default, Serialize)]
struct OutputConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<OutputFormat>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "json_schema")]
struct OutputFormat {
    schema: Box<RawValue>,
}

impl OutputConfig {
    fn is_empty(&self) -> bool {
        self.effort.is_none() && self.format.is_none()
    }
}

/// Writes one request, and notes what has no place in it.
struct Writer<'a> {
    conversation: &'a Conversation<'a>,
    traits: Traits,
    max_tokens: u64,
    dropped: Dropped,
}

pub(super) fn encode(
    request: &InferenceRequest,
    target: &Target,
) -> Result<Encoded, ProviderError> {
    let conversation = request.conversation()?;
    conversation.only_one_choice()?;
    let turns = conversation.turns()?;
    let asked = target.output_limit().or(conversation.max_output_tokens);
    let largest = target.max_output_tokens().unwrap_or(LIMIT);
    let mut writer = Writer {
        conversation: &conversation,
        traits: Traits::of(target.upstream_model()),
        max_tokens: asked.unwrap_or(match request.is_stream() {
            true => largest,
            false => largest.min(WHOLE_LIMIT),
        }),
        dropped: Dropped::default(),
    };
    let body = writer.body(target.upstream_model(), &turns, request.is_stream())?;
    conversation.leave_out_others(&mut writer.dropped)?;
    let accept = match request.is_stream() {
        true => "text/event-stream",
        false => "application/json",
    };
    let body = serde_json::to_vec(&body).map_err(|error| failed("cannot be written", error))?;
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(format!("{}/messages", target.base_url()))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, accept)
        // A compressed stream would have to be unpacked before it could be split into events.
        .header(ACCEPT_ENCODING, "identity")
        .header("anthropic-version", VERSION)
        .body(body.into())
        .map_err(|error| failed("the provider's base URL is not valid", error))?;
    Ok(Encoded {
        further: Vec::new(),
        request,
        dropped: writer.dropped,
    })
}

// === impl Writer ===

impl<'a> Writer<'a> {
    fn body(
        &mut self,
        model: &'a str,
        turns: &'a Turns<'a, 'a>,
        stream: bool,
    ) -> Result<Body<'a>, ProviderError> {
        let mut system = blocks::system(turns)?;
        let format = self.format(&mut system)?;
        let tools = self.tools()?;
        let tool_choice = self.tool_choice(!tools.is_empty());
        let (thinking, effort) = self.thinking();
        let thinks = thinking.as_ref().is_some_and(|it| it["type"] != "disabled");
        let (temperature, top_p, top_k) = self.sampling(thinks);
        Ok(Body {
            model,
            max_tokens: self.max_tokens,
            system,
            messages: blocks::messages(turns, model)?,
            tools,
            tool_choice,
            stop_sequences: self.stop(),
            temperature,
            top_p,
            top_k,
            thinking,
            output_config: OutputConfig { effort, format },
            service_tier: self.service_tier(),
            stream,
        })
    }

    /// The schema to hold the answer to. A mode for any JSON there is not, only words.
    fn format(&self, system: &mut Vec<Block<'a>>) -> Result<Option<OutputFormat>, ProviderError> {
        let wanted = match &self.conversation.format {
            Format::Text => return Ok(None),
            Format::JsonSchema(wanted) if wanted.schema.is_some() => wanted,
            _ => {
                system.push(blocks::instruction(JSON_ONLY));
                return Ok(None);
            }
        };
        if !self.traits.schema {
            return Err(ProviderError::new(Kind::UnsupportedParameter)
                .with_param("response_format")
                .with_message("this model cannot be held to a schema"));
        }
        let schema = wanted.schema.and_then(|raw| schema::strict(raw.get()));
        let schema = raw(schema, "response_format.json_schema.schema")?;
        Ok(Some(OutputFormat { schema }))
    }

    fn tools(&self) -> Result<Vec<Tool<'a>>, ProviderError> {
        let conversation = self.conversation;
        if conversation.tools.is_empty() {
            return self.tools_of_the_past();
        }
        let allowed = |name: &str| match &conversation.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) => names.iter().any(|it| it == name),
            _ => true,
        };
        let tools = conversation.tools.iter().enumerate();
        tools
            .filter(|(_, tool)| allowed(&tool.name))
            .map(|(index, tool)| {
                let strict = tool.strict == Some(true);
                let mut input = schema::arguments(tool.parameters.map(RawValue::get));
                if strict {
                    input = input.and_then(|schema| schema::strict(&schema));
                }
                Ok(Tool {
                    name: &tool.name,
                    description: tool.description.as_deref(),
                    input_schema: raw(input, &format!("tools[{index}].function.parameters"))?,
                    strict,
                })
            })
            .collect()
    }

    /// A conversation in which tools were called cannot go on without them.
    fn tools_of_the_past(&self) -> Result<Vec<Tool<'a>>, ProviderError> {
        let mut tools: Vec<Tool<'a>> = Vec::new();
        let parts = self.conversation.messages.iter().flat_map(|m| &m.parts);
        for part in parts {
            if let Part::ToolCall(call) = part
                && !tools.iter().any(|tool| tool.name == call.name)
            {
                tools.push(Tool {
                    name: &call.name,
                    description: None,
                    input_schema: raw(schema::arguments(None), "tools")?,
                    strict: false,
                });
            }
        }
        Ok(tools)
    }

    fn tool_choice(&mut self, has_tools: bool) -> Option<Value> {
        let conversation = self.conversation;
        if !has_tools {
            return None;
        }
        if conversation.tools.is_empty() {
            return Some(json!({ "type": "none" }));
        }
        let must = match &conversation.tool_choice {
            Some(ToolChoice::Required) => true,
            Some(ToolChoice::Named(_)) => true,
            Some(ToolChoice::Allowed { required, .. }) => *required,
            _ => false,
        };
        let given_up = must && !self.traits.forced_choice;
        if given_up {
            self.dropped.hint("tool_choice");
        }
        let mut choice = match &conversation.tool_choice {
            Some(ToolChoice::None) => return Some(json!({ "type": "none" })),
            Some(ToolChoice::Named(name)) if !given_up => json!({ "type": "tool", "name": name }),
            _ if must && !given_up => json!({ "type": "any" }),
            None if conversation.parallel_tool_calls != Some(false) => return None,
            _ => json!({ "type": "auto" }),
        };
        if conversation.parallel_tool_calls == Some(false) {
            choice["disable_parallel_tool_use"] = true.into();
        }
        Some(choice)
    }

    fn forces_a_tool(&self) -> bool {
        matches!(
            self.conversation.tool_choice,
            Some(
                ToolChoice::Required
                    | ToolChoice::Named(_)
                    | ToolChoice::Allowed { required: true, .. }
            )
        )
    }

    /// Whether and how the model thinks, and with what effort.
    fn thinking(&mut self) -> (Option<Value>, Option<&'static str>) {
        let Some(effort) = self.conversation.effort else {
            return (None, None);
        };
        match self.traits.thinking {
            Thinking::Adaptive { can_be_off, .. } if effort == Effort::None && can_be_off => {
                (Some(json!({ "type": "disabled" })), None)
            }
            Thinking::Adaptive { knows_xhigh, .. } => {
                let word = model::effort(effort, knows_xhigh);
                // Thoughts come empty unless they are asked for.
                let thinking = (effort != Effort::None)
                    .then(|| json!({ "type": "adaptive", "display": "summarized" }));
                (thinking, Some(word))
            }
            Thinking::Budget => (self.budget(effort), None),
        }
    }

    fn budget(&mut self, effort: Effort) -> Option<Value> {
        let budget = model::budget(effort)?;
        let conversation = self.conversation;
        if conversation.max_output_tokens.is_none() {
            // The caller has set no limit, so that thinking must not eat up the answer.
            self.max_tokens = self.max_tokens.max(budget.saturating_add(LIMIT));
        }
        let budget = budget.min(self.max_tokens.saturating_sub(1));
        if budget < BUDGET_MIN || self.forces_a_tool() {
            self.dropped.hint("reasoning_effort");
            return None;
        }
        Some(json!({ "type": "enabled", "budget_tokens": budget }))
    }

    fn sampling(&mut self, thinks: bool) -> (Option<f64>, Option<f64>, Option<u64>) {
        let sampling = self.conversation.sampling;
        let takes = self.traits.sampling;
        let mut note = |name: &'static str, dropped: bool| {
            if dropped {
                self.dropped.hint(name);
            }
            !dropped
        };
        // A model that thinks samples in its own way; and the newer models take one of the two.
        let temperature = sampling.temperature.filter(|given| {
            let own = thinks && (*given - 1.0).abs() > f64::EPSILON;
            note("temperature", !takes || own)
        });
        let top_p = sampling
            .top_p
            .filter(|_| note("top_p", !takes || thinks || temperature.is_some()));
        let top_k = sampling.top_k.filter(|_| note("top_k", !takes || thinks));
        for (name, value) in [
            ("frequency_penalty", sampling.frequency_penalty),
            ("presence_penalty", sampling.presence_penalty),
        ] {
            note(name, value.is_some_and(|penalty| penalty != 0.0));
        }
        note("seed", sampling.seed.is_some());
        (temperature.map(|given| given.min(1.0)), top_p, top_k)
    }

    fn stop(&mut self) -> Vec<&'a str> {
        let stops = self.conversation.stop.iter().map(Cow::as_ref);
        let (texts, blanks): (Vec<_>, Vec<_>) = stops.partition(|stop| !stop.trim().is_empty());
        if !blanks.is_empty() {
            self.dropped.hint("stop");
        }
        texts
    }

    fn service_tier(&mut self) -> Option<&'static str> {
        match self.conversation.service_tier.as_deref()? {
            "auto" => Some("auto"),
            "default" | "standard_only" => Some("standard_only"),
            _ => {
                self.dropped.hint("service_tier");
                None
            }
        }
    }
}

fn raw(json: Option<String>, param: &str) -> Result<Box<RawValue>, ProviderError> {
    let raw = json.and_then(|json| RawValue::from_string(json).ok());
    raw.ok_or_else(|| {
        ProviderError::new(Kind::Invalid)
            .with_param(param)
            .with_message("must be a JSON Schema object")
    })
}

pub(super) fn failed(
    message: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> ProviderError {
    ProviderError::new(Kind::Failed)
        .with_message(message)
        .with_source(error)
}
