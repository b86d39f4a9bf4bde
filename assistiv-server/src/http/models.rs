//! `GET /v1/models` and `GET /v1/models/{model}`, in OpenAI's shape (`docs/api-design.md`).

use assistiv_core::auth::PresentedKey;
use assistiv_core::routing::ListedModel;
use assistiv_core::{Error, Gateway};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::Full;
use serde::Serialize;

use super::response::ResponseBody;

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    owned_by: &'a str,
}

/// The models that the key's platform can use.
pub(super) async fn list(
    gateway: &Gateway,
    key: &PresentedKey,
) -> Result<Response<ResponseBody>, Error> {
    let models = gateway.models(key).await?;
    Ok(json(&List {
        object: "list",
        data: models.iter().map(Entry::from).collect(),
    }))
}

/// One of them.
pub(super) async fn one(
    gateway: &Gateway,
    key: &PresentedKey,
    name: &str,
) -> Result<Response<ResponseBody>, Error> {
    let model = gateway.model(key, name).await?;
    Ok(json(&Entry::from(&model)))
}

/// A name as it stands in a path, decoded; `None` when it is encoded wrongly.
pub(super) fn decode(name: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            decoded.push(first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digit = |b: u8| char::from(b).to_digit(16);
        decoded.push(u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()?);
        rest = tail;
    }
    String::from_utf8(decoded).ok()
}

impl<'a> From<&'a ListedModel> for Entry<'a> {
    fn from(model: &'a ListedModel) -> Self {
        Self {
            id: model.slug.as_str(),
            object: "model",
            created: model.released.as_seconds(),
            owned_by: model.owned_by.as_str(),
        }
    }
}

fn json(value: &impl Serialize) -> Response<ResponseBody> {
    // Strings and integers always serialise.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(bytes)).into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once() {
        assert_eq!(decode("gpt-4o").as_deref(), Some("gpt-4o"));
        assert_eq!(decode("a%2Fb%2fc/d").as_deref(), Some("a/b/c/d"));
        assert_eq!(decode("a%252Fb").as_deref(), Some("a%2Fb"));
        for bad in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
