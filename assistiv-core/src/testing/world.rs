//! A store under test with the clock it runs by, and what checks do with them again and again.

use std::time::Duration;

use super::{fixtures, scopes};
use crate::auth::PlatformScope;
use crate::billing::{
    AccountAudit, AccountKind, ActRefusal, Amounts, Applied, Budget, BudgetTerms, EntryKind,
    EntryWithBalance, LedgerAct, LedgerPart, Limits,
};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::events::Event;
use crate::id::AccountId;
use crate::keys::ApiKey;
use crate::money::NanoUsd;
use crate::store::{
    EndUserChanges, EndUserFilter, Listed, Page, PlatformFilter, StoreError, Stores, Upsert,
};
use crate::tenancy::{EndUser, EndUserRef, Platform};

/// A fresh store and the clock it was given.
#[derive(Clone)]
pub struct World {
    /// The stores under test.
    pub stores: Stores,
    /// Their clock. It stands at noon UTC of Sunday 2026-03-15 until a check sets it.
    pub clock: ManualClock,
}

/// A platform of the world.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The platform.
    pub platform: Platform,
    /// Its first key.
    pub key: ApiKey,
    /// Authority over it.
    pub scope: PlatformScope,
    /// The account of its wallet.
    pub wallet: AccountId,
}

/// When every world begins.
pub const BEGIN: &str = "2026-03-15T12:00:00Z";

// === impl World ===

impl World {
    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sets the clock.
    pub fn set_clock(&self, at: &str) {
        self.clock.set(at.parse().unwrap());
    }

    /// Moves the clock on by one second, so that what is made next is newer.
    pub fn tick(&self) {
        self.clock
            .set(Timestamp::from_micros(self.now().as_micros() + 1_000_000));
    }

    /// Moves the clock on.
    pub fn pass(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap();
        self.clock
            .set(Timestamp::from_micros(self.now().as_micros() + micros));
    }

    /// A new platform whose wallet holds ten dollars.
    pub async fn tenant(&self, slug: &str) -> Tenant {
        self.tenant_with(slug, fixtures::dollars(10)).await
    }

    /// A new platform whose wallet holds `opening`.
    pub async fn tenant_with(&self, slug: &str, opening: NanoUsd) -> Tenant {
        let new = fixtures::new_platform(slug, opening, self.now());
        let key = new.key.clone();
        let platform = self
            .stores
            .tenancy
            .create_platform(&scopes::operator(), new)
            .await
            .unwrap();
        let record = self
            .stores
            .keys
            .find_by_digest(&scopes::digest(), &key.digest)
            .await
            .unwrap();
        let (_, wallet) = record.unwrap().platform.unwrap();
        let scope = scopes::platform(platform.id);
        Tenant {
            platform,
            key,
            scope,
            wallet,
        }
    }

    /// A new end user without a budget.
    pub async fn end_user(&self, tenant: &Tenant, external_id: &str) -> EndUser {
        let new = fixtures::new_end_user(tenant.platform.id, external_id, self.now());
        match self
            .stores
            .tenancy
            .create_end_user(&tenant.scope, new)
            .await
            .unwrap()
        {
            Upsert::Created(end_user) => end_user,
            Upsert::Existing(end_user) => panic!("{end_user:?} was there already"),
        }
    }

    /// A new end user with a budget.
    pub async fn end_user_with_budget(
        &self,
        tenant: &Tenant,
        external_id: &str,
        terms: BudgetTerms,
    ) -> EndUser {
        let end_user = self.end_user(tenant, external_id).await;
        let budget = fixtures::new_budget(terms);
        self.apply(
            tenant,
            LedgerAct::CreateBudget {
                end_user: end_user.id,
                budget,
            },
        )
        .await;
        end_user
    }

    /// Switches an end user off.
    pub async fn switch_end_user_off(&self, tenant: &Tenant, end_user: &EndUser) {
        let changes = EndUserChanges {
            is_active: Some(false),
            ..EndUserChanges::default()
        };
        self.stores
            .tenancy
            .update_end_user(&tenant.scope, &EndUserRef::Id(end_user.id), &changes)
            .await
            .unwrap();
    }

    /// Performs an act that must succeed.
    pub async fn apply(&self, tenant: &Tenant, act: LedgerAct) -> Applied {
        self.try_apply(tenant, &act).await.unwrap()
    }

