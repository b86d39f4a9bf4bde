//! Runs a decoder over bytes, cut in every way.

use assistiv_core::billing::Usage;
use assistiv_core::provider::{Decoder, Output, Piece, ProviderErrorKind};
use bytes::Bytes;

/// Everything that a decoder made of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) pieces: Vec<Piece>,
    pub(super) usage: Option<Usage>,
    pub(super) tier: Option<String>,
    pub(super) content_bytes: u64,
    pub(super) complete: bool,
    pub(super) error: Option<(ProviderErrorKind, String)>,
}

/// How the bytes end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Neat,
    /// The connection broke: the decoder is not asked to finish.
    Broken,
}

pub(super) fn replay(mut decoder: Box<dyn Decoder>, chunks: &[&[u8]], end: End) -> Outcome {
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
        pieces: std::iter::from_fn(|| out.pop()).collect(),
        usage: out.usage().copied(),
        tier: out.service_tier().map(str::to_owned),
        content_bytes: out.content_bytes(),
        complete: out.is_complete(),
        error: result.err().map(|error| (error.kind(), error.to_string())),
    }
}

/// Replays an answer whole, byte by byte, and cut in two at every position; all must agree.
pub(super) fn replay_every_split(
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
pub(super) fn respellings(stream: &str) -> Vec<String> {
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

impl Outcome {
    /// What the caller gets.
    pub(super) fn text(&self) -> String {
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
