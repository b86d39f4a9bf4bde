//! An adapter for one more provider, written outside of the gateway's crates.
//!
//! The provider of this example speaks plain text: it answers with lines of words and closes with a line
//! `used IN OUT`. A real adapter differs in its URL and its parser; with a network it would use the transport of
//! `assistiv-providers` instead of its own.

use std::sync::Arc;

use assistiv_core::billing::Usage;
use assistiv_core::call::InferenceRequest;
use assistiv_core::conversation::{AnswerEvent, FinishReason};
use assistiv_core::provider::{
    AnswerWriter, Credential, Decoder, Encoded, Output, Provider, ProviderError, ProviderErrorKind,
    Registered, Support, Transport, TransportError, UpstreamBody, full_body,
};
use assistiv_core::routing::{Catalogue, Target};
use assistiv_core::tenancy::CreatePlatform;
use assistiv_core::{Call, Gateway, Operation};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

struct Acme;

#[async_trait]
impl Provider for Acme {
    fn name(&self) -> &str {
        "acme"
    }

    fn support(&self, operation: Operation) -> Support {
        match operation {
            Operation::ChatCompletions => Support::Translated,
            _ => Support::Unsupported,
        }
    }

    fn encode(
        &self,
        request: &InferenceRequest,
        target: &Target,
    ) -> Result<Encoded, ProviderError> {
        if request.choices() > 1 {
            let refused = ProviderError::new(ProviderErrorKind::UnsupportedParameter);
            return Err(refused
                .with_param("n")
                .with_message("Acme gives one answer at a time"));
        }
        let messages = request
            .members()
            .find("messages")
            .unwrap_or("[]")
            .to_owned();
        // What the caller can pay for where that is less than it asked for, else what it asked for.
        let asked = request.output_limit().map(|(_, limit)| limit);
        let limit = target.output_limit().or(asked).unwrap_or(4096);
        Request::post(format!(
            "{}/say?model={}&limit={limit}",
            target.base_url(),
            target.upstream_model()
        ))
        .body(messages.into())
        .map(Encoded::from)
        .map_err(|error| ProviderError::new(ProviderErrorKind::BadRequest).with_source(error))
    }

    async fn authorize(&self, _: &mut Request<Bytes>, _: &Credential) -> Result<(), ProviderError> {
        Ok(())
    }

    fn classify(&self, status: StatusCode, _: &HeaderMap, _: &[u8]) -> ProviderError {
        ProviderError::new(if status.is_client_error() {
            ProviderErrorKind::BadRequest
        } else {
            ProviderErrorKind::Failed
        })
    }

    fn decoder(&self, request: &InferenceRequest, target: &Target) -> Box<dyn Decoder> {
        Box::new(Lines {
            writer: AnswerWriter::new(request, target),
            unread: Vec::new(),
        })
    }
}

/// Reads the answer, however it is cut into chunks.
struct Lines {
    writer: AnswerWriter,
    unread: Vec<u8>,
}

impl Decoder for Lines {
    fn push(&mut self, chunk: Bytes, out: &mut Output) -> Result<(), ProviderError> {
        let malformed = || ProviderError::new(ProviderErrorKind::Malformed);
        self.unread.extend_from_slice(&chunk);
        // A chunk may end anywhere, also inside a character: only whole lines are text.
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = std::str::from_utf8(&line[..end]).map_err(|_| malformed())?;
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["used", input, output] => {
                    let input = input.parse().map_err(|_| malformed())?;
                    let output = output.parse().map_err(|_| malformed())?;
                    let usage = Usage {
                        input,
                        output,
                        ..Usage::default()
                    };
                    self.writer.write(AnswerEvent::Usage(usage.into()), out);
                    let stop = AnswerEvent::finished(FinishReason::Stop);
                    self.writer.write(stop, out);
                }
                _ => self.writer.write(AnswerEvent::Text(line), out),
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

/// Stands in for the network: the provider's answer is always the same.
#[async_trait]
impl Transport for Acme {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<UpstreamBody>, TransportError> {
        Ok(Response::new(full_body("At your \nservice.\nused 12 4\n")))
    }
}

const CATALOGUE: &str = r#"{
    "providers": [{ "slug": "acme", "name": "Acme", "base_url": "https://api.acme.example" }],
    "models": [{ "slug": "acme-1", "released": "2026-01-01T00:00:00Z", "max_output_tokens": 4096, "routes": [
        { "provider": "acme", "provider_model_id": "acme-1", "prices": [
            { "effective_from": "2026-01-01T00:00:00Z", "rates": { "input": "0.50", "output": "1.50" } }] }] }]
}"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let acme = Registered {
        provider: Arc::new(Acme),
        transport: Arc::new(Acme),
        needs_credential: false,
    };
    let gateway = Gateway::builder()
        .catalogue(Catalogue::built_in()?.extended(CATALOGUE)?)
        .provider("acme".parse()?, acme)
        .build()
        .await?;
    let platform = CreatePlatform {
        name: "Shop".into(),
        initial_balance: "1.00".parse()?,
        ..Default::default()
    };
    let platform = gateway
        .tenancy()
        .run(&gateway.local_operator(), (), platform)
        .await?;

    let body = r#"{"model":"acme-1","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let call = Call::new(platform.raw_key, Operation::ChatCompletions, body);
    let stream = gateway
        .inference()
        .oneshot(call)
        .await?
        .into_body()
        .collect()
        .await?
        .to_bytes();
    show(&String::from_utf8_lossy(&stream));
    gateway.shut_down(std::time::Duration::from_secs(1)).await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn show(text: &str) {
    println!("{text}");
}
