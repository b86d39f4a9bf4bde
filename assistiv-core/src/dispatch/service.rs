//! The service at the inside of the stack.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::attempts::Attempts;
use super::body::CallBody;
use super::counting::CountTokens;
use super::exchange::{Exchange, Step};
use super::memories::{Memories, Owner};
use super::streaming::Streaming;
use super::{COST_USD, DROPPED_PARAMS, LOG_ID, MAX_TOKENS, OVERHEAD_US, PROVIDER};
use crate::Error;
use crate::billing::{BillingOptions, Ending, FundError, Hold, OpenGate};
use crate::call::{Funded, Operation, Planned, RequestError};
use crate::conversation::Dropped;
use crate::logs::LogPipeline;
use crate::metrics::Upstream;
use crate::provider::{Encoded, Piece, ProviderError, ProviderErrorKind, UpstreamBody};
use crate::responses::Responses;
use crate::routing::{Health, Target};
use crate::runtime::Runtime;
use crate::tenancy::UnsupportedParams;

const UNCERTAIN: Error = Error::Fund(FundError::Uncertain { cause: None });
/// How much of an error answer is read.
const ERROR_BODY_MAX: usize = 64 << 10;
/// How many parts of one request are sent beside each other.
const PARTS_AT_ONCE: usize = 4;
const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);
/// The most that is told of parameters that were left out.
const DROPPED_BYTES_MAX: usize = 1024;

/// Deadlines of calls to providers.
#[derive(Clone, Debug)]
pub struct DispatchOptions {
    /// Until the first frame of an answer.
    pub first_byte: Duration,
    /// Between two frames.
    pub idle: Duration,
    /// For the whole answer.
    pub total: Duration,
    /// The base URL of this server's documentation, for errors inside streams.
    pub docs_url: String,
}

/// Sends a funded call to its targets, in order, until one gives a frame.
#[derive(Clone)]
pub struct Dispatch {
    shared: Arc<Shared>,
}

/// An answer whose first piece is there, with the gate that its content waits at.
struct Attempt {
    exchange: Exchange,
    gate: Option<OpenGate>,
    dropped: Dropped,
}

pub(super) struct Shared {
    pub(super) options: DispatchOptions,
    /// How long a stream may last.
    stream_max: Duration,
    /// How long an answer is read on without its caller, where the provider bills it to the end anyway.
    pub(super) drain_max: Duration,
    pub(super) runtime: Runtime,
    pub(super) stopping: CancellationToken,
    pub(super) drains: Arc<Semaphore>,
    logs: LogPipeline,
    responses: Responses,
    pub(super) memories: Memories,
    upstream: Upstream,
    health: Health,
}

impl Default for DispatchOptions {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
            docs_url: String::new(),
        }
    }
}

// === impl Dispatch ===

impl Dispatch {
    /// The inside of a stack that counts tokens.
    pub fn count_tokens(&self) -> CountTokens {
        CountTokens::new(self.shared.clone())
    }

    pub(crate) fn new(
        options: DispatchOptions,
        billing: &BillingOptions,
        runtime: Runtime,
        stopping: CancellationToken,
        logs: LogPipeline,
        responses: Responses,
        health: Health,
    ) -> Self {
        let drains = Arc::new(Semaphore::new(billing.drain_concurrency));
        Self {
            shared: Arc::new(Shared {
                options,
                stream_max: billing.stream_max,
                drain_max: billing.drain_max,
                runtime,
                stopping,
                drains,
                logs,
                responses,
                memories: Memories::new(),
                upstream: Upstream::default(),
                health,
            }),
        }
    }
}

