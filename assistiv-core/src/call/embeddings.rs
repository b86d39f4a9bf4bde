//! Reads OpenAI's requests for embeddings (`docs/api-design.md`).

use std::borrow::Cow;

use serde::Deserialize;

use super::chat::tokens_of_bytes;
use super::fields::Fields;
use crate::call::{InferenceRequest, Operation, RequestError};
use crate::conversation::Recalled;
use crate::json::Members;

/// The most texts of one request.
const INPUTS_MAX: usize = 2_048;

/// What is to be embedded.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input<'a> {
    #[serde(borrow)]
    Text(Text<'a>),
    #[serde(borrow)]
    Texts(Vec<Text<'a>>),
    Tokens(Vec<u64>),
    Lists(Vec<Vec<u64>>),
}

/// A string that borrows where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

pub(super) fn read(members: Members) -> Result<InferenceRequest, RequestError> {
    let mut fields = Fields::new(&members);
    let model = fields.required::<String>("model", "must be a model slug");
    let rule = "must be a string, an array of strings, or one or several arrays of token ids";
    let input = fields.required::<Input<'_>>("input", rule);
    let prompt_tokens = input.map_or(0, |input| input.tokens(&mut fields));
    let format = fields.field::<Text<'_>>("encoding_format", "must be float or base64");
    if format.is_some_and(|format| !matches!(&*format.0, "float" | "base64")) {
        fields.fail("encoding_format", "must be float or base64");
    }
    fields.integer("dimensions", 1, u64::from(u32::MAX));
    fields.field::<Text<'_>>("user", "must be a string");
    let errors = fields.errors;
    if !errors.is_empty() {
        return Err(RequestError::Fields(errors));
    }
    Ok(InferenceRequest {
        operation: Operation::Embeddings,
        model: model.unwrap_or_default(),
        stream: false,
        include_usage: false,
        output_limit: None,
        choices: 1,
        service_tier: None,
        prompt_tokens,
        recalled: Recalled::default(),
        response: None,
        headers: http::HeaderMap::new(),
        members,
    })
}

// === impl Input ===

impl Input<'_> {
    /// The size of all texts in tokens.
    fn tokens(&self, fields: &mut Fields<'_>) -> u64 {
        let (count, has_blank) = match self {
            Self::Text(text) => (1, text.0.is_empty()),
            Self::Texts(texts) => (texts.len(), texts.iter().any(|text| text.0.is_empty())),
            Self::Tokens(tokens) => (1, tokens.is_empty()),
            Self::Lists(lists) => (lists.len(), lists.iter().any(Vec::is_empty)),
        };
        if count == 0 || has_blank {
            fields.fail("input", "must not be empty, nor hold anything empty");
        } else if count > INPUTS_MAX {
            fields.fail("input", format!("must hold at most {INPUTS_MAX} entries"));
        }
        let of_text = |text: &Text<'_>| tokens_of_bytes(text.0.len() as u64);
        match self {
            Self::Text(text) => of_text(text),
            Self::Texts(texts) => texts.iter().map(of_text).fold(0, u64::saturating_add),
            Self::Tokens(tokens) => tokens.len() as u64,
            Self::Lists(lists) => lists.iter().map(|list| list.len() as u64).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn parse(input: &str, more: &str) -> Result<InferenceRequest, RequestError> {
        let body = format!(r#"{{"model":"m","input":{input}{more}}}"#);
        InferenceRequest::parse(Operation::Embeddings, Bytes::from(body))
    }

    #[test]
    fn all_four_forms_are_read() {
        for (input, tokens) in [
            (r#""nine byte""#, 3),
            (r#"["abc","a\u00e4"]"#, 2),
            ("[1,2,3]", 3),
            ("[[1,2],[3]]", 3),
        ] {
            assert_eq!(parse(input, "").unwrap().prompt_tokens(), tokens, "{input}");
        }
    }

    #[test]
    fn what_is_empty_or_too_much_is_refused() {
        let many = format!("[{}]", vec![r#""x""#; INPUTS_MAX + 1].join(","));
        for input in [
            r#""""#,
            "[]",
            r#"["a",""]"#,
            "[[1],[]]",
            "1",
            "[1.5]",
            "[-1]",
            r#"["a",1]"#,
            &many,
        ] {
            let Err(RequestError::Fields(errors)) = parse(input, "") else {
                panic!("{input} must be refused")
            };
            assert_eq!(errors[0].param, "input");
        }
        assert!(parse(&many.replacen(r#""x","#, "", 1), "").is_ok());
    }

    #[test]
    fn the_other_fields_are_checked() {
        let Err(RequestError::Fields(errors)) = parse(
            r#""x""#,
            r#","encoding_format":"int8","dimensions":0,"user":1"#,
        ) else {
            panic!("must be refused")
        };
        let params: Vec<_> = errors.iter().map(|e| e.param.as_str()).collect();
        assert_eq!(params, ["encoding_format", "dimensions", "user"]);
    }
}
