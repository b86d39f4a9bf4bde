//! The row of a call while it runs: what is known of it, and what its charge comes to.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::{BillingStatus, LogPipeline, LogRow, LogStatus, RequestType};
use crate::billing::{Bill, CountMethod, Ending};
use crate::call::Planned;
use crate::clock::Timestamp;
use crate::error::{Error, Problem, Reason};
use crate::id::{EndUserId, KeyId, LogId, ModelId, PlatformId, PriceId};
use crate::json::RawObject;
use crate::money::NanoUsd;
use crate::routing::{Catalogue, ProviderSlug, Target};

/// Why a call failed whose caller did not wait for it.
const CLIENT_GONE: (&str, &str) = (
    "client_disconnected",
    "the caller left before the answer was complete",
);

/// The row of a call that runs. It is queued when the call ends; a call of which nothing was sent has none.
#[derive(Debug)]
pub(crate) struct CallLog {
    pipeline: LogPipeline,
    opening: Opening,
    /// From the arrival of the request to the first attempt.
    before: Option<Duration>,
    failure: Option<Failure>,
}

/// What is known of a call before anything is sent.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    id: LogId,
    platform_id: PlatformId,
    end_user_id: Option<EndUserId>,
    api_key_id: KeyId,
    request_type: RequestType,
    request_id: Arc<str>,
    received_at: Instant,
    created_at: Timestamp,
}

#[derive(Debug)]
struct Failure {
    reason: &'static str,
    message: String,
}

/// A row in the queue.
#[derive(Debug)]
pub(super) struct Draft {
    opening: Opening,
    target: Option<DraftTarget>,
    tokens: (u64, u64),
    count_method: CountMethod,
    cost: NanoUsd,
    price_id: Option<PriceId>,
    latency: Duration,
    before: Duration,
    failure: Option<Failure>,
    pub(super) ended: Instant,
    pub(super) progress: Arc<Progress>,
}

#[derive(Debug)]
struct DraftTarget {
    provider: ProviderSlug,
    upstream_model: Arc<str>,
    model_id: ModelId,
}

/// Where a charge is, shared by those who move it and the row.
#[derive(Debug, Default)]
pub(super) struct Progress {
    status: AtomicU8,
    undelivered: AtomicBool,
    /// What was charged, where that is not what the answer cost: a sweep was faster.
    charged: OnceLock<NanoUsd>,
    /// Microseconds from the end of the answer until its charge was durable.
    after_us: AtomicU64,
}

const PENDING: u8 = 0;
const BILLED: u8 = 1;
const UNBILLED: u8 = 2;

/// Travels with a charge to the ledger, and tells the row when it has arrived. Dropped before, there is no charge.
#[derive(Debug)]
pub(crate) struct Fate {
    progress: Arc<Progress>,
    ended: Instant,
}

/// Tells the row that the answer was not delivered although it is charged.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryNote(Arc<Progress>);

// === impl Opening ===

impl Opening {
    /// What a planned call's row begins with; `None` for a caller without a platform, who makes no calls.
    pub(crate) fn of(planned: &Planned, now: Timestamp) -> Option<Self> {
        let identity = &planned.identity;
        Some(Self {
            id: planned.log_id,
            platform_id: identity.platform_id()?,
            end_user_id: identity.end_user_id(),
            api_key_id: identity.key_id(),
            request_type: planned.request.operation().into(),
            request_id: planned.request_id.clone(),
            received_at: planned.received_at,
            created_at: now,
        })
    }
}

// === impl CallLog ===

impl CallLog {
    pub(super) fn new(pipeline: LogPipeline, opening: Opening) -> Self {
        Self {
            pipeline,
            opening,
            before: None,
            failure: None,
        }
    }

    /// An attempt begins. What failed before it no longer counts.
    pub(crate) fn begun(&mut self) {
        self.before
            .get_or_insert_with(|| self.opening.received_at.elapsed());
        self.failure = None;
    }

    /// The attempt failed. Only what a caller may read is kept of the error.
    pub(crate) fn failed(&mut self, error: &Error) {
        let problem = Problem::from(error);
        self.failure = Some(Failure {
            reason: problem.reason.as_str(),
            message: problem.message,
        });
    }

