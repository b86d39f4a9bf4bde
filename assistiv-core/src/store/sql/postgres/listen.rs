//! Waits for the server to say that something was changed.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions};
use tokio::sync::Mutex;

use super::connect::Role;
use crate::store::News;
use crate::store::sql::changes::CHANNEL;
use crate::store::sql::ledger::controls::CHANNEL as MESSAGES;

/// How long to wait before listening is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A session that listens, for one waiter at a time; others go by what they ask for themselves.
pub(super) struct Listener {
    pool: PgPool,
    session: Mutex<Option<PgListener>>,
}

// === impl Listener ===

impl Listener {
    pub(super) fn new(options: &PgConnectOptions) -> Self {
        let role = Role::Listen;
        let options = options.clone().application_name(role.name());
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(options);
        Self {
            pool,
            session: Mutex::new(None),
        }
    }

    /// Waits until something may have been changed: the server says so, or might have said so
    /// unheard.
    pub(super) async fn news(&self) -> News {
        let mut place = self.session.lock().await;
        loop {
            if let Some(session) = &mut *place {
                if let Ok(Some(first)) = session.try_recv().await {
                    let mut news = News::default();
                    note(&mut news, &first);
                    // One look is enough for all that has come in.
                    while let Some(next) = session.next_buffered() {
                        note(&mut news, &next);
                    }
                    return news;
                }
                *place = None;
            }
            match self.listen().await {
                Ok(session) => {
                    *place = Some(session);
                    return News {
                        changes: true,
                        messages: true,
                    };
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "nobody listens");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        let mut session = PgListener::connect_with(&self.pool).await?;
        session.listen_all([CHANNEL, MESSAGES]).await?;
        Ok(session)
    }

    pub(super) async fn close(&self) {
        if let Ok(mut place) = self.session.try_lock() {
            place.take();
        }
        self.pool.close().await;
    }
}

fn note(news: &mut News, heard: &PgNotification) {
    if heard.channel() == MESSAGES {
        news.messages = true;
    } else {
        news.changes = true;
    }
}
