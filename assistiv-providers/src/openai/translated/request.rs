//! Requests, written from the neutral conversation.

use std::sync::Arc;

use assistiv_core::call::{InferenceRequest, LimitField};
use assistiv_core::conversation::{Conversation, Dropped, Effort, Format, ToolChoice};
use assistiv_core::provider::{Encoded, ProviderError, ProviderErrorKind as Kind};
use assistiv_core::routing::Target;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::dialect::Dialect;
use super::super::encode::post;
use super::messages;

/// Writes one request, and notes what has no place in it.
struct Writer<'a> {
    dialect: &'a Dialect,
    conversation: &'a Conversation<'a>,
    target: &'a Target,
    body: Map<String, Value>,
    dropped: Dropped,
}

pub(in super::super) fn encode(
    dialect: &Arc<Dialect>,
    request: &InferenceRequest,
    target: &Target,
) -> Result<Encoded, ProviderError> {
    let conversation = request.conversation()?;
    // Calls and results that do not meet are refused here, in words that help.
    conversation.turns()?;
    conversation.only_one_choice()?;
    let mut writer = Writer {
        dialect,
        conversation: &conversation,
        target,
        body: Map::new(),
        dropped: Dropped::default(),
    };
    writer.write(request.is_stream())?;
    conversation.leave_out_others(&mut writer.dropped)?;
    let body = serde_json::to_vec(&writer.body)
        .map_err(|error| ProviderError::new(Kind::Failed).with_source(error))?;
    Ok(Encoded {
        further: Vec::new(),
        request: post(
            target.base_url(),
            "chat/completions",
            request.is_stream(),
            body.into(),
        )?,
        dropped: writer.dropped,
    })
}

// === impl Writer ===

impl Writer<'_> {
    fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.body.insert(name.into(), value.into());
    }

    /// Sets what the server may refuse; then it is left out.
    fn hint(&mut self, name: &'static str, value: Option<impl Into<Value>>, taken: bool) {
        let Some(value) = value else { return };
        if taken {
            self.set(name, value);
        } else {
            self.dropped.hint(name);
        }
    }

    fn write(&mut self, stream: bool) -> Result<(), ProviderError> {
        let conversation = self.conversation;
        // Models that think take their limit in the one member, and no sampling.
        let field = self.target.limit_field();
        let thinks = field == LimitField::MaxCompletionTokens;
        self.set("model", self.target.upstream_model());
        self.set("messages", messages::write(&conversation.messages)?);
        let asked = self
            .target
            .output_limit()
            .or(conversation.max_output_tokens);
        if let Some(asked) = asked {
            // Callers of other dialects ask for as much as their own models give.
            let largest = self.target.max_output_tokens().unwrap_or(u64::MAX);
            self.set(field.as_str(), asked.min(largest));
        }
        self.tools()?;
        self.format();
        let sampling = conversation.sampling;
        // The default is what they take.
        let temperature = sampling
            .temperature
            .filter(|it| !thinks || (it - 1.0).abs() > f64::EPSILON);
        self.hint("temperature", temperature, !thinks);
        let top_p = sampling
            .top_p
            .filter(|it| !thinks || (it - 1.0).abs() > f64::EPSILON);
        self.hint("top_p", top_p, !thinks);
        self.hint("top_k", sampling.top_k, false);
        for (name, penalty) in [
            ("frequency_penalty", sampling.frequency_penalty),
            ("presence_penalty", sampling.presence_penalty),
        ] {
            self.hint(name, penalty.filter(|it| *it != 0.0), !thinks);
        }
        self.hint("seed", sampling.seed, true);
        let stop: Vec<&str> = conversation.stop.iter().map(|stop| &**stop).collect();
        self.hint("stop", (!stop.is_empty()).then_some(stop), !thinks);
        let effort = conversation
            .effort
            .filter(|effort| thinks || *effort != Effort::None)
            .map(word_of);
        self.hint("reasoning_effort", effort, thinks);
        let tier = conversation.service_tier.as_deref();
        self.hint("service_tier", tier, true);
        if stream {
            self.set("stream", true);
            self.set("stream_options", json!({ "include_usage": true }));
        }
        Ok(())
    }

    fn tools(&mut self) -> Result<(), ProviderError> {
        let conversation = self.conversation;
        if conversation.tools.is_empty() {
            return Ok(());
        }
        let mut tools = Vec::with_capacity(conversation.tools.len());
        for (index, tool) in conversation.tools.iter().enumerate() {
            let parameters = schema(tool.parameters, &format!("tools[{index}]"))?;
            let mut function = json!({ "name": tool.name, "parameters": parameters });
            if let Some(description) = &tool.description {
                function["description"] = (&**description).into();
            }
            if let Some(strict) = tool.strict
                && self.dialect.names
            {
                function["strict"] = strict.into();
            }
            tools.push(json!({ "type": "function", "function": function }));
        }
        self.set("tools", tools);
        let named = |name: &str| json!({ "type": "function", "function": { "name": name } });
        let choice: Option<Value> = conversation.tool_choice.as_ref().map(|choice| match choice {
            ToolChoice::Auto => "auto".into(),
            ToolChoice::None => "none".into(),
            ToolChoice::Required => "required".into(),
            ToolChoice::Named(name) => named(name),
            ToolChoice::Allowed { names, required } => {
                let mode = if *required { "required" } else { "auto" };
                let tools: Vec<Value> = names.iter().map(|name| named(name)).collect();
                json!({ "type": "allowed_tools", "allowed_tools": { "mode": mode, "tools": tools } })
            }
        });
        if let Some(choice) = choice {
            self.set("tool_choice", choice);
        }
        if let Some(parallel) = conversation.parallel_tool_calls {
            self.set("parallel_tool_calls", parallel);
        }
        Ok(())
    }

    fn format(&mut self) {
        let format = match &self.conversation.format {
            Format::Text => return,
            Format::JsonObject => json!({ "type": "json_object" }),
            Format::JsonSchema(wanted) => {
                let mut schema = json!({ "name": wanted.name });
                if let Some(description) = &wanted.description {
                    schema["description"] = (&**description).into();
                }
                if let Some(raw) = wanted.schema {
                    schema["schema"] = serde_json::from_str(raw.get()).unwrap_or_default();
                }
                if let Some(strict) = wanted.strict {
                    schema["strict"] = strict.into();
                }
                json!({ "type": "json_schema", "json_schema": schema })
            }
        };
        self.set("response_format", format);
    }
}

/// A schema of arguments; a tool without one takes none.
fn schema(raw: Option<&RawValue>, param: &str) -> Result<Value, ProviderError> {
    let Some(raw) = raw else {
        return Ok(json!({ "type": "object", "properties": {} }));
    };
    let schema: Value = serde_json::from_str(raw.get()).unwrap_or_default();
    match schema.is_object() {
        true => Ok(schema),
        false => Err(ProviderError::new(Kind::Invalid)
            .with_param(param)
            .with_message("must have a JSON Schema object for its arguments")),
    }
}

/// The step that every model which thinks knows.
fn word_of(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::Xhigh | Effort::Max => "high",
    }
}
