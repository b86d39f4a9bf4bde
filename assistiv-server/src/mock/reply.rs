//! An answer before it is sent: status, headers, and the script of its body.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::body::{ScriptBody, Step};
use super::knobs::{Fault, Knobs};
use super::stats::{Exchange, Outcome};

const BAD_GATEWAY_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\
    <body><center><h1>502 Bad Gateway</h1></center><hr><center>cloudflare</center></body></html>\n";

/// What describes the gateway's own account, which no caller may see.
const ACCOUNT_HEADERS: [(&str, &str); 12] = [
    ("anthropic-organization-id", "org-mock"),
    ("anthropic-ratelimit-requests-limit", "50"),
    ("openai-organization", "org-mock"),
    ("openai-project", "proj_mock"),
    ("openai-processing-ms", "7"),
    ("openai-version", "2020-10-01"),
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("x-ratelimit-limit-tokens", "2000000"),
    ("x-ratelimit-remaining-tokens", "1999000"),
    ("x-ratelimit-reset-tokens", "30ms"),
];

/// A request whose body is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) number: u64,
    pub(super) parts: &'a Parts,
    pub(super) body: &'a Bytes,
}

/// When the head is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Now,
    After(Duration),
    Never,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: Head,
    secret_header: bool,
    status: StatusCode,
    kind: Kind,
    steps: Vec<Step>,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A body of this length, which a cut does not reach.
    Whole(&'static str, usize),
    Stream,
}

// === impl Reply ===

impl Reply {
    pub(super) fn json(status: StatusCode, body: impl Into<Bytes>, outcome: Outcome) -> Self {
        Self::whole(status, "application/json", body.into(), outcome)
    }

    /// A page of something between the gateway and the provider.
    pub(super) fn bad_gateway() -> Self {
        let body = Bytes::from_static(BAD_GATEWAY_PAGE.as_bytes());
        let kind = "text/html; charset=UTF-8";
        Self::whole(StatusCode::BAD_GATEWAY, kind, body, Outcome::Failed)
    }

    /// An answer that is not streamed, as the knobs want it.
    pub(super) fn whole_json(body: String, knobs: &Knobs, charged: Outcome) -> Self {
        match knobs.fault {
            Some(Fault::Garbage) => {
                Self::json(StatusCode::OK, "upstream says hello", Outcome::Failed)
            }
            Some(Fault::HangMid) => Self::half_json(body, Step::Hang),
            Some(Fault::Cut) => Self::half_json(body, Step::Cut),
            _ => Self::json(StatusCode::OK, body, charged),
        }
    }

    /// The answer with the head that the knobs want.
    pub(super) fn paced(mut self, knobs: &Knobs) -> Self {
        self.secret_header = knobs.secret_header;
        self.head = match (knobs.fault, knobs.first) {
            (Some(Fault::Hang), _) => Head::Never,
            (_, Some(pause)) => Head::After(pause),
            (_, None) => Head::Now,
        };
        self
    }

    /// A JSON answer whose second half never comes: `then` happens instead.
    fn half_json(body: impl Into<Bytes>, then: Step) -> Self {
        let body = body.into();
        let mut reply = Self::json(StatusCode::OK, body.clone(), Outcome::Failed);
        reply.steps = vec![Step::Write(body.slice(..body.len() / 2)), then];
        reply
    }

    pub(super) fn stream(steps: Vec<Step>, outcome: Outcome) -> Self {
        Self {
            head: Head::Now,
            secret_header: false,
            status: StatusCode::OK,
            kind: Kind::Stream,
            steps,
            outcome,
        }
    }

    fn whole(status: StatusCode, kind: &'static str, body: Bytes, outcome: Outcome) -> Self {
        Self {
            head: Head::Now,
            secret_header: false,
            status,
            kind: Kind::Whole(kind, body.len()),
            steps: vec![Step::Write(body)],
            outcome,
        }
    }

    pub(super) fn into_response(self, exchange: Exchange) -> Response<ScriptBody> {
        let headers = self.headers(exchange.number());
        let mut response = Response::new(ScriptBody::new(self.steps, self.outcome, exchange));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }

    fn headers(&self, number: u64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self.kind {
            Kind::Whole(kind, length) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            Kind::Stream => {
                let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
                headers.insert(CONTENT_TYPE, kind);
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            }
        }
        for (name, value) in ACCOUNT_HEADERS {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        if let Ok(id) = HeaderValue::try_from(format!("req_mock{number:08}")) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if self.secret_header {
            headers.insert(
                HeaderName::from_static("x-secret"),
                HeaderValue::from_static("leak"),
            );
        }
        headers
    }
}
