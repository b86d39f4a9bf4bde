//! Puts what was said before in front of a request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::asked::{Asked, Place};
use super::keeper::{Response, as_items};
use super::seal::Seal;
use super::store::ResponseId;
use super::thread::ThreadTurn;
use super::{ResponseError, Responses};
use crate::auth::{CallerScope, Identity};
use crate::call::{InferenceRequest, tokens_of_items};
use crate::store::StoreError;

/// The longest input, with everything before it.
const INPUT_BYTES_MAX: usize = 32 << 20;
/// How long a response that was made just now, on another node perhaps, is looked for.
const YOUNG_SECONDS: i64 = 5;
const LOOKS: u32 = 6;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is stored of a response.
#[derive(Deserialize)]
pub(super) struct Payload<'a> {
    #[serde(borrow)]
    pub(super) input: Vec<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response: &'a RawValue,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    output: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<std::borrow::Cow<'a, str>>,
}

// === impl Responses ===

impl Responses {
    /// Makes a request ready that asks for a response: it may carry sealed state, and what it continues or refers
    /// to stands in its input. Requests of other operations stay as they are.
    pub(crate) async fn resume(
        &self,
        identity: &Identity,
        request: &mut InferenceRequest,
    ) -> Result<(), ResponseError> {
        let (Some(asked), Some(scope)) = (&mut request.response, identity.caller()) else {
            return Ok(());
        };
        let owner = scope.end_user_id().map(|id| id.as_uuid());
        let owner = owner.unwrap_or_else(|| scope.platform_id().as_uuid());
        asked.seal = Some(Seal::new(self.keeper.cipher.clone(), owner));
        let turn = match &asked.thread {
            None => None,
            Some(thread) => Some(ThreadTurn::begin(&self.keeper, &scope, thread, asked.id).await?),
        };
        asked.place.turn = turn.map(Into::into);
        let chain = self.before(&scope, asked).await?;
        let references = refers(request.members().find("input").unwrap_or_default());
        if chain.is_empty() && !references {
            return Ok(());
        }
        let own = as_items(request.members().find("input").unwrap_or("[]"));
        let resolved = match references {
            true => self.resolve(&scope, &own).await?,
            false => own,
        };
        let mut input = String::from("[");
        for response in &chain {
            let payload = response.read()?;
            let answer: Answer<'_> = read(payload.response.get())?;
            for item in payload.input.iter().chain(&answer.output) {
                input.extend([item.get(), ","]);
            }
            if input.len() > INPUT_BYTES_MAX {
                return Err(ResponseError::TooLong);
            }
        }
        let before: u64 = {
            let text = format!("{}]", input.trim_end_matches(','));
            let items: Vec<&RawValue> = read(&text)?;
            tokens_of_items(&items)
        };
        let inner = resolved.trim();
        let inner = inner
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        match inner.map(str::trim) {
            Some(inner) if !inner.is_empty() => input.push_str(inner),
            _ => input.truncate(input.trim_end_matches(',').len()),
        }
        input.push(']');
        if let Some(asked) = &mut request.response {
            asked.place.own_input = Some(resolved.into());
        }
        request.members.set("input", input);
        request.prompt_tokens = request.prompt_tokens.saturating_add(before);
        Ok(())
    }

