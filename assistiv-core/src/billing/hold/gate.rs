//! The delivery gates: what waits for the database before it may go out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::billing::engine::{DeliveryToken, Engine, Ticket};
use crate::billing::meter::CountMethod;
use crate::billing::options::DeliveryGate;
use crate::billing::{FundError, Legs, Usage};
use crate::logs::DeliveryNote;

/// Resolves when content may go out: the record that the answer began is durable.
#[derive(Debug)]
#[must_use = "content may go out only after the gate"]
pub struct OpenGate(pub(super) Gate);

/// Resolves when the end of the answer may go out: the charge is durable.
#[derive(Debug)]
#[must_use = "the end of the answer may go out only after the gate"]
pub struct SettleGate {
    pub(super) gate: Gate,
    pub(super) ticket: Arc<Ticket>,
    /// Tells the log when the answer does not go out.
    pub(super) delivery: Option<DeliveryNote>,
    pub(super) usage: Usage,
    pub(super) method: CountMethod,
    pub(super) legs: Legs,
}

#[derive(Debug)]
pub(super) enum Gate {
    /// Nothing to wait for.
    Open,
    Waits {
        ack: oneshot::Receiver<DeliveryToken>,
        timeout: Duration,
    },
}

/// What a call was charged. Keep it until the answer was handed over: a crash before that lists the charge as
/// unconfirmed.
#[derive(Debug)]
pub struct Settled {
    /// The tokens that were charged.
    pub usage: Usage,
    /// Where the counts come from.
    pub method: CountMethod,
    /// The amounts.
    pub legs: Legs,
    _delivery: Option<DeliveryToken>,
}

// === impl Engine ===

impl Engine {
    /// A gate and what opens it. With relaxed delivery there is nothing to wait for.
    pub(super) fn gate(&self) -> (Option<oneshot::Sender<DeliveryToken>>, Gate) {
        match self.options().delivery_gate {
            DeliveryGate::Relaxed => (None, Gate::Open),
            DeliveryGate::Strict => {
                let (sender, ack) = oneshot::channel();
                (
                    Some(sender),
                    Gate::Waits {
                        ack,
                        timeout: self.options().gate_timeout,
                    },
                )
            }
        }
    }
}

// === impl Gate ===

impl Gate {
    async fn wait(self) -> Result<Option<DeliveryToken>, FundError> {
        match self {
            Self::Open => Ok(None),
            Self::Waits { ack, timeout } => match tokio::time::timeout(timeout, ack).await {
                Ok(Ok(token)) => Ok(Some(token)),
                // The lane is gone, or the database is away.
                Ok(Err(_)) | Err(_) => Err(FundError::Uncertain { cause: None }),
            },
        }
    }
}

impl OpenGate {
    /// Waits until content may go out.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the database stays away; then nothing may go out.
    pub async fn wait(self) -> Result<(), FundError> {
        self.0.wait().await.map(drop)
    }
}

impl SettleGate {
    pub(super) fn nothing() -> Self {
        Self {
            gate: Gate::Open,
            ticket: Arc::default(),
            delivery: None,
            usage: Usage::default(),
            method: CountMethod::Reported,
            legs: Legs::ZERO,
        }
    }

    /// Waits for the charge of an answer that goes out in one piece.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the database stays away; the answer must be dropped, and its charge is
    /// taken back.
    pub async fn whole(self) -> Result<Settled, FundError> {
        let Self {
            gate,
            ticket,
            delivery,
            usage,
            method,
            legs,
        } = self;
        let settled = |token| Settled {
            usage,
            method,
            legs,
            _delivery: token,
        };
        match gate.wait().await {
            Ok(token) => Ok(settled(token)),
            // It became durable in the very moment in which the wait ended.
            Err(_) if !ticket.withdraw() => Ok(settled(None)),
            Err(error) => {
                undelivered(delivery);
                Err(error)
            }
        }
    }

    /// Waits for the charge of a stream whose content is out already.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the database stays away; the stream must end with an error, and its charge
    /// stays in the queue.
    pub async fn stream(self) -> Result<Settled, FundError> {
        let Self {
            gate,
            delivery,
            usage,
            method,
            legs,
            ..
        } = self;
        let token = gate.wait().await.inspect_err(|_| undelivered(delivery))?;
        Ok(Settled {
            usage,
            method,
            legs,
            _delivery: token,
        })
    }
}

fn undelivered(answer: Option<DeliveryNote>) {
    if let Some(answer) = answer {
        answer.undelivered();
    }
}
