//! Charges as tests expect them, and the texts that they are for.

use assistiv_core::billing::ChargeFlags;
use serde_json::{Value, json};

/// A charge as a test expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) flags: i16,
    pub(crate) on_budget: bool,
}

impl Charge {
    /// As the provider reports.
    pub(crate) fn reported(input: u64, output: u64) -> Self {
        Self {
            input,
            cached: 0,
            output,
            flags: 0,
            on_budget: true,
        }
    }

    /// For an answer that was cut, from what came until then.
    pub(crate) fn cut(prompt: &str, delivered: &str) -> Self {
        let flags = ChargeFlags::ESTIMATED.with(ChargeFlags::TRUNCATED).bits();
        Self {
            flags,
            ..Self::estimated(prompt, delivered)
        }
    }

    /// For an answer whose usage was never reported.
    pub(crate) fn estimated(prompt: &str, delivered: &str) -> Self {
        let flags = ChargeFlags::ESTIMATED.bits();
        let output = (delivered.len() as u64).div_ceil(3);
        Self {
            flags,
            ..Self::reported(counted(prompt), output)
        }
    }

    /// For a platform's own call, which no budget pays.
    pub(crate) fn of_platform(self) -> Self {
        Self {
            on_budget: false,
            ..self
        }
    }

    /// In nano-dollars, at 0.15, 0.075 and 0.60 dollars a million tokens.
    pub(crate) fn cost(&self) -> i64 {
        let nano = (self.input - self.cached) * 150 + self.cached * 75 + self.output * 600;
        i64::try_from(nano).unwrap()
    }
}

/// A request's body.
pub(crate) fn body(prompt: &str) -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]})
}

/// A request's body that asks for a stream.
pub(crate) fn streamed(prompt: &str) -> Value {
    with(body(prompt), json!({"stream": true}))
}

/// A body with more members.
pub(crate) fn with(mut body: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut body, more) else {
        panic!("objects")
    };
    members.extend(more);
    body
}

/// The tokens of a prompt as the gateway counts them: three bytes each.
pub(crate) fn counted(prompt: &str) -> u64 {
    let message = body(prompt)["messages"][0].to_string();
    (message.len() as u64).div_ceil(3)
}

/// The first words of the mock's long answers.
pub(crate) fn words(count: usize) -> String {
    let words = "mock answers repeat these simple words until the asked length is reached";
    words
        .split(' ')
        .cycle()
        .take(count)
        .collect::<Vec<_>>()
        .join(" ")
}
