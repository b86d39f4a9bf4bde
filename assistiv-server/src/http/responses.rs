//! `/v1/responses/{response}`: stored responses, in OpenAI's shape (`docs/api-design.md`).

use assistiv_core::auth::PresentedKey;
use assistiv_core::error::FieldError;
use assistiv_core::responses::{InputItems, ItemsQuery};
use assistiv_core::{Error, Gateway, Problem, json};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response};
use http_body_util::Full;

use super::response::ResponseBody;

const ITEMS: usize = 20;
const ITEMS_MAX: usize = 100;

/// What is wanted of a stored response.
pub(super) struct Request {
    id: String,
    what: What,
}

enum What {
    Read,
    Delete,
    Items(ItemsQuery),
}

// === impl Request ===

impl Request {
    /// The response itself, or its end.
    pub(super) fn one(method: &Method, id: &str) -> Self {
        let what = match *method == Method::DELETE {
            true => What::Delete,
            false => What::Read,
        };
        Self {
            id: id.to_owned(),
            what,
        }
    }

    /// Its input.
    pub(super) fn items(id: &str, query: Option<&str>) -> Result<Self, Problem> {
        let mut items = ItemsQuery {
            after: None,
            limit: ITEMS,
            ascending: false,
        };
        let mut errors = Vec::new();
        let mut fail = |param: &str, message: &str| {
            errors.push(FieldError {
                param: param.to_owned(),
                message: message.to_owned(),
            });
        };
        for pair in query.unwrap_or_default().split('&') {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("after", "") => {}
                ("after", after) => items.after = Some(after.to_owned()),
                ("limit", limit) => match limit.parse() {
                    Ok(limit @ 1..=ITEMS_MAX) => items.limit = limit,
                    _ => fail("limit", "must be an integer from 1 to 100"),
                },
                ("order", "asc") => items.ascending = true,
                ("order", "desc") => items.ascending = false,
                ("order", _) => fail("order", "must be `asc` or `desc`"),
                _ => {}
            }
        }
        match errors.is_empty() {
            true => Ok(Self {
                id: id.to_owned(),
                what: What::Items(items),
            }),
            false => Err(Problem::validation(&errors)),
        }
    }
}

/// Answers it.
pub(super) async fn answer(
    gateway: &Gateway,
    key: &PresentedKey,
    request: Request,
) -> Result<Response<ResponseBody>, Error> {
    let scope = gateway.caller(key).await?;
    let (responses, id) = (gateway.responses(), &*request.id);
    match request.what {
        What::Read => Ok(page(responses.response(&scope, id).await?)),
        What::Delete => {
            responses.remove(&scope, id).await?;
            // It was found by its id, so that this is the plain text that ids are.
            Ok(page(format!(
                r#"{{"id":"{id}","object":"response","deleted":true}}"#
            )))
        }
        What::Items(query) => {
            let items = responses.input_items(&scope, id, &query).await?;
            Ok(page(list(&items)))
        }
    }
}

fn list(items: &InputItems) -> String {
    let id = |item: Option<&(String, String)>| {
        item.map_or_else(|| "null".into(), |(id, _)| json::string(id))
    };
    let data: Vec<&str> = items.items.iter().map(|(_, json)| &**json).collect();
    format!(
        r#"{{"object":"list","data":[{}],"first_id":{},"last_id":{},"has_more":{}}}"#,
        data.join(","),
        id(items.items.first()),
        id(items.items.last()),
        items.has_more,
    )
}

fn page(json: String) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(Bytes::from(json)).into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
