//! A streamed answer on its way to the caller.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::exchange::{Exchange, Step};
use super::failure;
use super::memories::Owner;
use super::service::Shared;
use crate::billing::{Ending, FundError, Funds, Settled, Shortfall};
use crate::call::{Operation, Planned};
use crate::error::{Error, Problem};
use crate::provider::{Output, Piece, ProviderError, ProviderErrorKind};
use crate::responses::Saving;

/// Silence after which a sign keeps the connection alive.
const PING_AFTER: Duration = Duration::from_secs(15);

/// Hands out content as it comes and the end once the charge is durable.
pub(super) struct Streaming {
    /// Taken when the answer has ended.
    exchange: Option<Exchange>,
    shared: Arc<Shared>,
    owner: Owner,
    saving: Option<Saving>,
    operation: Operation,
    request_id: Arc<str>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Kept until the body is dropped: only then is the delivery proved.
    settled: Option<Settled>,
}

impl Streaming {
    /// A stream of an answer whose first piece is there and whose open record is durable.
    pub(super) fn new(
        exchange: Exchange,
        shared: Arc<Shared>,
        owner: Owner,
        saving: Option<Saving>,
        planned: &Planned,
    ) -> Self {
        let stopping = Box::pin(shared.stopping.clone().cancelled_owned());
        Self {
            exchange: Some(exchange),
            shared,
            owner,
            saving,
            operation: planned.request.operation(),
            request_id: planned.request_id.clone(),
            stopping,
            settled: None,
        }
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        futures_util::stream::unfold(self, |mut streaming| async move {
            let bytes = streaming.next().await?;
            Some((bytes, streaming))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let exchange = self.exchange.as_mut()?;
            if !exchange.is_at_its_end()
                && let Some(content) = content(exchange)
            {
                return Some(content);
            }
            let step = tokio::select! {
                biased;
                step = exchange.step(Instant::now() + PING_AFTER) => step,
                () = &mut self.stopping => return self.fail(Ending::ShutDown, &Error::Draining).await,
            };
            match step {
                Ok(Step::More) => {}
                Ok(Step::Quiet) if exchange.hold.is_cut() => {
                    let error = exhausted(Funds::Suspended);
                    return self.fail(Ending::FundsExhausted, &error.into()).await;
                }
                Ok(Step::Quiet) => return Some(failure::ping(self.operation)),
                Ok(Step::End) => return self.complete().await,
                Ok(Step::Short(mut funds)) => {
                    while funds == Funds::Asking {
                        funds = self.exchange.as_mut()?.hold.asked().await;
                    }
                    if funds != Funds::Enough {
                        let error = exhausted(funds);
                        return self.fail(Ending::FundsExhausted, &error.into()).await;
                    }
                }
                Err(error) => {
                    let error = interrupted(error);
                    return self.fail(Ending::ProviderFailed, &error.into()).await;
                }
            }
        }
    }

    /// Everything that is left goes out at once, after the charge.
    async fn complete(&mut self) -> Option<Bytes> {
        let Exchange { hold, mut out, .. } = self.exchange.take()?;
        self.shared.memories.keep(self.owner, &mut out).await;
        match hold.settle(Ending::Complete).stream().await {
            Ok(settled) => self.settled = Some(settled),
            Err(error) => return Some(self.failure(&error.into(), &mut out)),
        }
        if let Some(saving) = self.saving.take() {
            saving.keep(out.take_response());
        }
        let mut rest = BytesMut::new();
        while let Some(Piece::Content(bytes) | Piece::Terminal(bytes)) = out.pop() {
            rest.extend_from_slice(&bytes);
        }
        Some(rest.freeze())
    }

    /// What was delivered is charged; the caller is told, and neither a finish reason nor `[DONE]` follows.
    async fn fail(&mut self, ending: Ending, error: &Error) -> Option<Bytes> {
        let mut exchange = self.exchange.take()?;
        // Nothing of a response that failed is stored, and its turn ends here.
        self.saving = None;
        let before = content(&mut exchange).unwrap_or_default();
        tracing::info!(
            error = error as &dyn std::error::Error,
            request_id = &*self.request_id,
            "stream failed"
        );
        exchange.hold.log_failure(error);
        let Exchange { hold, mut out, .. } = exchange;
        self.settled = hold.settle(ending).stream().await.ok();
        Some([before, self.failure(error, &mut out)].concat().into())
    }

    /// How the caller's dialect says that the stream failed.
    fn failure(&self, error: &Error, out: &mut Output) -> Bytes {
        let problem = Problem::from(error);
        failure::frame(
            self.operation,
            &problem,
            &self.request_id,
            &self.shared.options.docs_url,
            out,
        )
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        if !exchange.registered.provider.bills_on_cancel() {
            // Dropping the exchange cancels the call upstream, and its hold settles what was observed.
            return;
        }
        let until = Instant::now() + self.shared.drain_max;
        if let Ok(place) = self.shared.drains.clone().try_acquire_owned() {
            self.shared.runtime.spawn(async move {
                let _place = place;
                read_to_the_end(exchange, until).await;
            });
        }
    }
}

async fn read_to_the_end(mut exchange: Exchange, until: Instant) {
    while Instant::now() < until && matches!(exchange.step(until).await, Ok(Step::More)) {
        while exchange.out.pop().is_some() {}
    }
    drop(exchange.hold.settle(Ending::ClientGone));
}

/// All content that is there, up to the end of the answer.
fn content(exchange: &mut Exchange) -> Option<Bytes> {
    let out = &mut exchange.out;
    let mut take = || match out.peek() {
        Some(Piece::Content(_)) => out.pop(),
        _ => None,
    };
    let Some(Piece::Content(first)) = take() else {
        return None;
    };
    let Some(Piece::Content(second)) = take() else {
        return Some(first);
    };
    let mut all = BytesMut::from(&first[..]);
    all.extend_from_slice(&second);
    while let Some(Piece::Content(more)) = take() {
        all.extend_from_slice(&more);
    }
    Some(all.freeze())
}

/// To its caller, a stream that fell silent is one that broke off.
fn interrupted(error: ProviderError) -> ProviderError {
    match error.kind() {
        ProviderErrorKind::Timeout => {
            ProviderError::new(ProviderErrorKind::Interrupted).with_source(error)
        }
        _ => error,
    }
}

fn exhausted(funds: Funds) -> FundError {
    let shortfall = Shortfall {
        transient: false,
        shown: None,
    };
    match funds {
        Funds::Exhausted {
            of_budget: Some(dimension),
        } => FundError::BudgetExhausted {
            dimension,
            shortfall,
            resets_at: None,
        },
        Funds::Suspended => FundError::BudgetSuspended,
        _ => FundError::WalletInsufficient { shortfall },
    }
}
