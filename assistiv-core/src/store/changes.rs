//! What an update changes.
//!
//! An update names only what it changes. The backend reads the row, lays the changes over it and writes it
//! back in one act, so updates that run at the same time and change different things all stand.

use crate::clock::Timestamp;
use crate::json::{RawJson, RawObject};
use crate::keys::ApiKey;
use crate::llm_configs::LlmConfig;
use crate::routing::ModelSlug;
use crate::tenancy::{EndUser, Platform, PlatformSettings, PlatformSlug};

/// Changes of a platform; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlatformChanges {
    /// For people.
    pub name: Option<String>,
    /// Unique over all platforms.
    pub slug: Option<PlatformSlug>,
    /// Whether its keys work.
    pub is_active: Option<bool>,
    /// Laid over the settings, key by key; `None` takes a key away. The values are valid.
    pub settings: Vec<(String, Option<RawJson>)>,
}

/// Changes of an end user; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndUserChanges {
    /// For people; the inner `None` clears it.
    pub display_name: Option<Option<String>>,
    /// Replaced whole.
    pub metadata: Option<RawObject>,
    /// Whether its keys work.
    pub is_active: Option<bool>,
}

/// Changes of a key; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChanges {
    /// For people.
    pub name: Option<String>,
    /// Whether it works.
    pub is_active: Option<bool>,
    /// When it stops working; the inner `None` is never.
    pub expires_at: Option<Option<Timestamp>>,
}

/// Changes of an LLM config; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LlmConfigChanges {
    /// For people; the inner `None` clears it.
    pub name: Option<Option<String>>,
    /// Lower is tried first.
    pub priority: Option<u16>,
    /// The models it may serve; the inner `None` is all.
    pub models: Option<Option<Vec<ModelSlug>>>,
    /// Whether it is the platform's default for its provider.
    pub is_default: Option<bool>,
    /// Whether it is used.
    pub is_active: Option<bool>,
}

// === impl PlatformChanges ===

impl PlatformChanges {
    /// Lays the changes over a platform at the time `now`.
    pub fn apply_to(&self, platform: &mut Platform, now: Timestamp) {
        set(&mut platform.name, self.name.as_ref());
        set(&mut platform.slug, self.slug.as_ref());
        set(&mut platform.is_active, self.is_active.as_ref());
        if !self.settings.is_empty() {
            let mut settings = platform.settings.as_object().clone();
            for (key, value) in &self.settings {
                match value {
                    Some(value) => settings.insert(key.clone(), value.clone()),
                    None => settings.remove(key),
                };
            }
            platform.settings = PlatformSettings::from_stored(settings);
        }
        platform.updated_at = now;
    }
}

// === impl EndUserChanges ===

impl EndUserChanges {
    /// Lays the changes over an end user at the time `now`.
    pub fn apply_to(&self, end_user: &mut EndUser, now: Timestamp) {
        set(&mut end_user.display_name, self.display_name.as_ref());
        set(&mut end_user.metadata, self.metadata.as_ref());
        set(&mut end_user.is_active, self.is_active.as_ref());
        end_user.updated_at = now;
    }
}

// === impl KeyChanges ===

impl KeyChanges {
    /// Lays the changes over a key.
    pub fn apply_to(&self, key: &mut ApiKey) {
        set(&mut key.name, self.name.as_ref());
        set(&mut key.is_active, self.is_active.as_ref());
        set(&mut key.expires_at, self.expires_at.as_ref());
    }
}

// === impl LlmConfigChanges ===

impl LlmConfigChanges {
    /// Lays the changes over a config at the time `now`. Its siblings' defaults are up to the backend.
    pub fn apply_to(&self, config: &mut LlmConfig, now: Timestamp) {
        set(&mut config.name, self.name.as_ref());
        set(&mut config.priority, self.priority.as_ref());
        set(&mut config.models, self.models.as_ref());
        set(&mut config.is_default, self.is_default.as_ref());
        set(&mut config.is_active, self.is_active.as_ref());
        config.updated_at = now;
    }
}

fn set<T: Clone>(field: &mut T, change: Option<&T>) {
    if let Some(value) = change {
        field.clone_from(value);
    }
}
