//! A provider that does as a test says, in a dialect of its own: one line for each word, `usage IN OUT`, `end`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistiv_core::billing::Usage;
use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::conversation::{AnswerEvent, FinishReason};
use assistiv_core::provider::{
    AnswerWriter, Credential, Decoder, Encoded, Output, Provider, ProviderError, ProviderErrorKind,
    Support, Transport, TransportError, TransportErrorKind, UpstreamBody,
};
use assistiv_core::routing::Target;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::Semaphore;

/// What the provider is to do.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    usage: Option<(i64, i64)>,
    words: usize,
    held_back: bool,
    stall_after: Option<usize>,
    wait_after: Option<usize>,
    break_after: Option<usize>,
    fail_first: bool,
    pause: bool,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::whole(0, 0)
        }
    }

    pub fn whole(input: i64, output: i64) -> Self {
        let usage = Some((input, output));
        let words = usize::try_from(output).unwrap();
        Self {
            status: 200,
            usage,
            words,
            held_back: false,
            stall_after: None,
            wait_after: None,
            break_after: None,
            fail_first: false,
            pause: false,
        }
    }

    pub fn stream(input: i64, output: i64) -> Self {
        Self::whole(input, output)
    }

    /// Answers only once the test lets it.
    pub fn held_back(mut self) -> Self {
        self.held_back = true;
        self
    }

    pub fn stalling_after(mut self, words: usize) -> Self {
        self.stall_after = Some(words);
        self
    }

    /// Goes on only once the test lets it.
    #[cfg(feature = "testing")]
    pub fn waiting_after(mut self, words: usize) -> Self {
        self.wait_after = Some(words);
        self
    }

    pub fn breaking_after(mut self, words: usize) -> Self {
        self.break_after = Some(words);
        self
    }

    pub fn failing_first(mut self) -> Self {
        self.fail_first = true;
        self
    }

    /// Lets others run between words, as a network would.
    pub fn pausing(mut self) -> Self {
        self.pause = true;
        self
    }

    pub fn without_usage(mut self) -> Self {
        self.usage = None;
        self
    }
}

#[derive(Clone)]
pub struct Scripted(Arc<Inner>);

struct Inner {
    answers: Mutex<VecDeque<Answer>>,
    gate: Semaphore,
    requests: AtomicUsize,
    last_limit: AtomicU64,
    dropped: Arc<AtomicBool>,
}

impl Scripted {
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            answers: Mutex::default(),
            gate: Semaphore::new(0),
            requests: AtomicUsize::new(0),
            last_limit: AtomicU64::new(0),
            dropped: Arc::default(),
        }))
    }

    /// The last answer stays in force.
    pub fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        *self.0.answers.lock().unwrap() = answers.into_iter().collect();
    }

    pub fn let_go(&self) {
        self.0.gate.add_permits(10_000);
    }

    #[cfg(feature = "testing")]
    pub fn let_one_go(&self) {
        self.0.gate.add_permits(1);
    }

    pub fn requests(&self) -> usize {
        self.0.requests.load(Ordering::SeqCst)
    }

    pub fn last_limit(&self) -> Option<u64> {
        Some(self.0.last_limit.load(Ordering::SeqCst)).filter(|limit| *limit > 0)
    }

    pub fn was_dropped(&self) -> bool {
        self.0.dropped.load(Ordering::SeqCst)
    }

    pub async fn wait_for_requests(&self, count: usize) {
        while self.requests() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[async_trait]
impl Provider for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn support(&self, _: Operation) -> Support {
        Support::Translated
    }

    fn encode(&self, _: &InferenceRequest, target: &Target) -> Result<Encoded, ProviderError> {
        self.0
            .last_limit
            .store(target.output_limit().unwrap_or(0), Ordering::SeqCst);
        Ok(Request::new(Bytes::new()).into())
    }

    async fn authorize(&self, _: &mut Request<Bytes>, _: &Credential) -> Result<(), ProviderError> {
        Ok(())
    }

    fn classify(&self, status: StatusCode, _: &HeaderMap, _: &[u8]) -> ProviderError {
        ProviderError::new(match status.as_u16() {
            503 => ProviderErrorKind::Overloaded,
            400..500 => ProviderErrorKind::BadRequest,
            _ => ProviderErrorKind::Failed,
        })
    }

    fn decoder(&self, request: &InferenceRequest, target: &Target) -> Box<dyn Decoder> {
        Box::new(Lines {
            writer: AnswerWriter::new(request, target),
            rest: Vec::new(),
        })
    }
}

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<UpstreamBody>, TransportError> {
        self.0.requests.fetch_add(1, Ordering::SeqCst);
        let answer = {
            let mut answers = self.0.answers.lock().unwrap();
            if answers.len() > 1 {
                answers.pop_front().unwrap()
            } else {
                answers.front().cloned().unwrap()
            }
        };
        if answer.held_back {
            self.0.gate.acquire().await.unwrap().forget();
        }
        let status = answer.status;
        let seen = Dropped(self.0.dropped.clone());
        let start = (0, answer, seen, self.clone());
        let frames = stream::unfold(start, |(step, answer, seen, provider)| async move {
            if answer.wait_after == Some(step) {
                provider.0.gate.acquire().await.unwrap().forget();
            }
            let frame = answer.frame(step).await?;
            Some((frame, (step + 1, answer, seen, provider)))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    }
}

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Answer {
    async fn frame(&self, step: usize) -> Option<Result<Frame<Bytes>, TransportError>> {
        if self.status != 200 {
            return None;
        }
        if self.pause && step.is_multiple_of(100) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if self.stall_after == Some(step) {
            std::future::pending::<()>().await;
        }
        if self.break_after == Some(step) {
            return Some(Err(TransportError::new(TransportErrorKind::Broken)));
        }
        let line = match step {
            0 if self.fail_first => "fail\n".to_owned(),
            step if step < self.words => "word \n".to_owned(),
            step if step == self.words => match self.usage {
                Some((input, output)) => format!("usage {input} {output}\n"),
                None => "nothing\n".to_owned(),
            },
            step if step == self.words + 1 => "end\n".to_owned(),
            _ => return None,
        };
        Some(Ok(Frame::data(line.into())))
    }
}

struct Lines {
    writer: AnswerWriter,
    rest: Vec<u8>,
}

impl Decoder for Lines {
    fn push(&mut self, chunk: Bytes, out: &mut Output) -> Result<(), ProviderError> {
        self.rest.extend_from_slice(&chunk);
        while let Some(at) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=at).collect();
            let line = String::from_utf8(line).unwrap();
            let line = line.trim_end_matches('\n');
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["word", _] => self.writer.write(AnswerEvent::Text(line), out),
                ["usage", input, output] => {
                    let (input, output) = (input.parse().unwrap(), output.parse().unwrap());
                    let usage = Usage {
                        input,
                        output,
                        ..Usage::default()
                    };
                    self.writer.write(AnswerEvent::Usage(usage.into()), out);
                }
                ["end"] => {
                    let stop = AnswerEvent::finished(FinishReason::Stop);
                    self.writer.write(stop, out);
                }
                ["fail"] => return Err(ProviderError::new(ProviderErrorKind::Overloaded)),
                _ => {}
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        if !out.is_complete() {
            return Err(ProviderError::new(ProviderErrorKind::Interrupted));
        }
        self.writer.write(AnswerEvent::Ended, out);
        Ok(())
    }
}
