//! The request log: one row for each model call, with rollups of usage.
//!
//! Rows are written by a pipeline of their own, outside the path of money: a call never waits for its row. The
//! row's `billing_status` follows the ledger, and a task writes the rows that a crash has left out, from the
//! ledger's charges. So the cost of billed rows is the sum of the charges, exactly.

mod call;
mod commands;
mod pipeline;
mod repair;
mod store;
mod usage;

pub(crate) use call::{CallLog, DeliveryNote, Fate};
pub use commands::{ListLogs, Logs, ReadLog, ReadUsage, ScanLogs, Usage, UsageGroup, UsageSeries};
pub use pipeline::LogOptions;
pub(crate) use pipeline::LogPipeline;
pub(crate) use repair::{Repair, maintain};
pub(crate) use store::slot;
pub use store::{
    BilledSum, LogFilter, LogState, LogStore, Outcome, SLOT_MICROS, Step, Sums, UsageDimension,
    UsageQuery, UsageRow,
};

pub use usage::Interval;

use crate::billing::CountMethod;
use crate::call::Operation;
use crate::clock::Timestamp;
use crate::id::{EndUserId, KeyId, LogId, ModelId, PlatformId, PriceId, ProviderId};
use crate::json::RawObject;
use crate::money::NanoUsd;
use crate::routing::{ModelSlug, ProviderSlug};

/// What a row is of. The numbers are those that backends store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RequestType {
    /// A chat completion.
    ChatCompletion = 1,
    /// One model call of a response.
    Response = 2,
    /// One model call of an agent.
    Agent = 3,
    /// A paid tool call.
    McpTool = 4,
    /// A message.
    Message = 5,
    /// An embedding.
    Embedding = 6,
    /// A paid skill call.
    Skill = 7,
    /// A run of a capability.
    Capability = 8,
}

/// How a call ended. The numbers are those that backends store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStatus {
    /// The answer was delivered.
    Success = 0,
    /// It was not, or not whole.
    Error = 1,
}

/// Where a call's charge is. The numbers are those that backends store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BillingStatus {
    /// There is none.
    Unbilled = 0,
    /// In the ledger.
    Billed = 1,
    /// On its way to the ledger.
    Pending = 2,
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRow {
    /// The call; of a billed one also the ledger entry of its charge.
    pub id: LogId,
    /// Whose it is.
    pub platform_id: PlatformId,
    /// For whom the call was made.
    pub end_user_id: Option<EndUserId>,
    /// The key that was presented; unknown of a row that was written from the ledger.
    pub api_key_id: Option<KeyId>,
    /// What was called.
    pub request_type: RequestType,
    /// Who answered, or was asked last.
    pub provider: Option<(ProviderId, ProviderSlug)>,
    /// The model.
    pub model: Option<(ModelId, ModelSlug)>,
    /// What the provider calls the model.
    pub provider_model_id: Option<String>,
    /// All input tokens, cached ones included.
    pub prompt_tokens: u64,
    /// All output tokens, reasoning included.
    pub completion_tokens: u64,
    /// From the arrival of the request to the end of the answer.
    pub latency_ms: u64,
    /// The wallet leg of the charge: zero of an unbilled row, and what is to be charged of a pending one.
    pub cost: NanoUsd,
    /// How it ended.
    pub status: LogStatus,
    /// Why it failed, for people; never internals.
    pub error_message: Option<String>,
    /// The stable reason of a failure.
    pub reason: Option<String>,
    /// Where the counts of tokens come from.
    pub count_method: CountMethod,
    /// Where the charge is.
    pub billing_status: BillingStatus,
    /// The request that the row belongs to; several rows may share one.
    pub request_id: Option<String>,
    /// Whether it is the first row of its request: usage counts requests by these.
    pub starts_request: bool,
    /// Microseconds spent in the gateway itself.
    pub overhead_us: Option<u64>,
    /// The version of the price.
    pub price_id: Option<PriceId>,
    /// Further facts: a tool, an agent, stored content.
    pub metadata: RawObject,
    /// When the request arrived.
    pub created_at: Timestamp,
}

// === impl RequestType ===

