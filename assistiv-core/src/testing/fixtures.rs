//! Things to store: valid, unremarkable, and new each time.

use serde::de::DeserializeOwned;

use crate::auth::{Actor, KeyKind, KeyScopes, PresentedKey};
use crate::billing::{
    ActContext, Amounts, BudgetLegs, BudgetTerms, ChargeFlags, EntryKind, EntrySource, Idempotency,
    LedgerEntry, Legs, Limits, NewBudget, NewWallet, OpenStream, Period, ZoneName,
};
use crate::clock::Timestamp;
use crate::id::{
    AccountId, BudgetId, EndUserId, EntryId, KeyId, LlmConfigId, LogId, ModelId, PlatformId,
    PriceId, WalletId,
};
use crate::json::RawObject;
use crate::keys::ApiKey;
use crate::llm_configs::LlmConfig;
use crate::money::{DisplayUnits, NanoUsd, Tokens};
use crate::store::{NewEndUser, NewPlatform};
use crate::tenancy::{EndUser, Platform, PlatformSettings};

/// Whole US dollars.
pub fn dollars(whole: i64) -> NanoUsd {
    NanoUsd::new(whole * 1_000_000_000)
}

/// USD alone, in whole dollars.
pub fn usd(whole: i64) -> Amounts {
    Amounts::usd(dollars(whole))
}

/// Reads a value from JSON text.
pub fn from_json<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// An active platform.
pub fn platform(slug: &str, now: Timestamp) -> Platform {
    Platform {
        id: PlatformId::new(),
        name: slug.to_owned(),
        slug: slug.parse().unwrap(),
        settings: PlatformSettings::default(),
        is_active: true,
        created_at: now,
        updated_at: now,
    }
}

/// A platform with a first key, and a wallet that opens with `opening`.
pub fn new_platform(slug: &str, opening: NanoUsd, now: Timestamp) -> NewPlatform {
    let platform = platform(slug, now);
    let key = ApiKey {
        platform_id: Some(platform.id),
        ..key(KeyKind::Platform, now)
    };
    let wallet = NewWallet {
        id: WalletId::new(),
        opening: (EntryId::new(), opening),
    };
    NewPlatform {
        platform,
        key,
        wallet,
    }
}

/// An active key without restriction that belongs to nobody yet.
pub fn key(kind: KeyKind, now: Timestamp) -> ApiKey {
    let presented = PresentedKey::generate(kind).unwrap();
    ApiKey {
        id: KeyId::new(),
        platform_id: None,
        end_user_id: None,
        kind,
        digest: presented.digest(),
        key_prefix: presented.shown_prefix(),
        name: "a key".to_owned(),
        scopes: KeyScopes::UNRESTRICTED,
        is_active: true,
        last_used_at: None,
        expires_at: None,
        created_at: now,
    }
}

/// A platform's own key.
pub fn platform_key(platform_id: PlatformId, now: Timestamp) -> ApiKey {
    ApiKey {
        platform_id: Some(platform_id),
        ..key(KeyKind::Platform, now)
    }
}

/// A key of an end user.
pub fn end_user_key(end_user: &EndUser, now: Timestamp) -> ApiKey {
    ApiKey {
        platform_id: Some(end_user.platform_id),
        end_user_id: Some(end_user.id),
        ..key(KeyKind::EndUser, now)
    }
}

