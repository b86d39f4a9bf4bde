//! What a model may call, and the form that its answer takes.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// A function that the caller runs.
#[derive(Clone, Debug)]
pub struct Tool<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// For the model.
    pub description: Option<Cow<'a, str>>,
    /// The JSON Schema of its arguments, as it was written; without one it takes none.
    pub parameters: Option<&'a RawValue>,
    /// Whether arguments must follow the schema to the letter.
    pub strict: Option<bool>,
}

/// Whether the model calls tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// As it likes.
    Auto,
    /// It does not.
    None,
    /// It calls at least one.
    Required,
    /// It calls this one.
    Named(Cow<'a, str>),
    /// Only some of them count.
    Allowed {
        /// Their names.
        names: Vec<Cow<'a, str>>,
        /// Whether one of them must be called.
        required: bool,
    },
}

/// The form of an answer.
#[derive(Clone, Debug, Default)]
pub enum Format<'a> {
    /// Text.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema(JsonSchema<'a>),
}

/// JSON of a schema.
#[derive(Clone, Debug)]
pub struct JsonSchema<'a> {
    /// The schema's name.
    pub name: Cow<'a, str>,
    /// For the model.
    pub description: Option<Cow<'a, str>>,
    /// The schema, as it was written.
    pub schema: Option<&'a RawValue>,
    /// Whether the answer must follow it to the letter.
    pub strict: Option<bool>,
}
