//! What the fuzz targets share: an answer of arbitrary bytes, read by a decoder in one piece and in several, for
//! callers of each dialect.

use std::sync::Arc;

use assistiv_core::billing::Usage;
use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::provider::{
    Output, Piece, Provider, ProviderErrorKind, Registered, Transport, TransportError,
    TransportErrorKind, UpstreamBody,
};
use assistiv_core::routing::{Catalogue, Target};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;

/// An adapter with requests whose answers are to be decoded.
pub struct Decoders {
    provider: Arc<dyn Provider>,
    target: Target,
    requests: Vec<InferenceRequest>,
}

/// What a decoder made of an answer, but for what it draws by lot.
#[derive(Debug, PartialEq)]
struct Outcome {
    content: usize,
    terminal: usize,
    usage: Option<Usage>,
    input: Option<Usage>,
    tier: Option<String>,
    content_bytes: u64,
    complete: bool,
    error: Option<ProviderErrorKind>,
}

/// Nothing is sent anywhere.
struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn send(
        &self,
        _: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, TransportError> {
        Err(TransportError::new(TransportErrorKind::Connect))
    }
}

impl Decoders {
    /// Decoders for a model's answers to each of the dialects, streamed and whole.
    ///
    /// # Panics
    /// When the built-in catalogue has no such model.
    pub fn new(provider: impl Provider + 'static, model: &str, operations: &[Operation]) -> Self {
        let provider: Arc<dyn Provider> = Arc::new(provider);
        let registered = Registered {
            provider: provider.clone(),
            transport: Arc::new(Nowhere),
            needs_credential: true,
        };
        let at = "2026-11-23T12:00:00Z".parse().unwrap();
        let catalogue = Catalogue::built_in().unwrap();
        let target = Target::for_testing(&catalogue, model, registered, at).unwrap();
        let requests = operations
            .iter()
            .flat_map(|operation| [false, true].map(|stream| (*operation, stream)))
            .filter(|(operation, stream)| !(*operation == Operation::Embeddings && *stream))
            .map(|(operation, stream)| request(operation, model, stream))
            .collect();
        Self {
            provider,
            target,
            requests,
        }
    }

    /// Reads one answer. The first byte chooses the request, the second how the rest is cut and how it ends.
    ///
    /// # Panics
    /// When how it is cut matters, when content follows the end, or when an answer ends well that is not complete.
    pub fn run(&self, data: &[u8]) {
        let [which, how, answer @ ..] = data else {
            return;
        };
        let request = &self.requests[usize::from(*which) % self.requests.len()];
        let is_broken = how & 0x80 != 0;
        let size = usize::from(how & 0x7f) + 1;
        let whole = self.decode(request, std::iter::once(answer), is_broken);
        let pieces = self.decode(request, answer.chunks(size), is_broken);
        assert_eq!(whole, pieces);
        assert!(is_broken || whole.error.is_some() || whole.complete);
    }

    fn decode<'a>(
        &self,
        request: &InferenceRequest,
        chunks: impl Iterator<Item = &'a [u8]>,
        is_broken: bool,
    ) -> Outcome {
        let mut decoder = self.provider.decoder(request, &self.target);
        let mut out = Output::new();
        let mut result = Ok(());
        for chunk in chunks {
            result = decoder.push(Bytes::copy_from_slice(chunk), &mut out);
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() && !is_broken {
            result = decoder.finish(&mut out);
        }
        let (mut content, mut terminal) = (0, 0);
        while let Some(piece) = out.pop() {
            match piece {
                Piece::Content(bytes) => {
                    assert_eq!(terminal, 0, "content after the end");
                    content += bytes.len();
                }
                Piece::Terminal(bytes) => terminal += bytes.len(),
            }
        }
        Outcome {
            content,
            terminal,
            usage: out.usage().copied(),
            input: out.input().copied(),
            tier: out.service_tier().map(str::to_owned),
            content_bytes: out.content_bytes(),
            complete: out.is_complete(),
            error: result.err().map(|error| error.kind()),
        }
    }
}

fn request(operation: Operation, model: &str, stream: bool) -> InferenceRequest {
    let tool = json!({ "type": "object" });
    let body = match operation {
        Operation::Embeddings => json!({ "model": model, "input": ["x", "y"] }),
        Operation::Responses => json!({
            "model": model, "stream": stream, "input": "x",
            "tools": [{ "type": "function", "name": "f", "parameters": tool }]
        }),
        Operation::Messages => json!({
            "model": model, "stream": stream, "max_tokens": 100,
            "messages": [{ "role": "user", "content": "x" }],
            "tools": [{ "name": "f", "input_schema": tool }]
        }),
        _ => json!({
            "model": model, "stream": stream, "stream_options": { "include_usage": true },
            "messages": [{ "role": "user", "content": "x" }],
            "tools": [{ "type": "function", "function": { "name": "f", "parameters": tool } }]
        }),
    };
    let mut body = body;
    if !stream {
        body.as_object_mut().unwrap().remove("stream_options");
    }
    InferenceRequest::parse(operation, body.to_string().into()).unwrap()
}
