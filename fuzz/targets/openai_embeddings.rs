//! OpenAI's embeddings.

#![no_main]

use std::sync::LazyLock;

use assistiv_core::call::Operation;
use assistiv_fuzz::Decoders;
use assistiv_providers::openai::OpenAiCompatible;

static DECODERS: LazyLock<Decoders> = LazyLock::new(|| {
    Decoders::new(
        OpenAiCompatible::openai(),
        "text-embedding-3-small",
        &[Operation::Embeddings],
    )
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| DECODERS.run(data));
