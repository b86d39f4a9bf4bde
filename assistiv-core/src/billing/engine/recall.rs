//! How long calls wait for what other nodes have at hand of an account: decided without I/O.
//!
//! An account that cannot grant what waiting calls lack, while other nodes hold slices of it, is recalled: they
//! return what they do not use. The calls wait for that, and the account is asked again now and then. Only then is
//! it known what there is.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::id::AccountId;

/// Until an account is asked again after a recall: other nodes answer within milliseconds where they are told of
/// it, and within a second where they poll.
const PAUSE_FIRST: Duration = Duration::from_millis(25);
/// Between two recalls of an account.
const RECALL_EVERY: Duration = Duration::from_secs(1);

/// An account whose calls wait for other nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// When it is asked again.
    pub(super) ask_at: Instant,
    until: Instant,
    pause: Duration,
}

/// When accounts were recalled last.
#[derive(Debug, Default)]
pub(super) struct Recalls(HashMap<AccountId, Instant>);

// === impl Waiting ===

impl Waiting {
    /// Begins to wait.
    pub(super) fn begin(now: Instant, patience: Duration) -> Self {
        Self {
            ask_at: now + PAUSE_FIRST.min(patience),
            until: now + patience,
            pause: PAUSE_FIRST,
        }
    }

    /// Goes on waiting after an answer that was too little; `None` when it was the last.
    pub(super) fn again(self, now: Instant) -> Option<Self> {
        let pause = self.pause * 2;
        (now < self.until).then(|| Self {
            ask_at: (now + pause).min(self.until),
            pause,
            ..self
        })
    }
}

// === impl Recalls ===

impl Recalls {
    /// Whether an account may be recalled now; notes that it is.
    pub(super) fn may(&mut self, account: AccountId, now: Instant) -> bool {
        self.0
            .retain(|_, at| now.duration_since(*at) < RECALL_EVERY);
        let is_new = !self.0.contains_key(&account);
        if is_new {
            self.0.insert(account, now);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_a_few_times_and_once_more_at_the_end() {
        let start = Instant::now();
        let patience = Duration::from_millis(1_200);
        let mut asked = Vec::new();
        let mut waiting = Some(Waiting::begin(start, patience));
        while let Some(now) = waiting {
            asked.push(now.ask_at.duration_since(start).as_millis());
            waiting = now.again(now.ask_at);
        }
        assert_eq!(asked, [25, 75, 175, 375, 775, 1200]);
    }

    #[test]
    fn an_account_is_recalled_once_a_second() {
        let start = Instant::now();
        let mut recalls = Recalls::default();
        assert!(recalls.may(AccountId(1), start));
        assert!(recalls.may(AccountId(2), start));
        assert!(!recalls.may(AccountId(1), start + Duration::from_millis(999)));
        assert!(recalls.may(AccountId(1), start + Duration::from_secs(1)));
    }
}