    /// Performs an act that may be refused.
    pub async fn try_apply(&self, tenant: &Tenant, act: &LedgerAct) -> Result<Applied, ActRefusal> {
        let context = fixtures::context();
        self.stores
            .ledger
            .apply(&tenant.scope, act, &context, None)
            .await
            .unwrap()
    }

    /// Counts something as used by an end user.
    pub async fn debit(&self, tenant: &Tenant, end_user: &EndUser, amounts: Limits) -> Applied {
        self.apply(
            tenant,
            LedgerAct::DebitBudget {
                end_user: end_user.id,
                amounts,
            },
        )
        .await
    }

    /// An end user's active budget, which must exist.
    pub async fn budget(&self, tenant: &Tenant, end_user: &EndUser) -> Budget {
        self.stores
            .ledger
            .budget(&tenant.scope, end_user.id)
            .await
            .unwrap()
            .unwrap()
    }

    /// The account of an end user's active budget.
    pub async fn budget_account(&self, tenant: &Tenant, end_user: &EndUser) -> AccountId {
        self.stores
            .ledger
            .budget_account(&tenant.scope, end_user.id)
            .await
            .unwrap()
            .unwrap()
    }

    /// The wallet's balance.
    pub async fn balance(&self, tenant: &Tenant) -> NanoUsd {
        self.stores
            .ledger
            .wallet(&tenant.scope)
            .await
            .unwrap()
            .balance
    }

    /// Who pays for a call of an end user.
    pub async fn payers(&self, tenant: &Tenant, end_user: Option<&EndUser>) -> fixtures::Payers {
        let budget = match end_user {
            Some(user) => self
                .stores
                .ledger
                .budget_account(&tenant.scope, user.id)
                .await
                .unwrap(),
            None => None,
        };
        fixtures::Payers {
            platform_id: tenant.platform.id,
            end_user_id: end_user.map(|user| user.id),
            wallet: tenant.wallet,
            budget,
        }
    }

    /// All entries of a wallet, newest first.
    pub async fn wallet_entries(&self, tenant: &Tenant) -> Vec<EntryWithBalance> {
        let ledger = &self.stores.ledger;
        every(100, async |page| {
            ledger.wallet_entries(&tenant.scope, page).await
        })
        .await
    }

    /// All entries of an end user's budget, newest first.
    pub async fn budget_entries(
        &self,
        tenant: &Tenant,
        end_user: &EndUser,
    ) -> Vec<EntryWithBalance> {
        let (ledger, id) = (&self.stores.ledger, end_user.id);
        every(100, async |page| {
            ledger.budget_entries(&tenant.scope, id, page).await
        })
        .await
    }

    /// All events of a platform, oldest first.
    pub async fn events(&self, tenant: &Tenant) -> Vec<Event> {
        let mut found = self.all_events().await;
        found.retain(|event| event.platform_id == tenant.platform.id);
        found
    }

    /// All events, oldest first.
    pub async fn all_events(&self) -> Vec<Event> {
        let (events, scope) = (&self.stores.events, scopes::engine());
        let mut found: Vec<Event> = Vec::new();
        loop {
            let after = found.last().map(Event::cursor);
            let page = events.events(&scope, after, 100).await.unwrap();
            if page.is_empty() {
                return found;
            }
            found.extend(page);
        }
    }

    /// The sums of every account.
    pub async fn audit(&self) -> Vec<AccountAudit> {
        self.stores.ledger.audit(&scopes::operator()).await.unwrap()
    }

    /// The sums of one account.
    pub async fn account(&self, id: AccountId) -> AccountAudit {
        let audits = self.audit().await;
        audits
            .into_iter()
            .find(|audit| audit.account == id)
            .unwrap()
    }

    /// Checks what holds in every state: the books balance, and every list of entries is an
    /// unbroken chain that ends at the balance shown elsewhere.
    pub async fn assert_consistent(&self) {
        let tenancy = &self.stores.tenancy;
        let filter = PlatformFilter::default();
        let operator = scopes::operator();
        let platforms = every(100, async |page| {
            tenancy.platforms(&operator, &filter, page).await
        })
        .await;
        for platform in platforms {
            let scope = scopes::platform(platform.id);
            let wallet = self.stores.ledger.wallet(&scope).await.unwrap();
            let ledger = &self.stores.ledger;
            let entries = every(100, async |page| ledger.wallet_entries(&scope, page).await).await;
            assert_chained(&entries, AccountKind::Wallet);
            let last = entries
                .first()
                .map_or(Amounts::ZERO, |newest| newest.remaining_after);
            assert_eq!(
                last,
                Amounts::usd(wallet.balance),
                "the wallet's entries end elsewhere"
            );

            let filter = EndUserFilter::default();
            let users = every(100, async |page| {
                tenancy.end_users(&scope, &filter, page).await
            })
            .await;
            for user in users {
                self.assert_budget_replays(&scope, &user).await;
            }
        }
        for audit in self.audit().await {
            assert!(audit.balances(), "the books do not balance: {audit:?}");
        }
    }