    /// Queues the row of a call that has ended, with what it is charged. The charge, if there is one, takes the
    /// fate along.
    pub(crate) fn ended(
        self,
        ending: Ending,
        target: Option<&Target>,
        bill: Option<&Bill>,
    ) -> Option<Fate> {
        let before = self.before?;
        let failure = self.failure.or_else(|| {
            (ending != Ending::Complete).then(|| Failure {
                reason: CLIENT_GONE.0,
                message: CLIENT_GONE.1.to_owned(),
            })
        });
        let ended = Instant::now();
        let progress = Arc::new(Progress::default());
        let draft = Draft {
            latency: self.opening.received_at.elapsed(),
            opening: self.opening,
            target: target.map(|target| DraftTarget {
                provider: target.provider().clone(),
                upstream_model: target.upstream_model.clone(),
                model_id: target.model_id,
            }),
            tokens: bill.map_or((0, 0), |bill| {
                (bill.usage.input_total(), bill.usage.output_total())
            }),
            count_method: bill.map_or(CountMethod::Reported, |bill| bill.method),
            cost: bill.map_or(NanoUsd::ZERO, |bill| bill.legs.wallet),
            price_id: bill.map(|bill| bill.price.id),
            before,
            failure,
            ended,
            progress: progress.clone(),
        };
        self.pipeline.push(draft);
        Some(Fate { progress, ended })
    }
}

// === impl Fate ===

impl Fate {
    /// The charge is in the ledger.
    pub(crate) fn billed(&self) {
        let after = u64::try_from(self.ended.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.progress.after_us.store(after, Ordering::Relaxed);
        self.progress.decide(BILLED);
    }

    /// A charge is in the ledger that somebody else has posted, of this amount. What the answer cost beyond it is a
    /// correction, an entry of its own, and leaves the row as it is.
    pub(crate) fn billed_as(&self, charged: NanoUsd) {
        // The first amount stands, as the first decision does.
        let _ = self.progress.charged.set(charged);
        self.billed();
    }

    /// For whoever delivers the answer.
    pub(crate) fn delivery(&self) -> DeliveryNote {
        DeliveryNote(self.progress.clone())
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        self.progress.decide(UNBILLED);
    }
}

// === impl DeliveryNote ===

impl DeliveryNote {
    /// The answer, or its end, was not delivered: its charge could not be confirmed in time.
    pub(crate) fn undelivered(&self) {
        self.0.undelivered.store(true, Ordering::Release);
    }
}

// === impl Progress ===

impl Progress {
    /// The first decision stands.
    fn decide(&self, status: u8) {
        let _ = self
            .status
            .compare_exchange(PENDING, status, Ordering::AcqRel, Ordering::Acquire);
    }

    /// What was charged, where that is not what the answer cost.
    pub(super) fn charged(&self) -> Option<NanoUsd> {
        self.charged.get().copied()
    }

    /// Where the charge is.
    pub(super) fn status(&self) -> BillingStatus {
        match self.status.load(Ordering::Acquire) {
            BILLED => BillingStatus::Billed,
            UNBILLED => BillingStatus::Unbilled,
            _ => BillingStatus::Pending,
        }
    }
}

// === impl Draft ===

impl Draft {
    /// The row as things stand. Names come from the catalogue.
    pub(super) fn row(&self, catalogue: &Catalogue) -> LogRow {
        let target = self.target.as_ref();
        let billing_status = self.progress.status();
        let undelivered = self.progress.undelivered.load(Ordering::Acquire);
        let failure = self
            .failure
            .as_ref()
            .map(|failure| (failure.reason, failure.message.as_str()));
        let failure = failure.or_else(|| undelivered.then_some(UNDELIVERED));
        let after = Duration::from_micros(self.progress.after_us.load(Ordering::Relaxed));
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        LogRow {
            id: self.opening.id,
            platform_id: self.opening.platform_id,
            end_user_id: self.opening.end_user_id,
            api_key_id: Some(self.opening.api_key_id),
            request_type: self.opening.request_type,
            provider: target
                .and_then(|target| catalogue.provider(&target.provider))
                .map(|provider| (provider.id(), provider.slug.clone())),
            model: target
                .and_then(|target| catalogue.model_by_id(target.model_id))
                .map(|model| (model.id(), model.slug.clone())),
            provider_model_id: target.map(|target| target.upstream_model.to_string()),
            prompt_tokens: self.tokens.0,
            completion_tokens: self.tokens.1,
            latency_ms: u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX),
            cost: match billing_status {
                BillingStatus::Unbilled => NanoUsd::ZERO,
                BillingStatus::Billed => self.progress.charged().unwrap_or(self.cost),
                BillingStatus::Pending => self.cost,
            },
            status: match failure {
                None => LogStatus::Success,
                Some(_) => LogStatus::Error,
            },
            error_message: failure.map(|(_, message)| message.to_owned()),
            reason: failure.map(|(reason, _)| reason.to_owned()),
            count_method: self.count_method,
            billing_status,
            request_id: Some(self.opening.request_id.to_string()),
            starts_request: true,
            overhead_us: Some(micros(self.before + after)),
            price_id: self.price_id,
            metadata: RawObject::new(),
            created_at: self.opening.created_at,
        }
    }
}

/// Why a call failed whose charge could not be confirmed.
const UNDELIVERED: (&str, &str) = (
    Reason::SERVICE_UNAVAILABLE.as_str(),
    "the charge could not be confirmed in time, so the answer was not delivered",
);
