//! Commands on platforms and end users.

pub(crate) mod end_users;
pub(crate) mod platforms;

pub use end_users::{
    CreateEndUser, CreatedEndUser, DeleteEndUser, ListEndUsers, ReadEndUser, ReadOwnUser,
    UpdateEndUser,
};
pub use platforms::{
    CreatePlatform, CreatedPlatform, DeletePlatform, ListPlatforms, ReadPlatform, SwitchPlatform,
    UpdatePlatform,
};

use std::sync::Arc;

use crate::auth::Authenticator;
use crate::billing::Billing;
use crate::clock::Clock;
use crate::routing::Router;
use crate::store::Stores;

/// The domain of platforms and end users.
pub struct Tenancy {
    pub(crate) stores: Stores,
    pub(crate) authenticator: Authenticator,
    pub(crate) billing: Billing,
    pub(crate) router: Router,
    pub(crate) clock: Arc<dyn Clock>,
}