/// An active end user.
pub fn end_user(platform_id: PlatformId, external_id: &str, now: Timestamp) -> EndUser {
    EndUser {
        id: EndUserId::new(),
        platform_id,
        external_id: external_id.to_owned(),
        display_name: None,
        metadata: from_json(r#"{"plan": "pro", "n": 1.50}"#),
        is_active: true,
        created_at: now,
        updated_at: now,
    }
}

/// An end user with a key and no budget, with room for 20 active keys.
pub fn new_end_user(platform_id: PlatformId, external_id: &str, now: Timestamp) -> NewEndUser {
    let end_user = end_user(platform_id, external_id, now);
    let key = end_user_key(&end_user, now);
    NewEndUser {
        end_user,
        key,
        budget: None,
        active_keys_max: 20,
    }
}

/// Limits in whole dollars and tokens.
pub fn limits(whole_usd: Option<i64>, tokens: Option<i64>) -> Limits {
    Limits {
        usd: whole_usd.map(dollars),
        tokens: tokens.map(Tokens::new),
    }
}

/// Terms that never reset.
pub fn one_time(limits: Limits) -> BudgetTerms {
    BudgetTerms {
        limits,
        period: Period::OneTime,
        timezone: ZoneName::default(),
        auto_replenish: false,
        replenish: Limits::default(),
        low_balance: Limits::default(),
    }
}

/// Terms that reset at midnight UTC.
pub fn daily(limits: Limits) -> BudgetTerms {
    BudgetTerms {
        period: Period::Daily,
        ..one_time(limits)
    }
}

/// A budget to make.
pub fn new_budget(terms: BudgetTerms) -> NewBudget {
    NewBudget {
        id: BudgetId::new(),
        opening: EntryId::new(),
        terms,
        max_display: None,
    }
}

/// A context with a fresh id.
pub fn context() -> ActContext {
    ActContext {
        uid: EntryId::new(),
        idempotency_key: None,
        actor: Some(Actor::OperatorKey(KeyId::new())),
        reason: Some("a reason".to_owned()),
        metadata: from_json(r#"{"ticket": 7}"#),
    }
}

/// A repeatable request, told apart by two numbers.
pub fn repeatable(scope: u8, request: u8) -> Idempotency {
    Idempotency {
        scope_hash: [scope; 32],
        request_hash: [request; 32],
    }
}

/// The cost of a call in whole dollars, the same on both legs, and its tokens.
pub fn cost(whole_usd: i64, tokens: i64) -> Legs {
    Legs {
        wallet: dollars(whole_usd),
        budget: Amounts {
            usd: dollars(whole_usd),
            tokens: Tokens::new(tokens),
            display: DisplayUnits::ZERO,
        },
    }
}

/// Who pays for a call.
#[derive(Clone, Copy, Debug)]
pub struct Payers {
    /// The platform.
    pub platform_id: PlatformId,
    /// The end user.
    pub end_user_id: Option<EndUserId>,
    /// The wallet's account.
    pub wallet: AccountId,
    /// The budget's account.
    pub budget: Option<AccountId>,
}

/// The charge of a call.
pub fn charge(payers: &Payers, cost: Legs, now: Timestamp) -> LedgerEntry {
    let budget = payers.budget.map(|account| BudgetLegs {
        account,
        remaining: cost.budget.negated(),
        limit: Amounts::ZERO,
    });
    LedgerEntry {
        uid: LogId::new(),
        kind: EntryKind::Charge,
        source: EntrySource::Inference,
        platform_id: payers.platform_id,
        end_user_id: payers.end_user_id,
        wallet: Some((payers.wallet, cost.wallet.negated())),
        budget,
        refers_to: None,
        flags: ChargeFlags::default(),
        posted_by: None,
        metered: None,
        idempotency_key: None,
        actor: None,
        reason: None,
        metadata: RawObject::new(),
        created_at: now,
    }
}

/// A stream that would be charged `accrued`.
pub fn stream(payers: &Payers, accrued: Legs) -> OpenStream {
    OpenStream {
        log_id: LogId::new(),
        platform_id: payers.platform_id,
        end_user_id: payers.end_user_id,
        wallet: payers.wallet,
        budget: payers.budget,
        accrued,
        held: accrued,
        price_id: PriceId::new(),
        model_id: ModelId::new(),
    }
}

/// An active config that asks for nothing special.
pub fn llm_config(platform_id: PlatformId, provider: &str, now: Timestamp) -> LlmConfig {
    LlmConfig {
        id: LlmConfigId::new(),
        platform_id,
        provider: provider.parse().unwrap(),
        name: None,
        priority: 100,
        models: None,
        is_default: false,
        is_active: true,
        created_at: now,
        updated_at: now,
    }
}
