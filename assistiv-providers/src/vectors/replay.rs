//! Runs a decoder over bytes, cut in every way.

use std::sync::LazyLock;

use assistiv_core::billing::Usage;
use assistiv_core::provider::{Decoder, Output, Piece, ProviderError, ProviderErrorKind};
use bytes::Bytes;
use regex::{Captures, Regex};

/// Everything that a decoder made of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) usage: Option<Usage>,
    pub(crate) tier: Option<String>,
    pub(crate) content_bytes: u64,
    pub(crate) complete: bool,
    /// The input that was reported before anything else.
    pub(crate) input: Option<Usage>,
    pub(crate) error: Option<(ProviderErrorKind, String)>,
}

/// How the bytes end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Neat,
    /// The connection broke: the decoder is not asked to finish.
    Broken,
}

pub(crate) fn replay(mut decoder: Box<dyn Decoder>, chunks: &[&[u8]], end: End) -> Outcome {
    let mut out = Output::new();
    let mut result = Ok(());
    for chunk in chunks {
        result = decoder.push(Bytes::copy_from_slice(chunk), &mut out);
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() && end == End::Neat {
        result = decoder.finish(&mut out);
    }
    Outcome {
        pieces: std::iter::from_fn(|| out.pop())
            .map(without_chance)
            .collect(),
        usage: out.usage().copied(),
        tier: out.service_tier().map(str::to_owned),
        content_bytes: out.content_bytes(),
        complete: out.is_complete(),
        input: out.input().copied(),
        error: result.err().map(|error| (error.kind(), error.to_string())),
    }
}

/// Replays an answer whole, byte by byte, and cut in two at every position; all must agree.
pub(crate) fn replay_every_split(
    decoder: impl Fn() -> Box<dyn Decoder>,
    bytes: &[u8],
    end: End,
) -> Outcome {
    let whole = replay(decoder(), &[bytes], end);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(replay(decoder(), &single, end), whole, "byte by byte");
    for at in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(at);
        assert_eq!(replay(decoder(), &[head, tail], end), whole, "cut at {at}");
    }
    whole
}

/// Other spellings of the same stream: line ends, comments, unknown fields, data over several lines.
pub(crate) fn respellings(stream: &str) -> Vec<String> {
    let stream = stream.replace("\r\n", "\n");
    vec![
        stream.replace('\n', "\r\n"),
        stream.replace('\n', "\r"),
        format!("\u{feff}{stream}"),
        format!(
            ": hello\n\n{}",
            stream.replace("data:", ": ping\nid: 7\nretry: 1\nevent: x\ndata:")
        ),
        stream.replace("data: {", "data:{"),
        stream.replace("data: {\"", "data: {\ndata:\ndata: \""),
    ]
}

/// What differs from one writing to the next: ids that were drawn by lot, and the time.
static CHANCE: LazyLock<Regex> = LazyLock::new(|| {
    let ids = r#""id":"chatcmpl-[0-9a-f]{32}","object":"([a-z.]+)","created":[0-9]+"#;
    Regex::new(&format!(r#"{ids}|"id":"(?:call|msg)_[0-9a-f]{{32}}""#)).unwrap()
});

fn without_chance(piece: Piece) -> Piece {
    let plain = |bytes: Bytes| {
        let text = std::str::from_utf8(&bytes).unwrap();
        if !text.contains("chatcmpl-") && !text.contains("\"msg_") {
            return bytes;
        }
        let plain = CHANCE.replace_all(text, |found: &Captures<'_>| match found.get(1) {
            Some(object) => {
                format!(
                    r#""id":"chatcmpl-1","object":"{}","created":1"#,
                    object.as_str()
                )
            }
            None => r#""id":"call_1""#.to_owned(),
        });
        Bytes::from(plain.into_owned())
    };
    match piece {
        Piece::Content(bytes) => Piece::Content(plain(bytes)),
        Piece::Terminal(bytes) => Piece::Terminal(plain(bytes)),
    }
}

impl Outcome {
    /// The error, as the adapter gave it but for its cause.
    pub(crate) fn error(&self) -> Option<ProviderError> {
        let (kind, message) = self.error.as_ref()?;
        Some(ProviderError::new(*kind).with_message(message))
    }

    /// What the caller gets.
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self
            .pieces
            .iter()
            .flat_map(|piece| match piece {
                Piece::Content(bytes) | Piece::Terminal(bytes) => bytes.to_vec(),
            })
            .collect();
        String::from_utf8(bytes).unwrap()
    }
}
