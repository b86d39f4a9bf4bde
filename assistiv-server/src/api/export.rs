//! Lists as files: CSV or one JSON object a line, streamed, with what they must add up to.
//!
//! The lines come in pages and are written as they come, so that memory does not grow with the export. A failure
//! after the first page cuts the connection: a body that ends normally is complete. Its SHA-256 follows in a
//! trailer.

mod format;
mod sheet;

pub(super) use self::format::{Format, Wanted};

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Serialize;
use sha2::{Digest, Sha256};

use self::sheet::Sheet;
use super::refusal::{Handled, Refusal};

const DIGEST_NAME: &str = "content-digest";
const DIGEST: HeaderName = HeaderName::from_static(DIGEST_NAME);
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
const OPENING: HeaderName = HeaderName::from_static("x-assistiv-opening");
const CLOSING: HeaderName = HeaderName::from_static("x-assistiv-closing");

/// A row as a line of a file.
pub(super) fn line(row: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(row).map_err(Refusal::internal)
}

/// A list as a file.
pub(super) struct Export {
    /// CSV or NDJSON.
    pub(super) format: Format,
    /// The name of the file, without its ending.
    pub(super) name: String,
    /// The members of each object, in the order of the columns.
    pub(super) columns: &'static [&'static str],
    /// How many rows there are.
    pub(super) rows: u64,
    /// Of statements: what stood before the first entry, as a dictionary of a structured header, and what stood
    /// after the last one.
    pub(super) standings: Option<(String, String)>,
}

/// The cause is in the log; the caller sees the connection end.
#[derive(Debug, thiserror::Error)]
#[error("the export broke off")]
struct BrokenOff;

// === impl Export ===

impl Export {
    /// Answers with the lines of `pages`, each the JSON text of an object.
    ///
    /// What fails before the first page is there is an answer like any other.
    pub(super) async fn answer(
        self,
        pages: impl Stream<Item = Result<Vec<String>, Refusal>> + Send + 'static,
    ) -> Handled {
        let mut pages = Box::pin(pages);
        let first = pages.try_next().await?;
        let sheet = Sheet {
            format: self.format,
            columns: self.columns,
        };
        let begin = sheet.begin().map_err(Refusal::internal)?;
        let texts = stream::iter(first.map(Ok))
            .chain(pages)
            .map(move |lines| sheet.lines(&lines?).map_err(Refusal::internal));
        let body = StreamBody::new(frames(begin, texts));
        let mut response = Response::new(Body::new(body));
        *response.headers_mut() = self.headers()?;
        Ok(response)
    }

    fn headers(&self) -> Result<HeaderMap, Refusal> {
        let ending = self.format.ending();
        let disposition = format!("attachment; filename=\"{}.{ending}\"", self.name);
        let mut headers = HeaderMap::new();
        let rows = self.rows.to_string();
        let standings = self.standings.iter();
        let standings = standings.flat_map(|(opening, closing)| {
            [(OPENING, opening.as_str()), (CLOSING, closing.as_str())]
        });
        let others = [
            (CONTENT_TYPE, self.format.content_type()),
            (CONTENT_DISPOSITION, disposition.as_str()),
            (TOTAL, rows.as_str()),
            (TRAILER, DIGEST_NAME),
        ];
        for (name, value) in others.into_iter().chain(standings) {
            let value = HeaderValue::from_str(value).map_err(Refusal::internal)?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// The texts as frames of a body, with their digest at the end.
fn frames(
    begin: Vec<u8>,
    texts: impl Stream<Item = Result<Vec<u8>, Refusal>> + Send + 'static,
) -> impl Stream<Item = Result<Frame<Bytes>, BrokenOff>> + Send + 'static {
    let texts = stream::once(std::future::ready(Ok(begin))).chain(texts);
    let state = Some((Box::pin(texts), Sha256::new()));
    stream::unfold(state, |state| async move {
        let (mut texts, mut hash) = state?;
        match texts.next().await {
            Some(Ok(text)) => {
                hash.update(&text);
                Some((Ok(Frame::data(text.into())), Some((texts, hash))))
            }
            Some(Err(refusal)) => {
                tracing::error!(cause = ?refusal, "an export broke off");
                Some((Err(BrokenOff), None))
            }
            None => Some((Ok(trailer(hash)), None)),
        }
    })
}

fn trailer(hash: Sha256) -> Frame<Bytes> {
    let digest = BASE64_STANDARD.encode(hash.finalize());
    let mut trailers = HeaderMap::new();
    // Base64 is always a header's value.
    if let Ok(value) = HeaderValue::from_str(&format!("sha-256=:{digest}:")) {
        trailers.insert(DIGEST, value);
    }
    Frame::trailers(trailers)
}
