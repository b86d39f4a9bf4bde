//! What a provider wants to see again with the next turn, and the caller's dialect has no place for.
//!
//! Models that think give their thoughts a signature, and want them back, unchanged, while a tool loop runs. A chat
//! completion cannot carry them. So they are remembered by the id of the tool call that they led to, which comes
//! back with the tool's result.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

/// Opaque state of a provider, bound to it: only the adapter that made it understands it.
#[derive(Clone, Debug)]
pub struct ProviderState {
    provider: Arc<str>,
    json: Arc<RawValue>,
}

/// What belongs to one tool call.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What the model thought before it made the call, in order.
    pub reasoning: Vec<ProviderState>,
    /// The state of the call itself.
    pub call: Option<ProviderState>,
}

/// Memories of the tool calls that a request mentions, by the id of the call.
#[derive(Clone, Debug, Default)]
pub struct Recalled(pub HashMap<String, Arc<Memory>>);

// === impl ProviderState ===

impl ProviderState {
    /// State of the provider whose adapter has this name.
    pub fn new(provider: impl Into<Arc<str>>, json: Box<RawValue>) -> Self {
        Self {
            provider: provider.into(),
            json: json.into(),
        }
    }

    /// The provider whose adapter understands it.
    pub(crate) fn provider(&self) -> &str {
        &self.provider
    }

    /// The state itself.
    pub(crate) fn json(&self) -> &RawValue {
        &self.json
    }

    /// The state, when it is of this provider.
    pub fn of(&self, provider: &str) -> Option<&RawValue> {
        (&*self.provider == provider).then_some(&*self.json)
    }
}

impl PartialEq for ProviderState {
    fn eq(&self, other: &Self) -> bool {
        self.provider == other.provider && self.json.get() == other.json.get()
    }
}

// === impl Memory ===

impl Memory {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.reasoning.is_empty() && self.call.is_none()
    }

    /// About how much memory it takes, in bytes.
    pub fn size(&self) -> usize {
        self.reasoning
            .iter()
            .chain(&self.call)
            .map(|state| state.json.get().len() + 64)
            .sum()
    }
}

// === impl Recalled ===

impl Recalled {
    /// What is remembered of a call.
    pub fn of(&self, call_id: &str) -> Option<&Memory> {
        self.0.get(call_id).map(|memory| &**memory)
    }
}
