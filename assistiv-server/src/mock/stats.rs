//! What the mock saw: counters for reconciling bills, and the newest requests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use serde_json::Value;
use tokio::sync::watch;

/// Where Anthropic's clients put their key.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Where Google's clients put theirs.
pub(super) const GOOGLE_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

const RECORDED_MAX: usize = 256;
const RECORDED_BYTES_MAX: usize = 64 << 20;
const MODELS_MAX: usize = 256;

/// Counters since the start. `requests = finished + failed + dropped` once nothing is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests on any path.
    pub requests: u64,
    /// Sound answers whose last byte was handed to the connection.
    pub finished: u64,
    /// Answers that the mock spoilt itself: errors, cuts, garbage, early ends.
    pub failed: u64,
    /// Requests whose client went away before the end of the answer.
    pub dropped: u64,
    /// Prompt tokens of finished answers, as `usage` says or, with `no_usage` and `zero_usage`,
    /// as it would have said: what a provider would charge.
    pub prompt_tokens: u64,
    /// Completion tokens of finished answers, counted like the prompt tokens.
    pub completion_tokens: u64,
}

/// Tokens of finished answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: u64,
    /// Completion tokens, reasoning included.
    pub completion_tokens: u64,
}

/// A request as the mock received it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recorded {
    /// Path and query.
    pub path: String,
    /// All headers; `authorization` is marked sensitive and shows no value in `Debug`.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// How an answer ends when its client stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Sound; with the model and the tokens when it was a completion.
    Finished(Option<(String, Tokens)>),
    /// Spoilt by the mock.
    Failed,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    counters: watch::Sender<Counters>,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Counters {
    stats: Stats,
    by_model: BTreeMap<String, Tokens>,
}

#[derive(Debug, Default)]
struct Recent {
    requests: VecDeque<Recorded>,
    body_bytes: usize,
}

/// One request under way. Counted as dropped unless it was closed before.
#[derive(Debug)]
pub(super) struct Exchange {
    shared: Arc<Shared>,
    number: u64,
    closed: bool,
}

// === impl Recorded ===

impl Recorded {
    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// When the body is not JSON.
    pub fn json(&self) -> serde_json::Result<Value> {
        serde_json::from_slice(&self.body)
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let mut number = 0;
        self.counters.send_modify(|counters| {
            counters.stats.requests += 1;
            number = counters.stats.requests;
        });
        Exchange {
            shared: Arc::clone(self),
            number,
            closed: false,
        }
    }

    pub(super) fn record(&self, parts: &Parts, body: &Bytes) {
        let mut headers = parts.headers.clone();
        for name in [AUTHORIZATION, API_KEY, GOOGLE_KEY] {
            if let Some(key) = headers.get_mut(name) {
                key.set_sensitive(true);
            }
        }
        let path = parts
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        let mut recent = self.recent();
        recent.body_bytes += body.len();
        recent.requests.push_back(Recorded {
            path,
            headers,
            body: body.clone(),
        });
        while recent.requests.len() > RECORDED_MAX || recent.body_bytes > RECORDED_BYTES_MAX {
            let Some(oldest) = recent.requests.pop_front() else {
                break;
            };
            recent.body_bytes -= oldest.body.len();
        }
    }

    pub(super) fn stats(&self) -> Stats {
        self.counters.borrow().stats
    }

    pub(super) fn tokens_by_model(&self) -> BTreeMap<String, Tokens> {
        self.counters.borrow().by_model.clone()
    }

    pub(super) fn last_request(&self) -> Option<Recorded> {
        self.recent().requests.back().cloned()
    }

    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.recent().requests.iter().cloned().collect()
    }

    pub(super) async fn wait(&self, timeout: Duration, reached: impl Fn(&Stats) -> bool) -> bool {
        let mut counters = self.counters.subscribe();
        let reached = counters.wait_for(|counters| reached(&counters.stats));
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Counters ===

impl Counters {
    fn finished(&mut self, charged: Option<(String, Tokens)>) {
        self.stats.finished += 1;
        let Some((model, tokens)) = charged else {
            return;
        };
        // Knobs can ask for any number of tokens, so sums must not overflow.
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.stats.prompt_tokens, tokens.prompt_tokens);
        add(&mut self.stats.completion_tokens, tokens.completion_tokens);
        if self.by_model.len() < MODELS_MAX || self.by_model.contains_key(&model) {
            let sum = self.by_model.entry(model).or_default();
            add(&mut sum.prompt_tokens, tokens.prompt_tokens);
            add(&mut sum.completion_tokens, tokens.completion_tokens);
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// Counts from 1; makes the ids of the answer.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Counts how the answer ended; only the first call has an effect.
    pub(super) fn close(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.shared.counters.send_modify(|counters| match outcome {
            Outcome::Finished(charged) => counters.finished(charged),
            Outcome::Failed => counters.stats.failed += 1,
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.closed {
            self.shared
                .counters
                .send_modify(|counters| counters.stats.dropped += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(shared: &Shared, path: &str, bytes: usize) {
        let (parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
        shared.record(&parts, &Bytes::from(vec![0; bytes]));
    }

    #[test]
    fn keeps_the_newest_256_requests() {
        let shared = Shared::default();
        (0..300).for_each(|i| record(&shared, &format!("/{i}"), 1));
        assert_eq!(shared.requests().len(), 256);
        assert_eq!(shared.requests()[0].path, "/44");
        assert_eq!(shared.last_request().unwrap().path, "/299");
    }

    #[test]
    fn large_bodies_push_older_requests_out() {
        let shared = Shared::default();
        (0..5).for_each(|i| record(&shared, &format!("/{i}"), 15 << 20));
        assert_eq!(shared.requests().len(), 4);
    }

    #[test]
    fn an_exchange_is_counted_once() {
        let shared = Arc::new(Shared::default());
        let mut exchange = shared.begin();
        exchange.close(Outcome::Failed);
        exchange.close(Outcome::Finished(None));
        drop(exchange);
        drop(shared.begin());
        let stats = shared.stats();
        assert_eq!(
            (stats.requests, stats.failed, stats.finished, stats.dropped),
            (2, 1, 0, 1)
        );
    }

    #[test]
    fn tokens_are_summed_by_model() {
        let shared = Arc::new(Shared::default());
        for model in ["a", "b", "a"] {
            let tokens = Tokens {
                prompt_tokens: 2,
                completion_tokens: u64::MAX,
            };
            shared
                .begin()
                .close(Outcome::Finished(Some((model.to_owned(), tokens))));
        }
        assert_eq!(shared.stats().prompt_tokens, 6);
        assert_eq!(shared.stats().completion_tokens, u64::MAX);
        assert_eq!(shared.tokens_by_model()["a"].prompt_tokens, 4);
    }
}
