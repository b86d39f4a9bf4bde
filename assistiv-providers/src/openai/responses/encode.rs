//! Requests of other dialects, written from the neutral conversation.
//!
//! OpenAI API reference, "Create a model response", read on 2026-11-23. Two defaults differ from those of chat
//! completions, so that they are always written: what is not mentioned is stored, and functions are strict.

use std::borrow::Cow;

use assistiv_core::call::InferenceRequest;
use assistiv_core::conversation::{Conversation, Dropped, Format, ToolChoice, Weight};
use assistiv_core::provider::{Encoded, ProviderError, ProviderErrorKind as Kind};
use assistiv_core::routing::Target;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::input::{self, Item};
use super::splice;
use crate::openai::dialect::{DeveloperRole, Dialect};
use crate::openai::encode::post;
use crate::openai::model::{self, Traits};

/// Members of chat completions that have the same name here.
const SAME: [&str; 7] = [
    "metadata",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
    "moderation",
];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    input: Vec<Item<'a>>,
    store: bool,
    /// Thoughts can come back only in this form when nothing is stored.
    include: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    text: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(flatten)]
    same: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "function")]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: Cow<'a, RawValue>,
    strict: bool,
}

#[derive(Default, Serialize)]
struct Text<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<TextFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<Value>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum TextFormat<'a> {
    JsonObject,
    JsonSchema {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
}

impl Text<'_> {
    fn is_empty(&self) -> bool {
        self.format.is_none() && self.verbosity.is_none()
    }
}

/// Writes one request, and notes what has no place in it.
pub(super) struct Writer<'a> {
    dialect: &'a Dialect,
    conversation: &'a Conversation<'a>,
    traits: Traits,
    pub(super) dropped: Dropped,
}

pub(in crate::openai) fn encode(
    dialect: &Dialect,
    request: &InferenceRequest,
    target: &Target,
) -> Result<Encoded, ProviderError> {
    if splice::fits(dialect, request) {
        return splice::encode(dialect, request, target);
    }
    let mut conversation = request.conversation()?;
    conversation.only_one_choice()?;
    let taken = others(&mut conversation, dialect);
    let mut writer = Writer::new(dialect, &conversation, target);
    let limit = limit(dialect, request, &conversation, target)?;
    let body = writer.body(target.upstream_model(), limit, request.is_stream(), taken)?;
    conversation.leave_out_others(&mut writer.dropped)?;
    let body = serde_json::to_vec(&body).map_err(|error| {
        ProviderError::new(Kind::Failed)
            .with_message("the request cannot be written")
            .with_source(error)
    })?;
    let request = post(
        target.base_url(),
        "responses",
        request.is_stream(),
        body.into(),
    )?;
    Ok(Encoded {
        further: Vec::new(),
        request,
        dropped: writer.dropped,
    })
}

/// Takes the parameters that are known here out of those without a neutral form.
fn others(conversation: &mut Conversation<'_>, dialect: &Dialect) -> Map<String, Value> {
    let mut taken = Map::new();
    conversation.others.retain(|parameter| {
        let name = parameter.name;
        let silent = dialect.silent.contains(&name) && name != "store";
        let refused = dialect.dropped.contains(&name);
        let known = SAME.contains(&name) || name == "store" || name == "verbosity";
        if silent || refused || !known || parameter.weight == Weight::Essential {
            return true;
        }
        match serde_json::from_str(parameter.json) {
            Ok(value) => {
                taken.insert(name.to_owned(), value);
                false
            }
            Err(_) => true,
        }
    });
    taken
}

/// The output limit to send. A limit that is smaller than the smallest is the caller's to change; one that was
/// lowered to what the caller can pay is raised to it.
pub(super) fn limit(
    dialect: &Dialect,
    request: &InferenceRequest,
    conversation: &Conversation<'_>,
    target: &Target,
) -> Result<Option<u64>, ProviderError> {
    let least = dialect.responses.unwrap_or(1);
    if conversation
        .max_output_tokens
        .is_some_and(|limit| limit < least)
    {
        let field = request.output_limit().map(|(field, _)| field.as_str());
        return Err(ProviderError::new(Kind::Invalid)
            .with_param(field.unwrap_or("max_tokens"))
            .with_message(format!("must be at least {least} for this model")));
    }
    let limit = target.output_limit().or(conversation.max_output_tokens);
    Ok(limit.map(|limit| limit.max(least)))
}

// === impl Writer ===

impl<'a> Writer<'a> {
    pub(super) fn new(
        dialect: &'a Dialect,
        conversation: &'a Conversation<'a>,
        target: &Target,
    ) -> Self {
        Self {
            dialect,
            conversation,
            traits: (dialect.models)(target.upstream_model()),
            dropped: Dropped::default(),
        }
    }

