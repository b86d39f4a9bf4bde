//! Models, quotes and calls.

use super::{Schema, schema};

pub(super) const ALL: &[Schema] = &[
    schema("QuoteRequest", "", "
        endpoint string = /v1/chat/completions
        request object = {\"model\": \"gpt-4o-mini\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}
        end_user_id? uuid? -- for platform keys: who would make the call"),
    schema("Quote", "What a call would cost. A statement about now, and no promise.", "
        endpoint string = /v1/chat/completions
        model string = gpt-4o-mini
        route QuotedRoute?
        tokens QuotedTokens
        price_lines? [PriceLine]
        hold QuotedHold?
        max_output_tokens_sent count?
        admitted flag
        checks QuoteChecks
        refusal QuoteRefusal?"),
    schema("QuotedTarget", "", "
        provider string = openai
        provider_model_id string = gpt-4o-mini
        llm_config_id? uuid
        price_id? uuid"),
    schema("QuotedRoute", "", "
        ...QuotedTarget
        fallbacks [QuotedTarget]"),
    schema("QuotedTokens", "", "
        input count
        max_output count?
        count_method estimated"),
    schema("PriceLine", "", "
        bucket input|output|call
        tokens count?
        usd_per_mtok? number?
        amount_usd usd"),
    schema("QuotedHold", "", "
        wallet_usd? usd
        budget_usd? usd
        budget_tokens? count
        display? display"),
    schema("QuoteChecks", "", "
        rate_limits flag
        budget flag
        wallet flag
        price flag"),
    schema("QuoteRefusal", "", "
        status count
        code string
        reason string
        details object"),
    schema("Model", "", "
        id string = gpt-4o-mini
        object string = model
        created int = 1735689600
        owned_by string = openai"),
    schema("ModelList", "", "
        object string = list
        data [object]"),
    schema("ChatRequest", "OpenAI's request of chat completions; further fields go to the provider.", "
        model string = gpt-4o-mini
        messages [object] = [{\"role\": \"user\", \"content\": \"Hello\"}]
        stream? flag"),
    schema("ChatCompletion", "OpenAI's chat completion.", "
        id string = chatcmpl-1
        object string = chat.completion
        created int = 1735689600
        model string = gpt-4o-mini
        choices [object] = [{\"index\": 0, \"message\": {\"role\": \"assistant\", \"content\": \"Hello!\"}, \"finish_reason\": \"stop\"}]
        usage? object = {\"prompt_tokens\": 8, \"completion_tokens\": 3, \"total_tokens\": 11}"),
    schema("ResponseRequest", "OpenAI's request of a response; `previous_response_id` or `thread_id` continues one.", "
        model string = gpt-4o-mini
        input any = Hello
        stream? flag
        previous_response_id? string?
        thread_id? string?"),
    schema("Response", "OpenAI's response.", "
        id string = resp_0197a3c51c7e7d209c413f5b8a6e2d10
        object string = response
        status string = completed
        model string = gpt-4o-mini
        output [object]"),
    schema("InputItems", "", "
        object string = list
        data [object]
        first_id string?
        last_id string?
        has_more flag"),
    schema("DeletedResponse", "", "
        id string = resp_0197a3c51c7e7d209c413f5b8a6e2d10
        object string = response
        deleted flag"),
    schema("MessagesRequest", "Anthropic's request of messages.", "
        model string = claude-haiku-4-5
        max_tokens? count = 256
        messages [object] = [{\"role\": \"user\", \"content\": \"Hello\"}]
        stream? flag"),
    schema("Message", "Anthropic's message.", "
        id string = msg_1
        type string = message
        role string = assistant
        model string = claude-haiku-4-5
        content [object] = [{\"type\": \"text\", \"text\": \"Hello!\"}]
        stop_reason string? = end_turn
        usage object = {\"input_tokens\": 8, \"output_tokens\": 3}"),
    schema("TokenCount", "", "
        input_tokens count = 8"),
    schema("EmbeddingsRequest", "OpenAI's request of embeddings.", "
        model string = text-embedding-3-small
        input any = Hello
        encoding_format? float|base64?
        dimensions? count?"),
    schema("Embeddings", "OpenAI's list of embeddings.", "
        object string = list
        model string = text-embedding-3-small
        data [object] = [{\"object\": \"embedding\", \"index\": 0, \"embedding\": [0.0123, -0.0456]}]
        usage object = {\"prompt_tokens\": 1, \"total_tokens\": 1}"),
];
