//! Which schedules there are: a depth-first search that repeats a run from its beginning for each of them.
//!
//! Two actions commute when they are of different nodes and do not meet in the database: an answer that is delivered,
//! a call that is lost, a provider that answers and the death of a process concern their node alone; settlements of
//! two nodes touch rows of their own. Of schedules that differ only in the order of such actions one is run (sleep
//! sets). Everything else is tried in every order: leases of both nodes, leases beside settlements (a lease reads what
//! the other node's slot holds), corrections, and whatever lets time pass.

use crate::hub::{Action, How};

/// One decision of the run that is repeated.
struct Decision {
    options: Vec<Action>,
    /// Tried already, here or before, in an order that makes no difference.
    asleep: Vec<Action>,
    chosen: usize,
}

/// The search.
#[derive(Default)]
pub struct Explorer {
    decisions: Vec<Decision>,
    depth: usize,
    pub runs: u64,
    pub pruned: u64,
}

// === impl Explorer ===

impl Explorer {
    pub fn begin(&mut self) {
        self.depth = 0;
    }

    /// What to do of these; `None` when whatever follows was run before in another order.
    pub fn choose(&mut self, options: Vec<Action>) -> Option<Action> {
        if self.depth == self.decisions.len() {
            let asleep = match self.decisions.last() {
                Some(last) => last.asleep_after(),
                None => Vec::new(),
            };
            let chosen = options.iter().position(|option| !asleep.contains(option))?;
            self.decisions.push(Decision {
                options,
                asleep,
                chosen,
            });
        } else {
            let known = &self.decisions[self.depth].options;
            assert_eq!(
                *known,
                options,
                "the run cannot be repeated: {:?}",
                self.path()
            );
        }
        let decision = &self.decisions[self.depth];
        self.depth += 1;
        Some(decision.options[decision.chosen].clone())
    }

    /// Goes on to the next schedule; `false` when there is none.
    pub fn advance(&mut self) -> bool {
        while let Some(last) = self.decisions.last_mut() {
            let next = (last.chosen + 1..last.options.len())
                .find(|next| !last.asleep.contains(&last.options[*next]));
            if let Some(next) = next {
                last.chosen = next;
                return true;
            }
            self.decisions.pop();
        }
        false
    }

    /// The choices so far.
    pub fn path(&self) -> Vec<Action> {
        let chosen = |decision: &Decision| decision.options[decision.chosen].clone();
        self.decisions.iter().take(self.depth).map(chosen).collect()
    }
}

// === impl Decision ===

impl Decision {
    /// What need not be tried after the choice: it was tried instead of it, and commutes with it.
    fn asleep_after(&self) -> Vec<Action> {
        let chosen = &self.options[self.chosen];
        let tried = self.options[..self.chosen].iter();
        let before = self.asleep.iter().chain(tried);
        before
            .filter(|action| commute(action, chosen))
            .cloned()
            .collect()
    }
}

fn commute(a: &Action, b: &Action) -> bool {
    let lets_time_pass = |action: &Action| {
        matches!(
            action.how,
            How::Slow | How::CutOff | How::CutOffLateFirst | How::CutOffBriefly
        )
    };
    if a.node == b.node || lets_time_pass(a) || lets_time_pass(b) {
        return false;
    }
    let is_local = |action: &Action| {
        matches!(action.how, How::LoseRequest | How::LoseReply | How::Die)
            || action.call.ends_with('!')
            || action.call.starts_with("answer")
            || action.call.starts_with("lane")
            || action.call.starts_with("slot")
    };
    let settles = |action: &Action| {
        action.call.starts_with("settle") && !action.call.starts_with("settle_late")
    };
    is_local(a) || is_local(b) || settles(a) && settles(b)
}
