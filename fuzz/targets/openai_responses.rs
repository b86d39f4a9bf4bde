//! OpenAI's responses, for callers of each dialect.

#![no_main]

use std::sync::LazyLock;

use assistiv_core::call::Operation;
use assistiv_fuzz::Decoders;
use assistiv_providers::openai::OpenAiCompatible;

static DECODERS: LazyLock<Decoders> = LazyLock::new(|| {
    Decoders::new(
        OpenAiCompatible::openai(),
        "gpt-6.1-sol",
        &[Operation::ChatCompletions, Operation::Responses, Operation::Messages],
    )
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| DECODERS.run(data));
