//! Which target a call is sent to next.

use std::collections::VecDeque;

use crate::error::Error;
use crate::id::PlatformId;
use crate::provider::ProviderErrorKind;
use crate::routing::{Health, Retries, Target};

/// The attempts of one call, until an answer begins.
pub(super) struct Attempts<'a> {
    health: &'a Health,
    /// `None` for a caller without a platform, who has no targets either.
    retries: Option<Retries>,
    left: VecDeque<Target>,
    /// A target that is asked a second time.
    again: Option<Target>,
    tried: usize,
    may_repeat: bool,
    is_over: bool,
}

impl<'a> Attempts<'a> {
    /// The attempts of a platform's call at these targets, in this order.
    pub(super) fn new(
        health: &'a Health,
        platform: Option<PlatformId>,
        targets: Vec<Target>,
    ) -> Self {
        let retries = platform.map(|platform| health.retries(platform));
        if let Some(retries) = &retries {
            retries.earn();
        }
        Self {
            health,
            retries,
            left: targets.into(),
            again: None,
            tried: 0,
            may_repeat: true,
            is_over: false,
        }
    }

    /// The target to ask, if another attempt may be made.
    pub(super) fn next(&mut self) -> Option<Target> {
        if self.is_over {
            return None;
        }
        let target = match self.again.take() {
            Some(target) => target,
            None => loop {
                let target = self.left.pop_front()?;
                if self.goes_to(&target) {
                    break target;
                }
            },
        };
        let is_retry = self.tried > 0;
        if is_retry && !self.retries.as_ref().is_none_or(Retries::use_up) {
            return None;
        }
        self.tried += 1;
        Some(target)
    }

    /// Takes note of how the attempt at `target` ended: `None` when its answer has begun.
    pub(super) fn ended(&mut self, target: &Target, failure: Option<&Error>) {
        let Some(failure) = failure else {
            return self.health.succeeded(target);
        };
        let Error::Provider(error) = failure else {
            // The gateway gave up, not the provider.
            self.is_over = true;
            return self.health.abandoned(target);
        };
        self.health.failed(target, error);
        self.is_over = !error.kind().may_try_another();
        if error.kind() == ProviderErrorKind::Conflict && self.may_repeat {
            self.may_repeat = false;
            self.again = Some(target.clone());
        }
    }

    /// A sick target is passed over, unless the call has no other: then the first of them is asked all the same.
    fn goes_to(&self, target: &Target) -> bool {
        self.health.admits(target)
            || (self.tried == 0 && self.left.iter().all(|other| self.health.is_sick(other)))
    }
}
