//! What authentication finds out about a caller.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::audit::Origin;
use crate::auth::{
    Actor, AuthError, CallerScope, EndUserScope, KeyKind, OperatorScope, PlatformScope,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, KeyId, PlatformId};
use crate::limits::{PlatformRateLimits, RateLimits};
use crate::tenancy::PlatformSettings;

/// What a key may do, within its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyScope {
    /// Model calls.
    Inference,
    /// The management API.
    Management,
    /// Tools and connections.
    Mcp,
    /// `/v1/me/*`.
    SelfService,
}

/// The scopes of a key; empty means no restriction within the key's kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyScopes(Vec<KeyScope>);

/// An authenticated key with what the request path needs to know of its holder.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) key_id: KeyId,
    pub(crate) kind: KeyKind,
    pub(crate) scopes: KeyScopes,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) holder: Holder,
}

#[derive(Clone, Debug)]
pub(crate) enum Holder {
    Operator(OperatorScope),
    Platform {
        scope: PlatformScope,
        profile: Arc<PlatformProfile>,
    },
    EndUser {
        scope: EndUserScope,
        profile: Arc<PlatformProfile>,
        /// Those of its own, which go before the platform's default.
        rate_limits: Option<RateLimits>,
    },
}

/// The facts of a platform that every one of its calls needs.
#[derive(Clone, Debug)]
pub(crate) struct PlatformProfile {
    pub(crate) settings: PlatformSettings,
    pub(crate) wallet_account: AccountId,
    pub(crate) rate_limits: PlatformRateLimits,
}

/// Who acts in a management command.
#[derive(Clone, Debug)]
pub struct Principal {
    kind: PrincipalKind,
    origin: Option<Arc<Origin>>,
}

#[derive(Clone, Debug)]
enum PrincipalKind {
    Key(Arc<Identity>),
    /// The process itself, acting for whoever runs it.
    Local,
}

// === impl KeyScope ===

impl KeyScope {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Management => "management",
            Self::Mcp => "mcp",
            Self::SelfService => "self",
        }
    }

    /// The bit under which backends store the scope.
    const fn bit(self) -> u32 {
        match self {
            Self::Inference => 1,
            Self::Management => 2,
            Self::Mcp => 4,
            Self::SelfService => 8,
        }
    }

    const ALL: [Self; 4] = [
        Self::Inference,
        Self::Management,
        Self::Mcp,
        Self::SelfService,
    ];
}

impl FromStr for KeyScope {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(())
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl KeyScopes ===

impl KeyScopes {
    /// No restriction within the key's kind.
    pub const UNRESTRICTED: Self = Self(Vec::new());

    /// Exactly these scopes, each once.
    pub fn new(scopes: impl IntoIterator<Item = KeyScope>) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// From the bit set that backends store.
    pub fn from_bits(bits: i32) -> Self {
        Self(
            KeyScope::ALL
                .into_iter()
                .filter(|s| bits & s.bit() as i32 != 0)
                .collect(),
        )
    }

    /// The bit set that backends store.
    pub fn bits(&self) -> i32 {
        self.0.iter().map(|s| s.bit() as i32).sum()
    }

    /// The scopes in order; none when unrestricted.
    pub fn iter(&self) -> impl Iterator<Item = KeyScope> {
        self.0.iter().copied()
    }

    /// Whether the key has no restriction within its kind.
    pub fn is_unrestricted(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key of this kind may do what `wanted` stands for.
    pub fn allow(&self, kind: KeyKind, wanted: KeyScope) -> bool {
        // An end-user key for inference serves a front end: it brings the user's own tools and data along.
        let implied = kind == KeyKind::EndUser
            && matches!(wanted, KeyScope::Mcp | KeyScope::SelfService)
            && self.0.contains(&KeyScope::Inference);
        self.is_unrestricted() || implied || self.0.contains(&wanted)
    }

    /// Whether a key with these scopes may issue one with `others`.
    pub fn cover(&self, others: &Self) -> bool {
        self.is_unrestricted()
            || (!others.is_unrestricted() && others.0.iter().all(|s| self.0.contains(s)))
    }
}

// === impl Identity ===

impl Identity {
    /// The key that was presented.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// What kind of key it is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// What the key may do.
    pub fn scopes(&self) -> &KeyScopes {
        &self.scopes
    }