impl Service<Funded> for Dispatch {
    type Response = Response<CallBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<CallBody>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, funded: Funded) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move { shared.dispatch(funded).await })
    }
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    async fn dispatch(self: Arc<Self>, funded: Funded) -> Result<Response<CallBody>, Error> {
        let Funded {
            mut planned,
            mut hold,
        } = funded;
        let operation = planned.request.operation();
        if operation == Operation::CountTokens {
            // It costs nothing, so that nobody pays for it.
            hold.release();
            return Err(RequestError::NotServed(operation).into());
        }
        let targets = std::mem::take(&mut planned.plan.targets);
        hold.log(self.logs.call(&planned));
        hold.count(planned.reserved.take());
        let is_rewritten = |target: &Target| {
            let provider = &target.registered.provider;
            provider.is_rewritten(&planned.request, target)
        };
        if targets.iter().any(is_rewritten) {
            let owner = Owner::of(&planned.identity);
            let recalled = self.memories.of(owner, &planned.request).await;
            planned.request.recall(recalled);
        }
        let mut last_error = Error::from(ProviderError::new(ProviderErrorKind::Failed));
        let platform = planned.identity.platform_id();
        let mut attempts = Attempts::new(&self.health, platform, targets);
        while let Some(mut target) = attempts.next() {
            target.output_limit = hold
                .lowered_to()
                .map(|limit| (limit / u64::from(planned.request.choices())).max(1));
            hold.begin(&target);
            let started = Instant::now();
            let attempt = self.attempt(&planned, &target, hold, started).await;
            let failure = attempt.as_ref().err().map(|(error, _)| error);
            self.upstream
                .count(&target.provider, failure, started.elapsed());
            attempts.ended(&target, failure);
            match attempt {
                Ok(attempt) => return self.answer(planned, target, attempt, started).await,
                Err((error, held)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        provider = %target.provider,
                        request_id = &*planned.request_id,
                        "attempt failed"
                    );
                    hold = held;
                    hold.failed();
                    hold.log_failure(&error);
                    last_error = error;
                }
            }
        }
        hold.release();
        Err(last_error)
    }

    /// Tries one target until its first piece is there. The hold comes back when it fails.
    async fn attempt(
        &self,
        planned: &Planned,
        target: &Target,
        mut hold: Hold,
        started: Instant,
    ) -> Result<Attempt, (Error, Hold)> {
        let first_byte_at = started + self.options.first_byte;
        let lost = hold.lost();
        let body = tokio::select! {
            biased;
            sent = self.send(planned, target, &hold, first_byte_at) => sent,
            () = self.stopping.cancelled() => Err(Error::Draining),
            // The money is another node's now.
            () = lost.cancelled() => Err(UNCERTAIN),
        };
        let (body, dropped) = match body {
            Ok(sent) => sent,
            Err(error) => return Err((error, hold)),
        };
        hold.accepted();
        // Queued at once, so that its commit overlaps with the wait for the first content.
        let gate = planned.request.is_stream().then(|| hold.open());
        let decoder = target.registered.provider.decoder(&planned.request, target);
        let registered = target.registered.clone();
        let total = match gate {
            Some(_) => self.options.total.min(self.stream_max),
            None => self.options.total,
        };
        let ends_at = started + total;
        let mut exchange =
            Exchange::new(hold, registered, decoder, body, ends_at, self.options.idle);
        if gate.is_none() {
            return Ok(Attempt {
                exchange,
                gate,
                dropped,
            });
        }
        while exchange.out.peek().is_none() {
            match self.step(&mut exchange, first_byte_at).await {
                Ok(Step::More | Step::Short(_)) => {}
                Ok(Step::End) => break,
                Ok(Step::Quiet) => {
                    let late = ProviderError::new(ProviderErrorKind::Timeout);
                    return Err((late.into(), exchange.hold));
                }
                Err(error) => return Err((error, exchange.hold)),
            }
        }
        Ok(Attempt {
            exchange,
            gate,
            dropped,
        })
    }

    /// A step of an answer of which nothing is out yet, unless the gateway stops meanwhile.
    async fn step(&self, exchange: &mut Exchange, until: Instant) -> Result<Step, Error> {
        tokio::select! {
            biased;
            step = exchange.step(until) => step.map_err(Error::from),
            () = self.stopping.cancelled() => Err(Error::Draining),
        }
    }

    async fn send(
        &self,
        planned: &Planned,
        target: &Target,
        hold: &Hold,
        first_byte_at: Instant,
    ) -> Result<(UpstreamBody, Dropped), Error> {
        let provider = &target.registered.provider;
        let mut encoded = provider.encode(&planned.request, target)?;
        let profile = planned.identity.profile();
        if profile.is_some_and(|it| it.settings.unsupported_params() == UnsupportedParams::Error) {
            encoded = encoded.strict()?;
        }
        let Encoded {
            request,
            further,
            dropped,
        } = encoded;
        let send = |request| self.send_part(target, hold, request, first_byte_at);
        let first = send(request).await?;
        if further.is_empty() {
            return Ok((first, dropped));
        }
        // Only after the first part was taken, so that what is wrong with all of them is said once.
        let further = stream::iter(further).map(send).buffered(PARTS_AT_ONCE);
        let further: Vec<_> = further.try_collect().await?;
        let bodies = stream::iter(std::iter::once(first).chain(further));
        let body = StreamBody::new(bodies.map(BodyStream::new).flatten());
        Ok((body.boxed_unsync(), dropped))
    }

    /// Sends a request of which the provider knows nothing yet, and gives the body of its success.
    async fn send_part(
        &self,
        target: &Target,
        hold: &Hold,
        mut request: http::Request<Bytes>,
        first_byte_at: Instant,
    ) -> Result<UpstreamBody, Error> {
        let provider = &target.registered.provider;
        if let Some(credential) = &target.credential {
            provider.authorize(&mut request, credential).await?;
        }
        // Encoding and authorising may have taken their time.
        if !hold.may_be_sent() {
            return Err(UNCERTAIN);
        }
        let sent =
            tokio::time::timeout_at(first_byte_at, target.registered.transport.send(request)).await;
        let response = sent
            .map_err(|_| ProviderError::new(ProviderErrorKind::Timeout))?
            .map_err(ProviderError::from)?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let body = read_body(body).await;
        Err(provider.classify(head.status, &head.headers, &body).into())
    }

    async fn answer(
        self: Arc<Self>,
        planned: Planned,
        target: Target,
        attempt: Attempt,
        started: Instant,
    ) -> Result<Response<CallBody>, Error> {
        let Attempt {
            mut exchange,
            gate,
            dropped,
        } = attempt;
        let owner = Owner::of(&planned.identity);
        let saving = self.responses.saving(&planned);
        let lowered_to = exchange.hold.lowered_to();
        let mut overhead = started.saturating_duration_since(planned.received_at);
        let (body, cost) = if let Some(gate) = gate {
            // An answer that is all there waits for its charge anyway. Nothing of the others is out yet: when
            // one cannot be recorded, the caller gets a plain refusal and is charged nothing.
            if !exchange.is_at_its_end()
                && let Err(error) = gate.wait().await
            {
                let error = Error::from(error);
                exchange.hold.failed();
                exchange.hold.log_failure(&error);
                return Err(error);
            }
            let streaming = Streaming::new(exchange, self.clone(), owner, saving, &planned);
            (CallBody::stream(streaming.into_stream()), None)
        } else {
            let (bytes, response, hold) = self.read_whole(exchange, owner).await?;
            let received = Instant::now();
            let settled = hold.settle(Ending::Complete).whole().await?;
            if let Some(saving) = saving {
                saving.keep(response);
            }
            overhead += received.elapsed();
            let cost = planned
                .identity
                .end_user_id()
                .is_none()
                .then_some(settled.legs.wallet);
            (CallBody::whole(bytes, settled), cost)
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        if planned.request.is_stream() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        put(headers, LOG_ID, planned.log_id);
        put(headers, PROVIDER, &target.provider);
        put(headers, OVERHEAD_US, overhead.as_micros());
        // Embeddings have no output to limit.
        let has_output = planned.request.operation() != Operation::Embeddings;
        if let Some(limit) = lowered_to.filter(|_| has_output) {
            put(headers, MAX_TOKENS, limit);
        }
        if let Some(cost) = cost {
            put(headers, COST_USD, cost);
        }
        if let Some(names) = names_of(&dropped, planned.request.operation()) {
            put(headers, DROPPED_PARAMS, names);
        }
        Ok(response)
    }

    /// Reads an answer that is not streamed, to its end.
    async fn read_whole(
        &self,
        mut exchange: Exchange,
        owner: Owner,
    ) -> Result<(Bytes, Option<String>, Hold), Error> {
        let lost = exchange.hold.lost();
        let end = loop {
            let far = Instant::now() + self.options.total;
            let step = tokio::select! {
                biased;
                step = self.step(&mut exchange, far) => step,
                // Its charge cannot be written any more.
                () = lost.cancelled() => Err(UNCERTAIN),
            };
            match step {
                // An answer in one piece goes out whole or not at all; what it cost is charged in full.
                Ok(Step::More | Step::Quiet | Step::Short(_)) => {}
                Ok(Step::End) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = end {
            // Nothing was delivered, so nothing is charged.
            let error = unusable(error);
            exchange.hold.failed();
            exchange.hold.log_failure(&error);
            exchange.hold.release();
            return Err(error);
        }
        let _ = exchange.hold.observe(&exchange.out);
        self.memories.keep(owner, &mut exchange.out).await;
        let response = exchange.out.take_response();
        let mut bytes = bytes::BytesMut::new();
        let mut pieces = std::iter::from_fn(|| exchange.out.pop());
        if let Some(Piece::Content(first) | Piece::Terminal(first)) = pieces.next() {
            let rest: Vec<_> = pieces.collect();
            if rest.is_empty() {
                return Ok((first, response, exchange.hold));
            }
            bytes.extend_from_slice(&first);
            for Piece::Content(piece) | Piece::Terminal(piece) in rest {
                bytes.extend_from_slice(&piece);
            }
        }
        Ok((bytes.freeze(), response, exchange.hold))
    }
}

/// What a dialect calls a parameter that has its name from chat completions.
fn name_in(operation: Operation, name: &str) -> &str {
    match (operation, name) {
        (Operation::Messages, "reasoning_effort") => "thinking",
        (Operation::Messages, "stop") => "stop_sequences",
        _ => name,
    }
}

/// The names of parameters as a list. Callers make names up, so that not every one of them is fit for a header.
fn names_of(dropped: &Dropped, operation: Operation) -> Option<String> {
    let fit =
        |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    let mut list = String::new();
    let names = dropped.names().map(|name| name_in(operation, name));
    for name in names.filter(fit) {
        if list.len() + name.len() > DROPPED_BYTES_MAX {
            break;
        }
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(name);
    }
    (!list.is_empty()).then_some(list)
}

/// The beginning of an answer that is small, an error for example. One that cannot be read is still an error, with its status.
pub(super) async fn read_body(mut body: UpstreamBody) -> bytes::BytesMut {
    let mut read = bytes::BytesMut::new();
    let until = Instant::now() + ERROR_BODY_WAIT;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(until, body.frame()).await {
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data[..data.len().min(ERROR_BODY_MAX - read.len())]);
        }
        if read.len() == ERROR_BODY_MAX {
            break;
        }
    }
    read
}

/// An answer in one piece that broke off is no stream that was cut: to its caller it cannot be read.
fn unusable(error: Error) -> Error {
    match error {
        Error::Provider(error) if error.kind() == ProviderErrorKind::Interrupted => {
            ProviderError::new(ProviderErrorKind::Malformed)
                .with_source(error)
                .into()
        }
        other => other,
    }
}

pub(super) fn put(headers: &mut HeaderMap, name: http::HeaderName, value: impl std::fmt::Display) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        headers.insert(name, value);
    }
}
