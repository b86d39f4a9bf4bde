//! Anthropic's messages, for callers of each dialect.

#![no_main]

use std::sync::LazyLock;

use assistiv_core::call::Operation;
use assistiv_fuzz::Decoders;
use assistiv_providers::anthropic::Anthropic;

static DECODERS: LazyLock<Decoders> = LazyLock::new(|| {
    Decoders::new(
        Anthropic,
        "claude-opus-5",
        &[Operation::ChatCompletions, Operation::Responses, Operation::Messages],
    )
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| DECODERS.run(data));
