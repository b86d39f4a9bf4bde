//! The delivery gates: what waits for the database before it may go out.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::billing::engine::{Ack, DeliveryToken, Engine, Epoch, Ticket};
use crate::billing::meter::CountMethod;
use crate::billing::options::{DeliveryGate, GateTimeoutAction, OutagePolicy};
use crate::billing::{FundError, Legs, Usage};
use crate::logs::DeliveryNote;
use crate::metrics::GateKind;

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
    pub(super) note: Option<DeliveryNote>,
    pub(super) usage: Usage,
    pub(super) method: CountMethod,
    pub(super) legs: Legs,
}

#[derive(Debug)]
pub(super) enum Gate {
    /// Nothing to wait for.
    Open,
    Waits {
        ack: oneshot::Receiver<Option<DeliveryToken>>,
        engine: Arc<Engine>,
        epoch: Arc<Epoch>,
        kind: GateKind,
    },
}

/// Proves, when it is dropped, that an answer was handed over.
#[derive(Debug, Default)]
enum Delivery {
    #[default]
    Unrecorded,
    Of {
        _batch: DeliveryToken,
    },
    /// The answer goes out before its batch is durable. The token comes here.
    Early {
        _ack: oneshot::Receiver<Option<DeliveryToken>>,
    },
}

/// How a wait ended that brought no answer.
enum Unanswered {
    /// It lasted too long.
    Late(oneshot::Receiver<Option<DeliveryToken>>),
    /// What was waited for will not be written.
    GivenUp,
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
    _delivery: Delivery,
}

// === impl Engine ===

impl Engine {
    /// A gate and what opens it. With relaxed delivery there is nothing to wait for.
    pub(super) fn gate(
        self: &Arc<Self>,
        kind: GateKind,
        epoch: &Arc<Epoch>,
    ) -> (Option<Ack>, Gate) {
        match self.options().delivery_gate {
            DeliveryGate::Relaxed => (None, Gate::Open),
            DeliveryGate::Strict => {
                let (sender, ack) = oneshot::channel();
                let gate = Gate::Waits {
                    ack,
                    engine: self.clone(),
                    epoch: epoch.clone(),
                    kind,
                };
                (Some(sender), gate)
            }
        }
    }

    /// Whether an answer goes out although the database has not said that it is charged.
    fn releases(&self, epoch: &Epoch) -> bool {
        let options = self.options();
        let bridges = options.outage_policy == OutagePolicy::Grace
            && epoch.validity.is_current(Instant::now());
        bridges || options.gate_timeout_action == GateTimeoutAction::Release
    }
}

// === impl Gate ===

impl Gate {
    async fn wait(self) -> Result<Delivery, Unanswered> {
        let Self::Waits {
            mut ack,
            engine,
            epoch,
            kind,
        } = self
        else {
            return Ok(Delivery::Unrecorded);
        };
        let began = Instant::now();
        let answer = tokio::time::timeout(engine.options().gate_timeout, &mut ack).await;
        engine.state().waited(kind, began.elapsed());
        match answer {
            Ok(Ok(token)) => Ok(Delivery::of(token)),
            Ok(Err(_)) => Err(Unanswered::GivenUp),
            Err(_) if engine.releases(&epoch) => Ok(Delivery::Early { _ack: ack }),
            Err(_) => Err(Unanswered::Late(ack)),
        }
    }
}

// === impl Unanswered ===

impl Unanswered {
    /// Takes the charge back, unless it became durable in the very moment in which the wait ended: then the answer
    /// is delivered after all, and its token is here, or on its way.
    fn after_withdrawal(self, ticket: &Ticket) -> Option<Delivery> {
        if ticket.withdraw() {
            return None;
        }
        Some(match self {
            Self::Late(_ack) => Delivery::Early { _ack },
            Self::GivenUp => Delivery::Unrecorded,
        })
    }
}

// === impl Delivery ===

impl Delivery {
    fn of(token: Option<DeliveryToken>) -> Self {
        token.map_or(Self::Unrecorded, |_batch| Self::Of { _batch })
    }
}

impl OpenGate {
    /// Waits until content may go out.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the database stays away; then nothing may go out.
    pub async fn wait(self) -> Result<(), FundError> {
        self.0.wait().await.map(drop).map_err(|_| UNCERTAIN)
    }
}

impl SettleGate {
    pub(super) fn nothing() -> Self {
        Self {
            gate: Gate::Open,
            ticket: Arc::default(),
            note: None,
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
        let settled = |delivery| Settled {
            usage: self.usage,
            method: self.method,
            legs: self.legs,
            _delivery: delivery,
        };
        match self.gate.wait().await {
            Ok(delivery) => Ok(settled(delivery)),
            Err(unanswered) => match unanswered.after_withdrawal(&self.ticket) {
                Some(delivery) => Ok(settled(delivery)),
                None => Err(undelivered(self.note)),
            },
        }
    }

    /// Waits for the charge of a stream whose content is out already.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the database stays away; the stream must end with an error, and its charge
    /// stays in the queue.
    pub async fn stream(self) -> Result<Settled, FundError> {
        let delivery = self.gate.wait().await;
        let delivery = delivery.map_err(|_| undelivered(self.note))?;
        Ok(Settled {
            usage: self.usage,
            method: self.method,
            legs: self.legs,
            _delivery: delivery,
        })
    }
}

/// The answer, or its end, does not go out.
fn undelivered(note: Option<DeliveryNote>) -> FundError {
    if let Some(note) = note {
        note.undelivered();
    }
    UNCERTAIN
}

const UNCERTAIN: FundError = FundError::Uncertain { cause: None };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::billing::engine::Deliveries;

    /// The wait ends while the lane acknowledges: the answer goes out, and counts as under way until it is out.
    #[test]
    fn an_answer_after_a_lost_race_still_holds_its_token() {
        let (deliveries, ticket) = (Deliveries::default(), Ticket::default());
        let (sender, ack) = oneshot::channel();
        deliveries.applied(1);
        assert!(ticket.send() && ticket.finish());
        let delivery = Unanswered::Late(ack).after_withdrawal(&ticket).unwrap();
        sender.send(Some(deliveries.token(1))).unwrap();
        assert_eq!(deliveries.delivered_seq(), 0);
        drop(delivery);
        assert_eq!(deliveries.delivered_seq(), 1);
    }

    #[test]
    fn an_answer_whose_charge_is_not_durable_is_taken_back() {
        let (_sender, ack) = oneshot::channel();
        let ticket = Ticket::default();
        assert!(ticket.send());
        assert!(Unanswered::Late(ack).after_withdrawal(&ticket).is_none());
        assert!(!ticket.finish(), "it is to be refunded");
    }
}
