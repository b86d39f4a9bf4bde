//! Follows what other nodes change, so that nothing outdated is served for longer than a second.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::{Authenticator, SweeperScope};
use crate::routing::Router;
use crate::store::{Change, ChangeFeed, Changed, PriceStore, StoreError};

/// How often the store is asked without being told to.
const EVERY: Duration = Duration::from_millis(500);

/// After a longer time without an answer some changes may not be shown any more.
const SHOWN: Duration = Duration::from_secs(50);

/// Forgets the copies of what others have changed.
pub(super) struct Follower {
    feed: Arc<dyn ChangeFeed>,
    authenticator: Authenticator,
    router: Router,
    prices: Arc<dyn PriceStore>,
    seen: HashSet<i64>,
    heard_at: Instant,
}

impl Follower {
    pub(super) fn new(
        feed: Arc<dyn ChangeFeed>,
        authenticator: Authenticator,
        router: Router,
        prices: Arc<dyn PriceStore>,
    ) -> Self {
        Self {
            feed,
            authenticator,
            router,
            prices,
            seen: HashSet::new(),
            heard_at: Instant::now(),
        }
    }

    /// Runs until the gateway stops.
    pub(super) async fn run(mut self, stopping: CancellationToken) {
        if !self.feed.is_shared() {
            return;
        }
        let feed = self.feed.clone();
        let mut news = pin!(feed.news());
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what other nodes changed cannot be read"
                );
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = &mut news => news.set(feed.news()),
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let recent = self.feed.recent(&SweeperScope::engine()).await?;
        if asked_at.duration_since(self.heard_at) > SHOWN {
            self.authenticator.forget_all();
            self.router.forget_all();
            self.router.read_prices(&*self.prices).await?;
        }
        let news = |change: &&Change| !self.seen.contains(&change.seq);
        if recent
            .iter()
            .filter(news)
            .any(|change| change.what == Changed::Prices)
        {
            self.router.read_prices(&*self.prices).await?;
        }
        self.heard_at = asked_at;
        recent
            .iter()
            .filter(news)
            .for_each(|change| self.forget(change));
        self.seen = recent.iter().map(|change| change.seq).collect();
        Ok(())
    }

    fn forget(&self, change: &Change) {
        match change.what {
            Changed::Holders => self.authenticator.forget(change.platform),
            Changed::Configs => self.router.forget(change.platform),
            Changed::Prices => {}
        }
    }
}
