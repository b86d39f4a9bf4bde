//! Requests, written from the neutral conversation.
//!
//! Gemini API reference, "Generating content", read on 2026-11-23.

use std::borrow::Cow;

use assistiv_core::call::InferenceRequest;
use assistiv_core::conversation::{Conversation, Dropped, Effort, Format, ToolChoice, Turns};
use assistiv_core::provider::{Encoded, ProviderError, ProviderErrorKind as Kind};
use assistiv_core::routing::Target;
use http::Method;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use serde::Serialize;
use serde_json::value::RawValue;

use super::model::{self, Thinking, Traits};
use super::parts::{self, Content};
use super::schema;

/// More texts that end an answer are refused.
const STOPS_MAX: usize = 5;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Config::is_empty")]
    generation_config: Config<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

/// All functions stand in one of these.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Function<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'a> {
    function_calling_config: Calling<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_function_names: Vec<&'a str>,
}

#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Schema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Schema(Box<RawValue>);

#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    include_thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
}

impl Config<'_> {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// Writes one request, and notes what has no place in it.
struct Writer<'a> {
    conversation: &'a Conversation<'a>,
    traits: Traits,
    limit: Option<u64>,
    dropped: Dropped,
}

pub(super) fn encode(
    request: &InferenceRequest,
    target: &Target,
) -> Result<Encoded, ProviderError> {
    let conversation = request.conversation()?;
    conversation.only_one_choice()?;
    let turns = conversation.turns()?;
    let model = target.upstream_model();
    let mut writer = Writer {
        conversation: &conversation,
        traits: Traits::of(model),
        limit: target.output_limit().or(conversation.max_output_tokens),
        dropped: Dropped::default(),
    };
    let body = writer.body(model, &turns)?;
    conversation.leave_out_others(&mut writer.dropped)?;
    let (method, accept) = match request.is_stream() {
        true => ("streamGenerateContent?alt=sse", "text/event-stream"),
        false => ("generateContent", "application/json"),
    };
    let body = serde_json::to_vec(&body).map_err(|error| failed("cannot be written", error))?;
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(format!("{}/models/{model}:{method}", target.base_url()))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, accept)
        // A compressed stream would have to be unpacked before it could be split into events.
        .header(ACCEPT_ENCODING, "identity")
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
    ) -> Result<Body<'a>, ProviderError> {
        let tools = self.tools()?;
        let tool_config = self.tool_config(!tools.is_empty());
        let generation_config = self.config(!tools.is_empty())?;
        Ok(Body {
            system_instruction: parts::instruction(turns),
            contents: parts::contents(turns, model, self.traits.signs)?,
            tools: match tools.is_empty() {
                true => Vec::new(),
                false => vec![Tools {
                    function_declarations: tools,
                }],
            },
            tool_config,
            generation_config,
            service_tier: self.service_tier(),
        })
    }

    fn tools(&self) -> Result<Vec<Function<'a>>, ProviderError> {
        let conversation = self.conversation;
        let allowed = |name: &str| match &conversation.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) => names.iter().any(|it| it == name),
            _ => true,
        };
        let tools = conversation.tools.iter().enumerate();
        tools
            .filter(|(_, tool)| allowed(&tool.name))
            .map(|(index, tool)| {
                let parameters = schema::arguments(tool.parameters)
                    .ok_or_else(|| no_schema(format!("tools[{index}].function.parameters")))?;
                Ok(Function {
                    name: &tool.name,
                    description: tool.description.as_deref(),
                    parameters_json_schema: parameters,
                })
            })
            .collect()
    }

    fn tool_config(&mut self, has_tools: bool) -> Option<ToolConfig<'a>> {
        if !has_tools {
            return None;
        }
        let conversation = self.conversation;
        if conversation.parallel_tool_calls == Some(false) {
            // There is no switch for it.
            self.dropped.hint("parallel_tool_calls");
        }
        let mut names: Vec<&'a str> = Vec::new();
        let mode = match &conversation.tool_choice {
            None
            | Some(
                ToolChoice::Auto
                | ToolChoice::Allowed {
                    required: false, ..
                },
            ) => {
                return None;
            }
            Some(ToolChoice::None) => "NONE",
            Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => "ANY",
            Some(ToolChoice::Named(name)) => {
                names.push(name);
                "ANY"
            }
        };
        Some(ToolConfig {
            function_calling_config: Calling {
                mode,
                allowed_function_names: names,
            },
        })
    }

    fn config(&mut self, has_tools: bool) -> Result<Config<'a>, ProviderError> {
        let sampling = self.conversation.sampling;
        let (response_mime_type, response_json_schema) = self.format(has_tools)?;
        let Traits {
            sampling: samples,
            penalties,
            ..
        } = self.traits;
        let mut given = |name: &'static str, value: Option<f64>, takes: bool| {
            let dropped = value.is_some() && !takes;
            if dropped {
                self.dropped.hint(name);
            }
            value.filter(|_| !dropped)
        };
        let penalty = |value: Option<f64>| value.filter(|penalty| *penalty != 0.0);
        let temperature = given("temperature", sampling.temperature, samples);
        let top_p = given("top_p", sampling.top_p, samples);
        let presence_penalty = given(
            "presence_penalty",
            penalty(sampling.presence_penalty),
            penalties,
        );
        let frequency_penalty = given(
            "frequency_penalty",
            penalty(sampling.frequency_penalty),
            penalties,
        );
        let top_k = sampling.top_k.filter(|_| samples);
        if top_k != sampling.top_k {
            self.dropped.hint("top_k");
        }
        let seed = sampling.seed.and_then(|seed| i32::try_from(seed).ok());
        if seed.is_none() && sampling.seed.is_some() {
            self.dropped.hint("seed");
        }
        Ok(Config {
            max_output_tokens: self.limit,
            temperature,
            top_p,
            top_k,
            presence_penalty,
            frequency_penalty,
            seed,
            stop_sequences: self.stop(),
            response_mime_type,
            response_json_schema,
            thinking_config: self.thinking(),
        })
    }

    fn format(
        &self,
        has_tools: bool,
    ) -> Result<(Option<&'static str>, Option<Schema>), ProviderError> {
        const JSON: Option<&str> = Some("application/json");
        let format = &self.conversation.format;
        if has_tools && !self.traits.signs && !matches!(format, Format::Text) {
            return Err(ProviderError::new(Kind::UnsupportedParameter)
                .with_param("response_format")
                .with_message("this model takes tools or a form of the answer, not both"));
        }
        Ok(match format {
            Format::Text => (None, None),
            Format::JsonObject => (JSON, None),
            Format::JsonSchema(given) => {
                let schema = given.schema.map(|schema| {
                    let param = "response_format.json_schema.schema";
                    schema::answer(schema).ok_or_else(|| no_schema(param))
                });
                (JSON, schema.transpose()?.map(Schema))
            }
        })
    }

    fn stop(&mut self) -> Vec<&'a str> {
        let stops = self.conversation.stop.iter().map(Cow::as_ref);
        let mut stops: Vec<&str> = stops.filter(|stop| !stop.is_empty()).collect();
        stops.truncate(STOPS_MAX);
        if stops.len() < self.conversation.stop.len() {
            self.dropped.hint("stop");
        }
        stops
    }

    fn thinking(&mut self) -> Option<ThinkingConfig> {
        let effort = self.conversation.effort?;
        let (thinking_level, thinking_budget) = match self.traits.thinking {
            Thinking::Unknown => {
                self.dropped.hint("reasoning_effort");
                return None;
            }
            Thinking::Level { minimal } => (Some(model::level(effort, minimal)), None),
            Thinking::Budget { least, most } => {
                let budget = model::budget(effort, least, most, self.limit);
                (None, Some(budget))
            }
        };
        Some(ThinkingConfig {
            // Thoughts do not come unless they are asked for.
            include_thoughts: effort != Effort::None,
            thinking_level,
            thinking_budget,
        })
    }

    fn service_tier(&mut self) -> Option<&'static str> {
        match self.conversation.service_tier.as_deref()? {
            "auto" | "default" => None,
            "flex" => Some("flex"),
            "priority" | "fast" => Some("priority"),
            _ => {
                self.dropped.hint("service_tier");
                None
            }
        }
    }
}

fn no_schema(param: impl Into<String>) -> ProviderError {
    ProviderError::new(Kind::Invalid)
        .with_param(param)
        .with_message("must be a JSON Schema object")
}

pub(super) fn failed(
    message: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> ProviderError {
    ProviderError::new(Kind::Failed)
        .with_message(message)
        .with_source(error)
}
