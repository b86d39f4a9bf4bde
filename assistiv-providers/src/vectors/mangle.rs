//! Runs decoders over answers that were damaged by lot: nothing may panic, and how the bytes are cut may not matter.
//!
//! `ASSISTIV_TEST_MANGLE_ROUNDS` says how many answers, and `ASSISTIV_TEST_MANGLE_SEED` where the lots begin, which a
//! failure names.

use std::panic::{AssertUnwindSafe, catch_unwind};

use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::provider::Piece;
use serde_json::Value;

use super::replay::{End, Outcome, replay};
use super::{Codec, body_of, vectors};

/// Answers that are damaged where nothing else is asked for.
const ROUNDS: u64 = 400;

/// What damaged answers are full of.
const WORDS: [&[u8]; 24] = [
    b"\n\n",
    b"\r\n\r\n",
    b"\r",
    b"data: ",
    b"data: [DONE]\n\n",
    b": x\n",
    b"{}",
    b"[]",
    b"null",
    b"\"\"",
    b"{",
    b"}",
    b"[",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xc3",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\"error\":{",
    b"\xef\xbb\xbf",
    b",\"type\":7",
];

/// A source of lots, good enough to damage things with.
struct Lots(u64);

impl Lots {
    fn next(&mut self) -> u64 {
        // xorshift64*, Vigna 2014.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Below `end`, which may be 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }
}

/// Damages the answers of a provider. Gives how many.
pub(crate) fn run(provider: &str, codec: impl Fn(&Value) -> Box<dyn Codec>) -> u64 {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let rounds = number("ASSISTIV_TEST_MANGLE_ROUNDS").unwrap_or(ROUNDS);
    let first = number("ASSISTIV_TEST_MANGLE_SEED").unwrap_or(1);
    let all: Vec<_> = vectors(provider)
        .into_iter()
        .filter(|vector| vector["upstream"]["status"] == 200)
        .map(|vector| {
            let request = vector["request"].to_string().into();
            let request = InferenceRequest::parse(Operation::ChatCompletions, request).unwrap();
            (codec(&vector), request, body_of(&vector["upstream"]))
        })
        .collect();
    for seed in first..first.saturating_add(rounds) {
        let mut lots = Lots(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (codec, request, answer) = &all[lots.below(all.len())];
        // Now and then somebody else's answer: whole for streamed, or the other way around.
        let answer = match lots.below(8) {
            0 => &all[lots.below(all.len())].2,
            _ => answer,
        };
        let bytes = damaged(answer, &mut lots);
        let chunks = cut(&bytes, &mut lots);
        let end = match lots.below(4) {
            0 => End::Broken,
            _ => End::Neat,
        };
        let told = || format!("seed {seed}: {}", bytes.escape_ascii());
        let decode = |chunks: &[&[u8]]| {
            catch_unwind(AssertUnwindSafe(|| {
                replay(codec.decoder(request), chunks, end)
            }))
        };
        let whole = decode(&[&bytes]).unwrap_or_else(|_| panic!("{}", told()));
        let pieces = decode(&chunks).unwrap_or_else(|_| panic!("{}", told()));
        assert_eq!(pieces, whole, "{}", told());
        check(&whole, end, &told);
    }
    rounds
}

fn check(outcome: &Outcome, end: End, told: &dyn Fn() -> String) {
    let mut pieces = outcome.pieces.iter();
    let _ = pieces.find(|piece| matches!(piece, Piece::Terminal(_)));
    let all_held = pieces.all(|piece| matches!(piece, Piece::Terminal(_)));
    assert!(all_held, "content follows the end: {}", told());
    let ended = outcome.error.is_none() && end == End::Neat;
    assert!(!ended || outcome.complete, "an end without one: {}", told());
    // What callers get is text.
    let _ = outcome.text();
}

fn damaged(answer: &[u8], lots: &mut Lots) -> Vec<u8> {
    let mut bytes = answer.to_vec();
    for _ in 0..=lots.below(6) {
        let at = lots.below(bytes.len() + 1);
        let length = lots.below(40).min(bytes.len() - at);
        match lots.below(6) {
            0 => {
                let word = WORDS[lots.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            1 => {
                let word = WORDS[lots.below(WORDS.len())];
                bytes.splice(at..at + length, word.iter().copied());
            }
            2 => bytes.truncate(at),
            3 => {
                bytes.drain(at..at + length);
            }
            4 => {
                let again = bytes[at..at + length].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << lots.below(8);
                }
            }
        }
    }
    bytes
}

fn cut<'a>(mut bytes: &'a [u8], lots: &mut Lots) -> Vec<&'a [u8]> {
    let longest = [1, 3, 50, 2000][lots.below(4)];
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let (chunk, rest) = bytes.split_at(1 + lots.below(longest.min(bytes.len())));
        chunks.push(chunk);
        bytes = rest;
    }
    chunks
}