    fn body(
        &mut self,
        model: &'a str,
        max_output_tokens: Option<u64>,
        stream: bool,
        mut same: Map<String, Value>,
    ) -> Result<Body<'a>, ProviderError> {
        let system = match self.dialect.developer_role {
            DeveloperRole::Kept => "developer",
            DeveloperRole::System => "system",
        };
        let conversation = self.conversation;
        let store = same.remove("store") == Some(Value::Bool(true));
        let verbosity = same.remove("verbosity");
        let tools = self.tools()?;
        let has_tools = !tools.is_empty();
        let (temperature, top_p) = self.sampling();
        Ok(Body {
            model,
            input: input::items(conversation, &self.dialect.name, model, system)?,
            store,
            include: ["reasoning.encrypted_content"],
            max_output_tokens,
            tools,
            tool_choice: self.tool_choice().filter(|_| has_tools),
            parallel_tool_calls: conversation.parallel_tool_calls.filter(|_| has_tools),
            text: Text {
                format: self.format(),
                verbosity,
            },
            reasoning: self.effort().map(|effort| json!({ "effort": effort })),
            temperature,
            top_p,
            service_tier: self.service_tier(),
            stream,
            same,
        })
    }

    fn tools(&self) -> Result<Vec<Tool<'a>>, ProviderError> {
        let tools = self.conversation.tools.iter();
        tools
            .map(|tool| {
                let parameters = match tool.parameters {
                    Some(parameters) => Cow::Borrowed(parameters),
                    None => {
                        let none = r#"{"type":"object","properties":{}}"#.to_owned();
                        let none = RawValue::from_string(none)
                            .map_err(|error| ProviderError::new(Kind::Failed).with_source(error))?;
                        Cow::Owned(none)
                    }
                };
                Ok(Tool {
                    name: &tool.name,
                    description: tool.description.as_deref(),
                    parameters,
                    strict: tool.strict.unwrap_or(false),
                })
            })
            .collect()
    }

    fn tool_choice(&self) -> Option<Value> {
        let function = |name: &str| json!({ "type": "function", "name": name });
        Some(match self.conversation.tool_choice.as_ref()? {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::None => json!("none"),
            ToolChoice::Required => json!("required"),
            ToolChoice::Named(name) => function(name),
            ToolChoice::Allowed { names, required } => {
                let tools: Vec<_> = names.iter().map(|name| function(name)).collect();
                let mode = if *required { "required" } else { "auto" };
                json!({ "type": "allowed_tools", "mode": mode, "tools": tools })
            }
        })
    }

    fn format(&self) -> Option<TextFormat<'a>> {
        match &self.conversation.format {
            Format::Text => None,
            Format::JsonObject => Some(TextFormat::JsonObject),
            Format::JsonSchema(schema) => Some(TextFormat::JsonSchema {
                name: &schema.name,
                description: schema.description.as_deref(),
                schema: schema.schema,
                strict: schema.strict,
            }),
        }
    }

    /// The effort, in the nearest word that the model knows.
    pub(super) fn effort(&mut self) -> Option<&'static str> {
        let asked = self.conversation.effort?;
        let effort = self.traits.effort(asked);
        if effort.is_none() {
            self.dropped.hint("reasoning_effort");
        }
        effort.map(model::word)
    }

    /// Everything else that chat completions know of sampling has no counterpart.
    pub(super) fn sampling(&mut self) -> (Option<f64>, Option<f64>) {
        let sampling = self.conversation.sampling;
        let takes = self.traits.sampling.holds(self.conversation.effort);
        let mut keep = |name: &'static str, value: Option<f64>, default: f64, takes: bool| {
            let differs = value.is_some_and(|value| (value - default).abs() > f64::EPSILON);
            if differs && !takes {
                self.dropped.hint(name);
            }
            value.filter(|_| takes)
        };
        let temperature = keep("temperature", sampling.temperature, 1.0, takes);
        let top_p = keep("top_p", sampling.top_p, 1.0, takes);
        keep("frequency_penalty", sampling.frequency_penalty, 0.0, false);
        keep("presence_penalty", sampling.presence_penalty, 0.0, false);
        for (name, given) in [
            ("top_k", sampling.top_k.is_some()),
            ("seed", sampling.seed.is_some()),
            ("stop", !self.conversation.stop.is_empty()),
        ] {
            if given {
                self.dropped.hint(name);
            }
        }
        (temperature, top_p)
    }

    pub(super) fn service_tier(&mut self) -> Option<&'a str> {
        let tier = self.conversation.service_tier.as_deref()?;
        match self.dialect.tiers {
            Some(known) if !known.contains(&tier) => {
                if tier != "auto" {
                    self.dropped.hint("service_tier");
                }
                None
            }
            _ => Some(tier),
        }
    }
}
