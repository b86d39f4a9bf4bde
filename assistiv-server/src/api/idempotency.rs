//! The `Idempotency-Key` header, and what makes two bodies the same request (`docs/api-design.md`).

use std::collections::BTreeMap;

use assistiv_core::billing::RequestKey;
use assistiv_core::error::Reason;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::HeaderValue;
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::ApiState;
use super::form::Form;
use super::refusal::{Handled, Refusal};

const HEADER: &str = "idempotency-key";
const LENGTH_MAX: usize = 255;

/// The key of a request, if it has one.
pub(super) struct IdempotencyKey(Option<String>);

impl FromRequestParts<ApiState> for IdempotencyKey {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Refusal> {
        let mut values = parts.headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let printable = value.as_bytes().iter().all(|b| matches!(b, b' '..=b'~'));
        let well_formed =
            values.next().is_none() && printable && (1..=LENGTH_MAX).contains(&value.len());
        let key = value.to_str().ok().filter(|_| well_formed);
        key.map(|key| Self(Some(key.to_owned()))).ok_or_else(|| {
            Refusal::field(
                "Idempotency-Key",
                "must be given once, with 1 to 255 printable ASCII characters",
            )
        })
    }
}

// === impl IdempotencyKey ===

impl IdempotencyKey {
    /// Refuses a missing key where the server demands one.
    pub(super) fn required_by(self, state: &ApiState) -> Result<Self, Refusal> {
        if state.require_idempotency_key && self.0.is_none() {
            let message =
                "send an `Idempotency-Key` header, so that a repeated request has no second effect";
            return Err(Refusal::new(Reason::IDEMPOTENCY_KEY_REQUIRED, message));
        }
        Ok(self)
    }

    /// The key together with what the body says.
    pub(super) fn of(self, form: &Form) -> Option<RequestKey> {
        self.0.map(|key| RequestKey {
            key,
            request_hash: Sha256::digest(canonical(form.source())).into(),
        })
    }
}

/// Marks an answer that an earlier request with the same key was given already.
pub(super) fn replayable(mut response: Response, replayed: bool) -> Handled {
    if replayed {
        response
            .headers_mut()
            .insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A text that two JSON bodies share exactly when they say the same: members in order of their names, no spaces,
/// strings written one way, numbers by their exact decimal value.
///
/// Close to RFC 8785, which writes numbers by way of a double and would take amounts for equal that differ below
/// its precision. `body` has passed [`assistiv_core::json::check`].
fn canonical(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    Scanner { text: body, at: 0 }.value(&mut out);
    out
}

/// Walks over JSON that is known to be valid.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn value(&mut self, out: &mut Vec<u8>) {
        match self.peek() {
            Some(b'{') => self.object(out),
            Some(b'[') => self.array(out),
            Some(b'"') => out.extend_from_slice(&self.string()),
            Some(b'-' | b'0'..=b'9') => {
                let number = self
                    .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
                write_number(number, out);
            }
            _ => out.extend_from_slice(self.take_while(|b| b.is_ascii_alphabetic())),
        }
    }

    fn object(&mut self, out: &mut Vec<u8>) {
        let mut members = BTreeMap::new();
        self.at += 1;
        while self.peek() == Some(b'"') {
            let name = self.string();
            self.skip(b':');
            let mut value = Vec::new();
            self.value(&mut value);
            members.insert(name, value);
            self.skip(b',');
        }
        self.skip(b'}');
        out.push(b'{');
        for (i, (name, value)) in members.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
    }

    fn array(&mut self, out: &mut Vec<u8>) {
        self.at += 1;
        out.push(b'[');
        while self.peek().is_some_and(|b| b != b']') {
            self.value(out);
            if self.skip(b',') {
                out.push(b',');
            }
        }
        self.skip(b']');
        out.push(b']');
    }

    /// A string, with its quotes, escaped only where it must be.
    fn string(&mut self) -> Vec<u8> {
        let start = self.at;
        self.at += 1;
        while let Some(&b) = self.text.get(self.at) {
            self.at += if b == b'\\' { 2 } else { 1 };
            if b == b'"' {
                break;
            }
        }
        let raw = &self.text[start..self.at.min(self.text.len())];
        let text: Result<String, _> = serde_json::from_slice(raw);
        text.map_or_else(
            |_| raw.to_vec(),
            |text| {
                assistiv_core::json::string(&text)
                    .into_string()
                    .into_bytes()
            },
        )
    }

    /// The next byte that is not space.
    fn peek(&mut self) -> Option<u8> {
        self.take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|b| !wanted(*b)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }
}

/// Writes a number as its significant digits and a power of ten: `5`, `5.0` and `0.5e1` are all `5e0`.
///
/// A number is never written out in full, because `1e-9999999` would not fit anywhere.
fn write_number(text: &[u8], out: &mut Vec<u8>) {
    let (mantissa, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    let fraction = mantissa
        .iter()
        .position(|b| *b == b'.')
        .map_or(0, |dot| mantissa.len() - dot - 1);
    let digits: Vec<u8> = mantissa
        .iter()
        .copied()
        .filter(u8::is_ascii_digit)
        .skip_while(|b| *b == b'0')
        .collect();
    let significant = digits
        .iter()
        .rposition(|b| *b != b'0')
        .map_or(0, |last| last + 1);
    if significant == 0 {
        out.push(b'0');
        return;
    }
    let exponent = std::str::from_utf8(exponent)
        .ok()
        .and_then(|text| text.parse::<i128>().ok());
    let Some(exponent) = exponent else {
        // Beyond any value; such numbers are compared as they are written.
        out.extend_from_slice(text);
        return;
    };
    let power = exponent - fraction as i128 + (digits.len() - significant) as i128;
    if mantissa.starts_with(b"-") {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[..significant]);
    out.extend_from_slice(format!("e{power}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str) -> String {
        assistiv_core::json::check(body.as_bytes()).unwrap();
        String::from_utf8(canonical(body.as_bytes())).unwrap()
    }

    #[test]
    fn bodies_that_say_the_same_have_one_text() {
        for (a, b) in [
            (
                r#"{"a":5,"b":[1,2]}"#,
                " { \"b\" : [ 1 ,2.0 ] , \"a\" : 5.00 } ",
            ),
            (r#"{"x":"é\/"}"#, r#"{"\u0078":"\u00e9/"}"#),
            ("[0.1,-0,1e2]", "[0.100,0.0,100]"),
            ("[0.5e1,120]", "[5,1.2E+2]"),
            (
                r#"{"a":{"y":null,"x":true},"b":[]}"#,
                r#"{"b":[ ],"a":{"x":true,"y":null}}"#,
            ),
        ] {
            assert_eq!(text(a), text(b), "{a} {b}");
        }
    }

    #[test]
    fn bodies_that_differ_have_different_texts() {
        let bodies = [
            r#"{"a":0.1}"#,
            r#"{"a":0.1000000001}"#,
            r#"{"a":0.10000000000000000001}"#,
            r#"{"a":-0.1}"#,
            r#"{"a":"0.1"}"#,
            r#"{"a":1}"#,
            r#"{"a":10}"#,
            r#"{"a":1e-99999999999}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[[1]]}"#,
            r#"{"a":null}"#,
            r#"{"a":"null"}"#,
            r#"{"a":"\"b\":1"}"#,
            "{}",
        ];
        for (i, a) in bodies.iter().enumerate() {
            for b in &bodies[i + 1..] {
                assert_ne!(text(a), text(b), "{a} {b}");
            }
        }
    }
}