    /// Checks that a budget's entries from the last `opening_balance` on give its limits and what
    /// is used (invariant I7 of `docs/ledger.md`).
    async fn assert_budget_replays(&self, scope: &PlatformScope, end_user: &EndUser) {
        let ledger = &self.stores.ledger;
        let budget = ledger.budget(scope, end_user.id).await.unwrap();
        let id = end_user.id;
        let mut entries = every(100, async |page| {
            ledger.budget_entries(scope, id, page).await
        })
        .await;
        assert_chained(&entries, AccountKind::Budget);
        let Some(budget) = budget else {
            return;
        };
        entries.reverse();
        let opening = entries
            .iter()
            .rposition(|e| e.entry.kind == EntryKind::OpeningBalance);
        let entries = &entries[opening.unwrap()..];
        let mut limit = entries[0].limit_after;
        let mut used = Amounts::ZERO;
        for entry in entries[1..]
            .iter()
            .filter(|row| row.part == LedgerPart::Main)
        {
            let legs = entry.entry.budget.unwrap();
            limit = limit.checked_add(legs.limit).unwrap();
            let change = legs.limit.checked_sub(legs.remaining).unwrap();
            used = used.checked_add(of_part(change, LedgerPart::Main)).unwrap();
        }
        assert_eq!(
            limit,
            budget.terms.limits.amounts(),
            "replayed limits of {end_user:?}"
        );
        let shown = Amounts {
            usd: budget.used_usd,
            tokens: budget.used_tokens,
            ..Amounts::ZERO
        };
        assert_eq!(used, shown, "replayed use of {end_user:?}");
    }
}

/// Reads a whole list, page by page.
pub async fn every<T>(
    limit: u32,
    read: impl AsyncFn(Page) -> Result<Listed<T>, StoreError>,
) -> Vec<T> {
    let mut rows = Vec::new();
    for page in 1.. {
        let listed = read(Page { page, limit }).await.unwrap();
        assert!(
            listed.rows.len() <= limit as usize,
            "a page is longer than its limit"
        );
        let is_last = listed.rows.len() < limit as usize;
        rows.extend(listed.rows);
        if is_last {
            assert_eq!(
                listed.total,
                rows.len() as u64,
                "the total is not what the pages hold"
            );
            break;
        }
    }
    rows
}

/// Checks that each row leaves what the ones before it left, plus its own change.
///
/// `entries` are all of one wallet or of one budget, newest first. Rows of one entry both show what stood after it, and
/// each counts for the part that it shows.
pub fn assert_chained(entries: &[EntryWithBalance], kind: AccountKind) {
    let (mut remaining, mut limit) = (Amounts::ZERO, Amounts::ZERO);
    for row in entries.iter().rev() {
        let (change, limit_change) = match kind {
            AccountKind::Wallet => (Amounts::usd(row.entry.wallet.unwrap().1), Amounts::ZERO),
            AccountKind::Budget => {
                let legs = row.entry.budget.unwrap();
                (legs.remaining, legs.limit)
            }
        };
        let shown = |amounts: Amounts| match row.part {
            LedgerPart::Main => (amounts.usd.get(), amounts.tokens.get()),
            LedgerPart::Display => (amounts.display.get(), 0),
        };
        remaining = remaining.checked_add(of_part(change, row.part)).unwrap();
        limit = limit.checked_add(of_part(limit_change, row.part)).unwrap();
        let after = (shown(row.remaining_after), shown(row.limit_after));
        assert_eq!(
            after,
            (shown(remaining), shown(limit)),
            "the chain breaks at {:?}",
            row.entry
        );
    }
}

fn of_part(amounts: Amounts, part: LedgerPart) -> Amounts {
    match part {
        LedgerPart::Main => Amounts::from_raw(amounts.usd.get(), amounts.tokens.get(), 0),
        LedgerPart::Display => Amounts::from_raw(0, 0, amounts.display.get()),
    }
}
