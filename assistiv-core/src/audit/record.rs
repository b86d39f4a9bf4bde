//! What is written down of a change.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::origin;
use crate::auth::{Actor, PlatformScope};
use crate::clock::Timestamp;
use crate::id::{AuditId, EndUserId, PlatformId};

/// A change, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// On which platform.
    pub platform_id: PlatformId,
    /// What was done: the kind of thing and a verb, `api_key.create`.
    pub action: String,
    /// Who did it.
    pub actor: Actor,
    /// To what.
    pub resource: Resource,
    /// Values before and after, by name; null where there was or is none.
    pub changes: Map<String, Value>,
    /// Where it was asked for.
    pub origin: super::Origin,
    /// When.
    pub created_at: Timestamp,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The kind of thing: `api_key`.
    pub kind: String,
    /// Which one.
    pub id: Option<Uuid>,
    /// Whose, where it is an end user's.
    pub end_user_id: Option<EndUserId>,
}

/// Something whose changes are written down.
pub(crate) trait Audited {
    /// The kind of thing.
    const KIND: &'static str;

    /// Which one it is.
    fn id(&self) -> Option<Uuid>;

    /// Whose it is, where it is an end user's.
    fn end_user(&self) -> Option<EndUserId> {
        None
    }

    /// What may be shown of it; an object.
    fn shown(&self) -> Value;
}

// === impl AuditEntry ===

impl AuditEntry {
    /// Something was made.
    pub(crate) fn created<T: Audited>(scope: &PlatformScope, made: &T, now: Timestamp) -> Self {
        Self::about(scope, "create", None, made, now)
    }

    /// Something was changed.
    pub(crate) fn updated<T: Audited>(
        scope: &PlatformScope,
        before: &T,
        after: &T,
        now: Timestamp,
    ) -> Self {
        Self::about(scope, "update", Some(before), after, now)
    }

    /// Something was removed.
    pub(crate) fn deleted<T: Audited>(scope: &PlatformScope, gone: &T, now: Timestamp) -> Self {
        let mut entry = Self::about(scope, "delete", None, gone, now);
        for pair in entry.changes.values_mut() {
            if let Value::Array(pair) = pair {
                pair.reverse();
            }
        }
        entry
    }

    /// Something was changed in a way that has a name.
    pub(crate) fn about<T: Audited>(
        scope: &PlatformScope,
        verb: &str,
        before: Option<&T>,
        after: &T,
        now: Timestamp,
    ) -> Self {
        Self {
            id: AuditId::new(),
            platform_id: scope.platform_id(),
            action: format!("{}.{verb}", T::KIND),
            actor: scope.actor(),
            resource: Resource {
                kind: T::KIND.to_owned(),
                id: after.id(),
                end_user_id: after.end_user(),
            },
            changes: difference(before.map(T::shown), after.shown()),
            origin: origin::current(),
            created_at: now,
        }
    }

    /// The same with one more change.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, before: Value, after: Value) -> Self {
        self.changes.insert(name.to_owned(), json!([before, after]));
        self
    }

    /// The same with a secret that was replaced.
    #[must_use]
    pub(crate) fn with_secret(self, name: &str) -> Self {
        self.with(name, json!("***"), json!("***"))
    }
}

/// What differs, as pairs.
fn difference(before: Option<Value>, after: Value) -> Map<String, Value> {
    let members = |value: Option<Value>| match value {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let mut before = members(before);
    let pairs = members(Some(after))
        .into_iter()
        .filter_map(|(name, after)| {
            let before = before.remove(&name).unwrap_or_default();
            (before != after).then(|| (name, json!([before, after])))
        });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_kept() {
        let before = json!({"a": 1, "b": null, "c": [1]});
        let after = json!({"a": 1, "b": 2, "c": [1, 2], "d": null});
        let found = Value::Object(difference(Some(before), after.clone()));
        assert_eq!(found, json!({"b": [null, 2], "c": [[1], [1, 2]]}));
        let made = Value::Object(difference(None, after));
        assert_eq!(
            made,
            json!({"a": [null, 1], "b": [null, 2], "c": [null, [1, 2]]})
        );
    }
}
