//! Acts on the messages of other nodes: an account is needed elsewhere, or was changed.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::Engine;
use super::epoch::Epoch;
use crate::auth::SweeperScope;
use crate::billing::{Control, ControlOp};
use crate::id::AccountId;

/// How often messages are read. A nudge makes it at once.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How long an act waits until the other nodes have acted on it.
const ACT_WAITS: Duration = Duration::from_millis(2_500);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Which messages were acted on: a state machine without I/O.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// The numbers of the last answer. A message that is too old to be in an answer never comes again.
    seen: BTreeSet<i64>,
    highest: i64,
}

// === impl Messages ===

impl Messages {
    /// The messages of an answer that were not seen before.
    pub(super) fn news(&mut self, answer: &[Control]) -> Vec<Control> {
        let mut fresh = answer.to_vec();
        fresh.retain(|control| !self.seen.contains(&control.seq));
        self.seen = answer.iter().map(|control| control.seq).collect();
        self.highest = self
            .seen
            .last()
            .map_or(self.highest, |last| self.highest.max(*last));
        fresh
    }

    /// The number up to which every message was acted on: whoever sees one sees all before it.
    pub(super) fn acted_on(&self) -> i64 {
        self.highest
    }
}

/// Runs until the engine closes or the registration is lost.
pub(super) async fn run(engine: Weak<Engine>, epoch: Arc<Epoch>) {
    let Some((closing, nudged)) = engine
        .upgrade()
        .map(|engine| (engine.closing.clone(), engine.nudged.clone()))
    else {
        return;
    };
    let mut messages = Messages::default();
    let mut tick = tokio::time::interval(POLL_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled() => return,
            () = epoch.lost() => return,
            _ = tick.tick() => {}
            () = nudged.notified() => {}
        }
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.read_messages(&epoch, &mut messages).await;
    }
}

// === impl Engine ===

impl Engine {
    async fn read_messages(&self, epoch: &Arc<Epoch>, messages: &mut Messages) {
        let scope = SweeperScope::engine();
        let answer = match tokio::time::timeout(ACT_WAITS, self.store.controls(&scope)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the messages of other nodes cannot be read"
                );
                return;
            }
            Err(_) => {
                tracing::warn!("the messages of other nodes cannot be read: no answer");
                return;
            }
        };
        let news = messages.news(&answer);
        for control in &news {
            match control.op {
                ControlOp::Recall => epoch.give_back(control.account),
                ControlOp::Policy => {
                    // Nothing is authorised from here on before the policy was read anew: so it is acted on.
                    epoch.forget_policy(control.account);
                    self.budgets.forget_account(control.account);
                }
            }
        }
        epoch.acted_on_up_to(messages.acted_on());
        if !news.is_empty() {
            epoch.beat.notify_one();
        }
    }

    /// An account was blocked by an act on this node: waits until the other nodes authorise nothing from it any
    /// more, but no longer than an answer may take. They stop at their next poll in any case.
    pub(super) async fn wait_for_others(&self, epoch: &Epoch, account: AccountId) {
        let scope = SweeperScope::engine();
        let heard = async {
            let controls = self.store.controls(&scope).await?;
            let about = controls.iter().filter(|control| control.account == account);
            let Some(seq) = about.map(|control| control.seq).max() else {
                return Ok(());
            };
            let mut pause = FIRST_PAUSE;
            while !self.store.is_acked(&scope, seq, Some(epoch.node)).await? {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Ok::<_, crate::store::StoreError>(())
        };
        match tokio::time::timeout(ACT_WAITS, heard).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whether other nodes have heard of an act cannot be read"
            ),
            Err(_) => tracing::warn!("other nodes have not said that they heard of an act"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controls(seqs: &[i64]) -> Vec<Control> {
        let control = |seq: &i64| Control {
            seq: *seq,
            account: AccountId(1),
            op: ControlOp::Recall,
        };
        seqs.iter().map(control).collect()
    }

    #[test]
    fn a_message_is_acted_on_once() {
        let mut messages = Messages::default();
        let mut news = |seqs: &[i64]| -> (Vec<i64>, i64) {
            let fresh = messages.news(&controls(seqs));
            (fresh.iter().map(|c| c.seq).collect(), messages.acted_on())
        };
        assert_eq!(news(&[]), (vec![], 0));
        assert_eq!(news(&[100, 101]), (vec![100, 101], 101));
        assert_eq!(news(&[100, 101]), (vec![], 101));
        // One was too old, and one of which nothing came was rolled back.
        assert_eq!(news(&[101, 103]), (vec![103], 103));
        assert_eq!(news(&[]), (vec![], 103));
    }
}
