//! What this server's API is: every operation and every object, in one place.
//!
//! The router of the management API is built of these operations, so that nothing is served that is not described.
//! The OpenAPI document, `llms.txt`, `llms-full.txt` and the pages under `/docs` are written of them, and tests hold
//! every answer of the server against them.

mod fields;
mod llms;
mod openapi;
pub(crate) mod operations;
mod page;
mod schemas;

pub use llms::{llms, llms_full};
pub use openapi::openapi;
pub(crate) use page::page;

use assistiv_core::error::Reason;

/// An operation of the API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) verb: Verb,
    /// The path, with its parameters in braces.
    pub(crate) path: &'static str,
    /// Verb and object.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    keys: u8,
    /// The scope that a key needs.
    scope: Option<&'static str>,
    /// Parameters of the query, in the language of [`fields`].
    query: &'static str,
    body: Option<Body>,
    answer: Answer,
    /// Beyond those that every operation may give.
    refusals: &'static [Reason],
    is_idempotent: bool,
    /// The operation that reads what this one made, and the parameter that its `id` becomes.
    link: Option<(&'static str, &'static str)>,
}

/// What a request brings.
#[derive(Clone, Copy, Debug)]
struct Body {
    schema: &'static str,
    is_required: bool,
}

/// What a success is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// `{"data": …}` with the schema.
    One(u16, &'static str),
    /// The same, and also with the second status.
    OneOf(u16, u16, &'static str),
    /// A page of the schema; `true` where it is to be had as a file, too.
    Page(&'static str, bool),
    /// JSON without an envelope, which is streamed when the request says so.
    Bare(&'static str, bool),
    /// `{"data": …}`, or a file.
    OneOrFile(&'static str),
    Nothing,
    /// Text of a media type.
    Text(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// Operations that belong together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) operations: &'static [Op],
    /// Programs that use them, in the order of [`LANGUAGES`].
    pub(crate) examples: [&'static str; 3],
}

/// In what examples are written: a shell with curl, Python and Node, each without a library.
pub(crate) const LANGUAGES: [(&str, &str); 3] = [
    ("curl", "bash"),
    ("Python", "python"),
    ("Node", "javascript"),
];

const PLATFORM: u8 = 1;
const END_USER: u8 = 2;
const OPERATOR: u8 = 4;

/// What every operation may answer beside its success, by status.
const COMMON: &[Reason] = &[
    Reason::VALIDATION_FAILED,
    Reason::MISSING_API_KEY,
    Reason::INVALID_API_KEY,
    Reason::FORBIDDEN,
    Reason::WRONG_KEY_TYPE,
    Reason::INSUFFICIENT_SCOPE,
    Reason::NOT_FOUND,
    Reason::INTERNAL_ERROR,
    Reason::SERVICE_UNAVAILABLE,
];

/// What operations with a body may answer.
const OF_BODIES: &[Reason] = &[
    Reason::INVALID_JSON,
    Reason::REQUEST_TIMEOUT,
    Reason::PAYLOAD_TOO_LARGE,
    Reason::UNSUPPORTED_MEDIA_TYPE,
];

// === impl Op ===

impl Op {
    const fn new(verb: Verb, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            verb,
            path,
            id,
            summary,
            keys: 0,
            scope: None,
            query: "",
            body: None,
            answer: Answer::Nothing,
            refusals: &[],
            is_idempotent: false,
            link: None,
        }
    }

    /// With which keys it is called.
    const fn by(mut self, keys: u8, scope: &'static str) -> Self {
        self.keys = keys;
        self.scope = Some(scope);
        self
    }

    const fn query(mut self, fields: &'static str) -> Self {
        self.query = fields;
        self
    }

    const fn body(mut self, schema: &'static str) -> Self {
        self.body = Some(Body {
            schema,
            is_required: true,
        });
        self
    }

    const fn optional_body(mut self, schema: &'static str) -> Self {
        self.body = Some(Body {
            schema,
            is_required: false,
        });
        self
    }

    const fn gives(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    const fn refuses(mut self, reasons: &'static [Reason]) -> Self {
        self.refusals = reasons;
        self
    }

    const fn idempotent(mut self) -> Self {
        self.is_idempotent = true;
        self
    }

    const fn read_by(mut self, operation: &'static str, param: &'static str) -> Self {
        self.link = Some((operation, param));
        self
    }

    /// Whether it is served without a key.
    fn is_public(&self) -> bool {
        self.keys == 0
    }

    /// The names of its path's parameters.
    fn params(&self) -> impl Iterator<Item = &'static str> {
        let pieces = self.path.split('{').skip(1);
        pieces.filter_map(|piece| piece.split('}').next())
    }

    /// Everything that it may be refused with.
    fn all_refusals(&self) -> Vec<Reason> {
        let mut reasons: Vec<_> = match self.is_public() {
            true => Vec::new(),
            false => COMMON.to_vec(),
        };
        if self.body.is_some() {
            reasons.extend_from_slice(OF_BODIES);
        }
        if self.is_idempotent {
            reasons.push(Reason::IDEMPOTENCY_KEY_REUSED);
            reasons.push(Reason::IDEMPOTENCY_IN_PROGRESS);
        }
        reasons.extend_from_slice(self.refusals);
        reasons
    }

    /// The kinds of keys, for people.
    fn keys(&self) -> Vec<&'static str> {
        let named = [
            (PLATFORM, "platform key"),
            (END_USER, "end-user key"),
            (OPERATOR, "operator key"),
        ];
        let allowed = named.into_iter().filter(|(bit, _)| self.keys & bit != 0);
        allowed.map(|(_, name)| name).collect()
    }
}

// === impl Verb ===

impl Verb {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}