impl RequestType {
    /// Every type.
    pub const ALL: [Self; 8] = [
        Self::ChatCompletion,
        Self::Response,
        Self::Agent,
        Self::McpTool,
        Self::Message,
        Self::Embedding,
        Self::Skill,
        Self::Capability,
    ];

    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletion => "chat.completion",
            Self::Response => "response",
            Self::Agent => "agent",
            Self::McpTool => "mcp_tool",
            Self::Message => "message",
            Self::Embedding => "embedding",
            Self::Skill => "skill",
            Self::Capability => "capability",
        }
    }

    /// Whether a row of this type is a call of a tool, not of a model.
    pub const fn is_tool(self) -> bool {
        matches!(self, Self::McpTool | Self::Skill | Self::Capability)
    }

    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|of| *of as i16 == number)
    }
}

impl From<Operation> for RequestType {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::ChatCompletions => Self::ChatCompletion,
            Operation::Responses => Self::Response,
            Operation::Messages | Operation::CountTokens => Self::Message,
            Operation::Embeddings => Self::Embedding,
        }
    }
}

macro_rules! parsed_by_name {
    ($name:ident, $wanted:literal, [$($value:ident = $text:literal),* $(,)?]) => {
        impl std::str::FromStr for $name {
            type Err = $crate::logs::UnknownName;

            fn from_str(text: &str) -> Result<Self, $crate::logs::UnknownName> {
                match text {
                    $($text => Ok(Self::$value),)*
                    _ => Err($crate::logs::UnknownName($wanted)),
                }
            }
        }
    };
}
pub(crate) use parsed_by_name;

/// The text names none of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct UnknownName(&'static str);

impl std::str::FromStr for RequestType {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|of| of.as_str() == text);
        found.ok_or(UnknownName(
            "`chat.completion`, `response`, `agent`, `mcp_tool`, `message`, `embedding`, `skill` or `capability`",
        ))
    }
}

parsed_by_name!(
    LogStatus,
    "`success` or `error`",
    [Success = "success", Error = "error"]
);
parsed_by_name!(
    BillingStatus,
    "`billed`, `pending` or `unbilled`",
    [
        Billed = "billed",
        Pending = "pending",
        Unbilled = "unbilled"
    ]
);

// === impl LogStatus ===

impl LogStatus {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
        }
    }

    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Success, Self::Error]
            .into_iter()
            .find(|status| *status as i16 == number)
    }
}

// === impl BillingStatus ===

impl BillingStatus {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unbilled => "unbilled",
            Self::Billed => "billed",
            Self::Pending => "pending",
        }
    }

    /// From the number that backends store.
    pub fn from_number(number: i16) -> Option<Self> {
        [Self::Unbilled, Self::Billed, Self::Pending]
            .into_iter()
            .find(|status| *status as i16 == number)
    }
}

// === impl LogRow ===

impl LogRow {
    /// Input and output together.
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// What the row adds to sums.
    pub fn sums(&self) -> Sums {
        let one = |is: bool| u64::from(is);
        Sums {
            requests: one(self.starts_request),
            rows: 1,
            errors: one(self.status == LogStatus::Error),
            billed: one(self.billing_status == BillingStatus::Billed),
            pending: one(self.billing_status == BillingStatus::Pending),
            tool_calls: one(self.request_type.is_tool()),
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            cost: match self.billing_status {
                BillingStatus::Billed => self.cost,
                BillingStatus::Pending | BillingStatus::Unbilled => NanoUsd::ZERO,
            },
        }
    }

    /// What the row says of its charge.
    pub fn state(&self) -> LogState {
        Outcome {
            id: self.id,
            billing_status: self.billing_status,
            cost: self.cost,
        }
    }

    /// Whether an outcome is news to the row: one that says "not billed" of a billed row is overtaken.
    pub fn follows(&self, outcome: &Outcome) -> bool {
        let is_overtaken = self.billing_status == BillingStatus::Billed
            && outcome.billing_status != BillingStatus::Billed;
        !is_overtaken && self.state() != *outcome
    }

    /// Lets the row follow the ledger.
    pub fn apply(&mut self, outcome: &Outcome) {
        self.billing_status = outcome.billing_status;
        self.cost = outcome.cost;
    }
}
