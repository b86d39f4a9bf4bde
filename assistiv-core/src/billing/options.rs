//! Parameters of billing (`docs/ledger.md`).

use std::time::Duration;

use super::store::UnconfirmedDelivery;

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

/// What a delivery gate does when the database stays away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GateTimeoutAction {
    /// A stream ends with an error; an answer in one piece is dropped and its charge taken back.
    #[default]
    FailClosed,
    /// The answer goes out; its settlement waits in the queue.
    Release,
}

/// Whether calls are authorised while the database is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutagePolicy {
    /// No, after [`BillingOptions::db_fail_after`].
    #[default]
    FailClosed,
    /// From the slices in memory, until the lease's deadline.
    Grace,
}

/// What happens to a stream that has used up its hold, when its accounts have nothing more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExhausted {
    /// It ends with an error.
    #[default]
    Cut,
    /// It runs to its end, and the account below zero.
    Finish,
}

/// What happens to the streams of an end user who is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuspendInflight {
    /// They run to their end.
    #[default]
    Finish,
    /// They end with an error.
    Cut,
}

/// Parameters of billing. Each is documented with its default in `docs/ledger.md`.
#[derive(Clone, Debug)]
pub struct BillingOptions {
    /// When bytes may go out.
    pub delivery_gate: DeliveryGate,
    /// How long a delivery gate waits for the database.
    pub gate_timeout: Duration,
    /// See [`GateTimeoutAction`].
    pub gate_timeout_action: GateTimeoutAction,
    /// See [`OutagePolicy`].
    pub outage_policy: OutagePolicy,
    /// After how long without an answer the database counts as away.
    pub db_fail_after: Duration,
    /// How long a node counts as alive after a heartbeat.
    pub ttl: Duration,
    /// How often a node says that it is alive, at most a fifth of the ttl.
    pub heartbeat: Duration,
    /// How much longer than its ttl others wait before they sweep a node.
    pub fence_grace: Duration,
    /// How long a call waits for other nodes to return what they do not use.
    pub recall_wait: Duration,
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
    /// See [`OnExhausted`].
    pub on_exhausted: OnExhausted,
    /// See [`SuspendInflight`].
    pub suspend_inflight: SuspendInflight,
    /// See [`UnconfirmedDelivery`].
    pub unconfirmed_delivery: UnconfirmedDelivery,
    /// How long an answer whose caller has left is read on, where the provider bills it to its end.
    pub drain_max: Duration,
    /// How many such answers are read at a time.
    pub drain_concurrency: usize,
    /// How long a stream may last.
    pub stream_max: Duration,
    /// The safety factor on counted input, in thousandths.
    pub hold_input_per_mille: u32,
    /// How many calls may have a hold at a time.
    pub queue_max: usize,
    /// Operations in one batch.
    pub batch_max: usize,
    /// Authorisation is refused while the oldest waiting settlement is older than this.
    pub lane_stall: Duration,
    /// How often the books are reconciled whole; zero for never.
    pub recon_full: Duration,
    /// How often what is new in the books is reconciled; zero for never.
    pub recon_incremental: Duration,
}

impl Default for BillingOptions {
    fn default() -> Self {
        Self {
            delivery_gate: DeliveryGate::default(),
            gate_timeout: Duration::from_secs(5),
            gate_timeout_action: GateTimeoutAction::default(),
            outage_policy: OutagePolicy::default(),
            db_fail_after: Duration::from_millis(500),
            ttl: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            fence_grace: Duration::from_secs(2),
            recall_wait: Duration::from_millis(1_200),
            lease_idle_return: Duration::from_secs(5),
            checkpoint_interval: Duration::from_secs(5),
            before_first_byte: BeforeFirstByte::default(),
            midstream_error: MidstreamError::default(),
            last_request: LastRequest::default(),
            on_exhausted: OnExhausted::default(),
            suspend_inflight: SuspendInflight::default(),
            unconfirmed_delivery: UnconfirmedDelivery::default(),
            drain_max: Duration::from_secs(60),
            drain_concurrency: 256,
            stream_max: Duration::from_secs(3_600),
            hold_input_per_mille: 1_100,
            queue_max: 65_536,
            batch_max: 1_000,
            lane_stall: Duration::from_secs(2),
            recon_full: Duration::from_hours(24),
            recon_incremental: Duration::from_hours(1),
        }
    }
}
