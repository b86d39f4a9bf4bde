//! What of each thing is shown in the audit log. Secrets are not.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Audited;
use crate::billing::{Budget, BudgetRecord, BudgetTerms, Wallet};
use crate::id::{BudgetId, EndUserId, PlatformId};
use crate::keys::ApiKey;
use crate::limits::{PlatformRateLimits, RateLimits};
use crate::llm_configs::LlmConfig;
use crate::model_routes::ModelOverride;
use crate::money::{DisplayUnits, NanoUsd};
use crate::tenancy::{EndUser, Platform};
use crate::webhooks::Webhook;

impl Audited for Platform {
    const KIND: &'static str = "platform";

    fn id(&self) -> Option<Uuid> {
        Some(self.id.as_uuid())
    }

    fn shown(&self) -> Value {
        json!({
            "name": self.name, "slug": self.slug.as_str(), "settings": self.settings.as_object(),
            "is_active": self.is_active,
        })
    }
}

impl Audited for EndUser {
    const KIND: &'static str = "end_user";

    fn id(&self) -> Option<Uuid> {
        Some(self.id.as_uuid())
    }

    fn end_user(&self) -> Option<EndUserId> {
        Some(self.id)
    }

    fn shown(&self) -> Value {
        json!({
            "external_id": self.external_id, "display_name": self.display_name,
            "metadata": self.metadata, "is_active": self.is_active,
        })
    }
}

impl Audited for ApiKey {
    const KIND: &'static str = "api_key";

    fn id(&self) -> Option<Uuid> {
        Some(self.id.as_uuid())
    }

    fn end_user(&self) -> Option<EndUserId> {
        self.end_user_id
    }

    fn shown(&self) -> Value {
        let scopes: Vec<_> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        json!({
            "name": self.name, "key_prefix": self.key_prefix, "scopes": scopes,
            "is_active": self.is_active, "expires_at": self.expires_at,
        })
    }
}

impl Audited for LlmConfig {
    const KIND: &'static str = "llm_config";

    fn id(&self) -> Option<Uuid> {
        Some(self.id.as_uuid())
    }

    fn shown(&self) -> Value {
        json!({
            "provider": self.provider, "name": self.name, "priority": self.priority,
            "models": self.models, "is_default": self.is_default, "is_active": self.is_active,
            "api_key": "***",
        })
    }
}

impl Audited for Webhook {
    const KIND: &'static str = "webhook";

    fn id(&self) -> Option<Uuid> {
        Some(self.id.as_uuid())
    }

    fn shown(&self) -> Value {
        let types: Vec<_> = self.event_types.iter().map(|it| it.as_str()).collect();
        json!({
            "url": self.url, "description": self.description, "event_types": types,
            "is_active": self.is_active, "secret": "***",
        })
    }
}

/// What a platform changes of the catalogue.
pub(crate) struct OfModels<'a>(pub(crate) PlatformId, pub(crate) &'a [ModelOverride]);

impl Audited for OfModels<'_> {
    const KIND: &'static str = "model_routes";

    fn id(&self) -> Option<Uuid> {
        Some(self.0.as_uuid())
    }

    fn shown(&self) -> Value {
        json!({"overrides": self.1})
    }
}

/// A platform's rate limits.
pub(crate) struct OfPlatform(pub(crate) PlatformId, pub(crate) PlatformRateLimits);

impl Audited for OfPlatform {
    const KIND: &'static str = "rate_limits";

    fn id(&self) -> Option<Uuid> {
        Some(self.0.as_uuid())
    }

    fn shown(&self) -> Value {
        json!({"default": self.1.default, "aggregate": self.1.aggregate})
    }
}

/// An end user's own rate limits.
pub(crate) struct OfEndUser(pub(crate) EndUserId, pub(crate) Option<RateLimits>);

impl Audited for OfEndUser {
    const KIND: &'static str = "rate_limits";

    fn id(&self) -> Option<Uuid> {
        Some(self.0.as_uuid())
    }

    fn end_user(&self) -> Option<EndUserId> {
        Some(self.0)
    }

    fn shown(&self) -> Value {
        json!({"limits": self.1})
    }
}

/// What a budget is set to.
pub(crate) struct OfBudget<'a> {
    id: BudgetId,
    end_user: EndUserId,
    terms: &'a BudgetTerms,
    max_display: Option<DisplayUnits>,
    is_active: bool,
    is_suspended: bool,
}

impl<'a> From<&'a Budget> for OfBudget<'a> {
    fn from(budget: &'a Budget) -> Self {
        Self {
            id: budget.id,
            end_user: budget.end_user_id,
            terms: &budget.terms,
            max_display: budget.max_display,
            is_active: budget.is_active,
            is_suspended: budget.is_suspended,
        }
    }
}

impl<'a> From<&'a BudgetRecord> for OfBudget<'a> {
    fn from(budget: &'a BudgetRecord) -> Self {
        Self {
            id: budget.id,
            end_user: budget.end_user_id,
            terms: &budget.terms,
            max_display: budget.max_display,
            is_active: budget.is_active,
            is_suspended: budget.is_suspended,
        }
    }
}

impl Audited for OfBudget<'_> {
    const KIND: &'static str = "budget";

    fn id(&self) -> Option<Uuid> {
        Some(self.id.as_uuid())
    }

    fn end_user(&self) -> Option<EndUserId> {
        Some(self.end_user)
    }

    fn shown(&self) -> Value {
        let terms = self.terms;
        // As text, for numbers of JSON values are floats.
        let usd = |amount: Option<NanoUsd>| amount.map(|amount| amount.to_string());
        json!({
            "max_usd": usd(terms.limits.usd), "max_tokens": terms.limits.tokens, "max_display": self.max_display.map(|units| units.to_string()),
            "period": terms.period, "timezone": terms.timezone, "auto_replenish": terms.auto_replenish,
            "replenish_amount": usd(terms.replenish.usd), "replenish_tokens": terms.replenish.tokens,
            "low_balance_threshold": usd(terms.low_balance.usd),
            "low_balance_threshold_tokens": terms.low_balance.tokens,
            "is_active": self.is_active, "is_suspended": self.is_suspended,
        })
    }
}

/// What a wallet is set to.
impl Audited for Wallet {
    const KIND: &'static str = "wallet";

    fn id(&self) -> Option<Uuid> {
        Some(self.id.as_uuid())
    }

    fn shown(&self) -> Value {
        let threshold = self.low_balance_threshold.map(|amount| amount.to_string());
        json!({"low_balance_threshold": threshold, "is_active": self.is_active})
    }
}
