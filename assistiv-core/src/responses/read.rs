//! Reads and removes stored responses.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::keeper::Response;
use super::store::ResponseId;
use super::{ResponseError, Responses};
use crate::auth::CallerScope;

/// Which items of a response's input are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemsQuery {
    /// Those after the item of this id, in the order of the list.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// In the order of the input; else the last one comes first.
    pub ascending: bool,
}

/// Items of a response's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputItems {
    /// The items with their ids, as JSON text.
    pub items: Vec<(String, String)>,
    /// Whether there are more.
    pub has_more: bool,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
    id: Option<String>,
}

// === impl Responses ===

impl Responses {
    /// A stored response, as its caller got it.
    ///
    /// # Errors
    /// [`ResponseError::NotFound`], also for a response of somebody else.
    pub async fn response(&self, scope: &CallerScope, id: &str) -> Result<String, ResponseError> {
        let response = self.find(scope, id).await?;
        Ok(response.read()?.response.get().to_owned())
    }

    /// Items of the input of a stored response, without those of the responses before it.
    ///
    /// # Errors
    /// As [`Responses::response`]; [`ResponseError::NoSuchItem`] where the query names an item that is not among
    /// them.
    pub async fn input_items(
        &self,
        scope: &CallerScope,
        id: &str,
        query: &ItemsQuery,
    ) -> Result<InputItems, ResponseError> {
        let response = self.find(scope, id).await?;
        let stem = response.row.id.as_uuid().simple();
        let items = response.read()?.input;
        let mut named: Vec<(String, String)> = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| name(item, &format!("{stem}i{index:02x}")))
            .collect();
        if !query.ascending {
            named.reverse();
        }
        let from = match &query.after {
            None => 0,
            Some(after) => match named.iter().position(|(id, _)| id == after) {
                Some(at) => at + 1,
                None => {
                    return Err(ResponseError::NoSuchItem {
                        param: "after".into(),
                    });
                }
            },
        };
        let has_more = named.len() - from > query.limit;
        let items = named.into_iter().skip(from).take(query.limit).collect();
        Ok(InputItems { items, has_more })
    }

    /// Removes a stored response. What was continued from it cannot be continued any more.
    ///
    /// # Errors
    /// As [`Responses::response`].
    pub async fn remove(&self, scope: &CallerScope, id: &str) -> Result<(), ResponseError> {
        let found = self.find(scope, id).await?;
        match self.keeper.remove(scope, found.row.id).await? {
            true => Ok(()),
            false => Err(not_found(id)),
        }
    }

    async fn find(&self, scope: &CallerScope, text: &str) -> Result<Response, ResponseError> {
        let not_found = || not_found(text);
        let id: ResponseId = text.parse().map_err(|_| not_found())?;
        let found = match self.keeper.fresh(id) {
            Some(fresh) => Some(fresh).filter(|fresh| fresh.row.is_seen_by(scope)),
            None => match self.keeper.store.response(scope, id).await? {
                Some(row) => Some(self.keeper.open(row)?),
                None => None,
            },
        };
        let now = self.keeper.clock.now();
        found
            .filter(|found| found.row.expires_at > now)
            .ok_or_else(not_found)
    }
}

fn not_found(id: &str) -> ResponseError {
    ResponseError::NotFound {
        id: id.to_owned(),
        param: None,
    }
}

/// The item with an id, which callers may leave out.
fn name(raw: &RawValue, stem: &str) -> (String, String) {
    let item = serde_json::from_str::<Item<'_>>(raw.get()).ok();
    let (kind, id) = item.map_or((None, None), |item| (item.kind, item.id));
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        return (id, raw.get().to_owned());
    }
    let prefix = match kind.as_deref() {
        Some("function_call") => "fc",
        Some("function_call_output") => "fco",
        Some("reasoning") => "rs",
        _ => "msg",
    };
    let id = format!("{prefix}_{stem}");
    let inner = raw.get().trim_start();
    let inner = inner.strip_prefix('{').unwrap_or("}").trim_start();
    // A message may come without its type; one that says `null` is left alone.
    let is_bare = kind.is_none() && !raw.get().contains("\"type\"");
    let kind = if is_bare { r#","type":"message""# } else { "" };
    let comma = if inner.starts_with('}') { "" } else { "," };
    let json = format!(r#"{{"id":"{id}"{kind}{comma}{inner}"#);
    (id, json)
}
