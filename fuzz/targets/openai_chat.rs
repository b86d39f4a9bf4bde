//! OpenAI's chat completions.

#![no_main]

use std::sync::LazyLock;

use assistiv_core::call::Operation;
use assistiv_fuzz::Decoders;
use assistiv_providers::openai::OpenAiCompatible;

static DECODERS: LazyLock<Decoders> = LazyLock::new(|| {
    Decoders::new(
        OpenAiCompatible::openai(),
        "gpt-4o",
        &[Operation::ChatCompletions],
    )
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| DECODERS.run(data));
