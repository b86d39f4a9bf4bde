//! Messages between nodes.

use std::collections::VecDeque;
use std::time::Duration;

use super::before;
use crate::billing::{Control, ControlOp};
use crate::clock::Timestamp;
use crate::id::AccountId;

/// How long a message is shown.
const SHOWN: Duration = Duration::from_secs(30);
/// How long a message is kept.
const KEPT: Duration = Duration::from_secs(3_600);
/// How often one account is recalled at most.
const RECALLED: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Controls {
    last: i64,
    /// With when each was sent, oldest first.
    sent: VecDeque<(Timestamp, Control)>,
}

impl Controls {
    pub(super) fn send(&mut self, account: AccountId, op: ControlOp, now: Timestamp) -> i64 {
        self.last += 1;
        let seq = self.last;
        self.sent.push_back((now, Control { seq, account, op }));
        seq
    }

    /// Sends a recall, unless one was sent just before.
    pub(super) fn recall(&mut self, account: AccountId, now: Timestamp) -> i64 {
        let is_recall =
            |message: &&Control| message.account == account && message.op == ControlOp::Recall;
        let recent = self.since(before(now, RECALLED)).rfind(is_recall);
        match recent.map(|message| message.seq) {
            Some(seq) => seq,
            None => self.send(account, ControlOp::Recall, now),
        }
    }

    pub(super) fn shown(&self, now: Timestamp) -> Vec<Control> {
        self.since(before(now, SHOWN)).copied().collect()
    }

    /// Drops old messages; says how many.
    pub(super) fn prune(&mut self, now: Timestamp) -> u64 {
        let all = self.sent.len();
        let kept_since = before(now, KEPT);
        self.sent.retain(|(at, _)| *at >= kept_since);
        (all - self.sent.len()) as u64
    }

    fn since(&self, at: Timestamp) -> impl DoubleEndedIterator<Item = &Control> {
        self.sent
            .iter()
            .filter(move |(sent, _)| *sent > at)
            .map(|(_, message)| message)
    }
}