    /// The responses that a request continues, oldest first.
    async fn before(
        &self,
        scope: &CallerScope,
        asked: &mut Asked,
    ) -> Result<Vec<Response>, ResponseError> {
        let previous = match (&asked.previous, &asked.thread) {
            (Some(text), _) => {
                let not_found = || ResponseError::NotFound {
                    id: text.clone(),
                    param: Some("previous_response_id"),
                };
                let id: ResponseId = text.parse().map_err(|_| not_found())?;
                let chain = self.chain(scope, id).await?;
                let now = self.keeper.clock.now();
                let newest = chain.last().filter(|newest| newest.row.expires_at > now);
                let newest = newest.ok_or_else(not_found)?;
                if asked.thread.is_some() && newest.row.thread != asked.thread {
                    return Err(ResponseError::OtherThread);
                }
                chain
            }
            (None, Some(thread)) => {
                match self.keeper.store.newest_of_thread(scope, thread).await? {
                    None => Vec::new(),
                    Some(id) => self.chain(scope, id).await?,
                }
            }
            (None, None) => Vec::new(),
        };
        if let (Some(first), Some(last)) = (previous.first(), previous.last()) {
            if let Some(missing) = first.row.previous {
                return Err(ResponseError::NotFound {
                    id: missing.to_string(),
                    param: Some("previous_response_id"),
                });
            }
            asked.place = Place {
                conversation: Some(last.row.conversation),
                previous: Some(last.row.id),
                ..std::mem::take(&mut asked.place)
            };
        }
        Ok(previous)
    }

    /// A response of the caller's own and everything before it; nothing when there is no such response.
    async fn chain(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<Vec<Response>, StoreError> {
        let mut newest_first = Vec::new();
        let mut next = Some(id);
        // What this node has not written down yet comes last.
        while let Some(id) = next
            && let Some(fresh) = self.keeper.fresh(id)
        {
            if !fresh.row.is_of(scope) {
                return Ok(Vec::new());
            }
            next = fresh.row.previous;
            newest_first.push(fresh);
        }
        if let Some(id) = next {
            let stored = self.stored_chain(scope, id).await?;
            for row in stored.into_iter().rev() {
                newest_first.push(self.keeper.open(row)?);
            }
        }
        newest_first.reverse();
        Ok(newest_first)
    }

    async fn stored_chain(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<Vec<super::StoredResponse>, StoreError> {
        let mut looks = 0;
        loop {
            let rows = self.keeper.store.chain(scope, id).await?;
            looks += 1;
            if !rows.is_empty() || looks >= LOOKS || !self.is_young(id) {
                return Ok(rows);
            }
            // Another node may be writing it down in this moment.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn is_young(&self, id: ResponseId) -> bool {
        let age = self.keeper.clock.now().as_seconds() - id.created_at();
        (-YOUNG_SECONDS..=YOUNG_SECONDS).contains(&age)
    }

    /// Items with those in place of references to them.
    async fn resolve(&self, scope: &CallerScope, items: &str) -> Result<String, ResponseError> {
        let raw: Vec<&RawValue> = read(items)?;
        let mut known: HashMap<ResponseId, Vec<Response>> = HashMap::new();
        let mut written = Vec::with_capacity(raw.len());
        for (index, raw) in raw.into_iter().enumerate() {
            let item: Item<'_> = read(raw.get())?;
            if item.kind.as_deref() != Some("item_reference") {
                written.push(raw.get().to_owned());
                continue;
            }
            let unknown = || ResponseError::NoSuchItem {
                param: format!("input[{index}].id"),
            };
            let wanted = item.id.ok_or_else(unknown)?;
            let id = ResponseId::of_item(&wanted).ok_or_else(unknown)?;
            let chain = match known.entry(id) {
                Entry::Occupied(chain) => chain.into_mut(),
                Entry::Vacant(place) => place.insert(self.chain(scope, id).await?),
            };
            let payload = chain.last().ok_or_else(unknown)?.read()?;
            let answer: Answer<'_> = read(payload.response.get())?;
            let found = answer.output.into_iter().find(|raw| {
                let item = serde_json::from_str::<Item<'_>>(raw.get()).ok();
                item.and_then(|item| item.id).is_some_and(|id| id == wanted)
            });
            written.push(found.ok_or_else(unknown)?.get().to_owned());
        }
        Ok(format!("[{}]", written.join(",")))
    }
}

impl Response {
    pub(super) fn read(&self) -> Result<Payload<'_>, StoreError> {
        read(&self.payload)
    }
}

fn refers(input: &str) -> bool {
    memchr::memmem::find(input.as_bytes(), b"\"item_reference\"").is_some()
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("responses.payload".into()))
}