    /// The key's platform; an operator key has none.
    pub fn platform_id(&self) -> Option<PlatformId> {
        self.platform().map(PlatformScope::platform_id)
    }

    /// The key's end user, for an end-user key.
    pub fn end_user_id(&self) -> Option<EndUserId> {
        self.end_user().map(EndUserScope::end_user_id)
    }

    /// The key's holder as one who makes calls; an operator key makes none.
    pub(crate) fn caller(&self) -> Option<CallerScope> {
        let platform = self.platform_id()?;
        Some(CallerScope::new(platform, self.end_user_id()))
    }

    /// The same key, as if one of its platform's end users called. `None` for whoever has no platform key.
    pub(crate) fn on_behalf_of(
        &self,
        end_user: EndUserId,
        rate_limits: Option<RateLimits>,
    ) -> Option<Self> {
        let Holder::Platform { scope, profile } = &self.holder else {
            return None;
        };
        let holder = Holder::EndUser {
            scope: EndUserScope::new(*scope, end_user),
            profile: profile.clone(),
            rate_limits,
        };
        Some(Self {
            holder,
            ..self.clone()
        })
    }

    pub(crate) fn platform(&self) -> Option<&PlatformScope> {
        match &self.holder {
            Holder::Operator(_) => None,
            Holder::Platform { scope, .. } => Some(scope),
            Holder::EndUser { scope, .. } => Some(scope.platform()),
        }
    }

    pub(crate) fn end_user(&self) -> Option<&EndUserScope> {
        match &self.holder {
            Holder::EndUser { scope, .. } => Some(scope),
            _ => None,
        }
    }

    pub(crate) fn profile(&self) -> Option<&PlatformProfile> {
        match &self.holder {
            Holder::Operator(_) => None,
            Holder::Platform { profile, .. } | Holder::EndUser { profile, .. } => Some(profile),
        }
    }

    /// The rate limits that an end user has of its own.
    pub(crate) fn own_rate_limits(&self) -> Option<RateLimits> {
        match &self.holder {
            Holder::EndUser { rate_limits, .. } => *rate_limits,
            Holder::Operator(_) | Holder::Platform { .. } => None,
        }
    }

    /// Whether anything limits the caller's rate.
    pub(crate) fn is_rate_limited(&self) -> bool {
        let Some(profile) = self.profile() else {
            return false;
        };
        let set = &profile.rate_limits;
        let is_end_user = self.end_user().is_some();
        set.aggregate.is_some()
            || is_end_user && (set.default.is_some() || self.own_rate_limits().is_some())
    }

    pub(crate) fn require(&self, scope: KeyScope) -> Result<(), AuthError> {
        if self.scopes.allow(self.kind, scope) {
            Ok(())
        } else {
            Err(AuthError::InsufficientScope { required: scope })
        }
    }
}

// === impl Principal ===

impl Principal {
    /// The process itself, with an operator's authority: for start-up code of a program that embeds the
    /// gateway, never for anything that came over a wire.
    pub(crate) fn local() -> Self {
        Self::of(PrincipalKind::Local)
    }

    /// A caller who presented a key.
    pub fn from_identity(identity: Arc<Identity>) -> Self {
        Self::of(PrincipalKind::Key(identity))
    }

    fn of(kind: PrincipalKind) -> Self {
        Self { kind, origin: None }
    }

    /// The same principal, with the request that it makes: for the audit log.
    #[must_use]
    pub fn asking(mut self, origin: Origin) -> Self {
        self.origin = Some(Arc::new(origin));
        self
    }

