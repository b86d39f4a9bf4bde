//! Platforms and their end users: types, settings and the commands on them.

pub(crate) mod commands;
mod settings;
mod slug;

pub use commands::{
    CreateEndUser, CreatePlatform, CreatedEndUser, CreatedPlatform, DeleteEndUser, DeletePlatform,
    ListEndUsers, ListPlatforms, ReadEndUser, ReadOwnUser, ReadPlatform, SwitchPlatform, Tenancy,
    UpdateEndUser, UpdatePlatform,
};
pub use settings::{BudgetView, PlatformSettings, UnsupportedParams};
pub use slug::PlatformSlug;

use crate::clock::Timestamp;
use crate::id::{EndUserId, PlatformId};
use crate::json::RawObject;

/// A tenant. Keys, end users, wallet and LLM configs belong to exactly one platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Platform {
    /// Its id.
    pub id: PlatformId,
    /// 1 to 100 characters.
    pub name: String,
    /// Unique over all platforms.
    pub slug: PlatformSlug,
    /// What the platform chose.
    pub settings: PlatformSettings,
    /// Whether its keys work.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A user of a platform, known by an `external_id` that the platform defines.
#[derive(Clone, Debug, PartialEq)]
pub struct EndUser {
    /// Its id.
    pub id: EndUserId,
    /// Its platform.
    pub platform_id: PlatformId,
    /// The platform's own name for the user: 1 to 255 characters, unique on the platform.
    pub external_id: String,
    /// For people; 1 to 100 characters.
    pub display_name: Option<String>,
    /// Any JSON object of at most 16 KiB.
    pub metadata: RawObject,
    /// Whether its keys work.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// How a path names an end user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndUserRef {
    /// By the gateway's id.
    Id(EndUserId),
    /// By the platform's own name: `external:<external_id>`.
    External(String),
}
