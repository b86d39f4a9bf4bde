//! Parameters of billing (`docs/ledger.md`).

use std::time::Duration;

/// When bytes may go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryGate {
    /// The first content after the open record is durable, the end after the settlement is.
    #[default]
    Strict,
    /// At once. A crash may lose the charges of the last unflushed batch.
    Relaxed,
}

/// What is charged when the caller leaves before any content was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BeforeFirstByte {
    /// The prompt.
    #[default]
    ChargeInput,
    /// Nothing.
    Free,
}

/// What is charged when the provider fails in the middle of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MidstreamError {
    /// What was delivered.
    #[default]
    ChargeObserved,
    /// Nothing.
    Free,
}

/// What happens when not even the prompt and one output token can be paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastRequest {
    /// One call at a time may take all that is left, with a small output limit.
    #[default]
    Allow,
    /// It is refused.
    Refuse,
}

/// Parameters of billing. Each is documented with its default in `docs/ledger.md`.
#[derive(Clone, Debug)]
pub struct BillingOptions {
    /// When bytes may go out.
    pub delivery_gate: DeliveryGate,
    /// How long a delivery gate waits for the database.
    pub gate_timeout: Duration,
    /// After how long without use an account's slice returns.
    pub lease_idle_return: Duration,
    /// How often the accrual of open streams is recorded.
    pub checkpoint_interval: Duration,
    /// See [`BeforeFirstByte`].
    pub before_first_byte: BeforeFirstByte,
    /// See [`MidstreamError`].
    pub midstream_error: MidstreamError,
    /// See [`LastRequest`].
    pub last_request: LastRequest,
    /// The safety factor on counted input, in thousandths.
    pub hold_input_per_mille: u32,
    /// How many calls may have a hold at a time.
    pub queue_max: usize,
    /// Operations in one batch.
    pub batch_max: usize,
    /// Authorisation is refused while the oldest waiting settlement is older than this.
    pub lane_stall: Duration,
}

impl Default for BillingOptions {
    fn default() -> Self {
        Self {
            delivery_gate: DeliveryGate::default(),
            gate_timeout: Duration::from_secs(5),
            lease_idle_return: Duration::from_secs(5),
            checkpoint_interval: Duration::from_secs(5),
            before_first_byte: BeforeFirstByte::default(),
            midstream_error: MidstreamError::default(),
            last_request: LastRequest::default(),
            hold_input_per_mille: 1_100,
            queue_max: 65_536,
            batch_max: 1_000,
            lane_stall: Duration::from_secs(2),
        }
    }
}