    pub(crate) fn origin(&self) -> Option<Arc<Origin>> {
        self.origin.clone()
    }

    /// The identity behind the principal, unless it is the process itself.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.kind {
            PrincipalKind::Key(identity) => Some(identity),
            PrincipalKind::Local => None,
        }
    }

    /// Authority over a platform for management: a platform key of that platform with scope `management`, or
    /// an operator.
    ///
    /// # Errors
    /// Decided before any look-up, so that it never tells whether the platform exists.
    pub fn manage(&self, platform_id: PlatformId) -> Result<PlatformScope, AuthError> {
        let Some(identity) = self.identity() else {
            return Ok(OperatorScope::new(Actor::System).over(platform_id));
        };
        match &identity.holder {
            Holder::Operator(scope) => Ok(scope.over(platform_id)),
            Holder::EndUser { .. } => Err(AuthError::WrongKeyType {
                wanted: "a platform key",
                presented: identity.kind.described(),
            }),
            Holder::Platform { scope, .. } if scope.platform_id() != platform_id => {
                Err(AuthError::OtherPlatform)
            }
            Holder::Platform { scope, .. } => {
                identity.require(KeyScope::Management)?;
                Ok(*scope)
            }
        }
    }

    /// Authority of the operator.
    ///
    /// # Errors
    /// [`AuthError::WrongKeyType`] for every other key.
    pub fn operate(&self) -> Result<OperatorScope, AuthError> {
        match self
            .identity()
            .map(|identity| (&identity.holder, identity.kind))
        {
            None => Ok(OperatorScope::new(Actor::System)),
            Some((Holder::Operator(scope), _)) => Ok(*scope),
            Some((_, kind)) => Err(AuthError::WrongKeyType {
                wanted: "an operator key",
                presented: kind.described(),
            }),
        }
    }

    /// Authority of an end user over its own things.
    ///
    /// # Errors
    /// [`AuthError::WrongKeyType`] for every other key, [`AuthError::InsufficientScope`] without `self`.
    pub fn own(&self) -> Result<EndUserScope, AuthError> {
        let presented = self
            .identity()
            .map_or(KeyKind::Operator, Identity::kind)
            .described();
        let wrong = AuthError::WrongKeyType {
            wanted: "an end-user key",
            presented,
        };
        let identity = self.identity().ok_or(AuthError::MissingKey)?;
        match &identity.holder {
            Holder::EndUser { scope, .. } => {
                identity.require(KeyScope::SelfService)?;
                Ok(*scope)
            }
            _ => Err(wrong),
        }
    }

    /// The scopes that a key issued by this principal may have at most.
    pub(crate) fn grantable(&self) -> KeyScopes {
        match self.identity() {
            Some(identity) if identity.kind != KeyKind::Operator => identity.scopes.clone(),
            _ => KeyScopes::UNRESTRICTED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_scopes_are_no_restriction() {
        assert!(KeyScopes::UNRESTRICTED.allow(KeyKind::Platform, KeyScope::Management));
        let inference = KeyScopes::new([KeyScope::Inference]);
        assert!(!inference.allow(KeyKind::Platform, KeyScope::Management));
        assert!(inference.allow(KeyKind::EndUser, KeyScope::SelfService));
        assert!(!inference.allow(KeyKind::Platform, KeyScope::SelfService));
    }

    #[test]
    fn no_key_issues_wider_scopes_than_its_own() {
        let both = KeyScopes::new([KeyScope::Inference, KeyScope::Management]);
        let inference = KeyScopes::new([KeyScope::Inference]);
        assert!(both.cover(&inference));
        assert!(!inference.cover(&both));
        assert!(!both.cover(&KeyScopes::UNRESTRICTED));
        assert!(KeyScopes::UNRESTRICTED.cover(&KeyScopes::UNRESTRICTED));
        assert_eq!(KeyScopes::from_bits(both.bits()), both);
    }
}
