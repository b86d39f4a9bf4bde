//! Google's embeddings.

#![no_main]

use std::sync::LazyLock;

use assistiv_core::call::Operation;
use assistiv_fuzz::Decoders;
use assistiv_providers::google::Google;

static DECODERS: LazyLock<Decoders> =
    LazyLock::new(|| Decoders::new(Google, "gemini-embedding-001", &[Operation::Embeddings]));

libfuzzer_sys::fuzz_target!(|data: &[u8]| DECODERS.run(data));
