//! xAI's chat completions and responses.

#![no_main]

use std::sync::LazyLock;

use assistiv_core::call::Operation;
use assistiv_fuzz::Decoders;
use assistiv_providers::openai::OpenAiCompatible;

static DECODERS: LazyLock<Decoders> = LazyLock::new(|| {
    Decoders::new(
        OpenAiCompatible::xai(),
        "grok-4.7",
        &[Operation::ChatCompletions, Operation::Responses, Operation::Messages],
    )
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| DECODERS.run(data));
