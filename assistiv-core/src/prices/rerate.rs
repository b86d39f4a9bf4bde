//! Re-rates what was charged in a time by the prices that are there now.

use std::collections::{BTreeMap, HashMap};

use super::{PriceBook, PriceKeeper};
use crate::auth::OperatorScope;
use crate::billing::{
    AccountKind, ActRefusal, CallInterval, ChargeHistory, Compensation, HISTORIES_MAX, LedgerEntry,
    RequestKey, RerateOfPlatform, RerateReport, Rerating, UsdLeg, sum_of_owed,
};
use crate::command::{Command, CommandError};
use crate::id::{AccountId, EndUserId, EntryId, PlatformId};
use crate::money::NanoUsd;
use crate::store::StoreError;

/// Re-rates charges: each comes to what the version of its price says that is now known to have been in force when
/// its call began. What was charged too much is given back, what was charged too little is charged, in one entry for
/// each account.
#[derive(Clone, Debug)]
pub struct Rerate {
    /// Which calls.
    pub interval: CallInterval,
    /// Of which provider alone.
    pub provider: Option<String>,
    /// Of which of its models alone.
    pub provider_model_id: Option<String>,
    /// Whether to say only what would come of it.
    pub is_dry_run: bool,
    /// Why, for people; up to 500 characters.
    pub reason: Option<String>,
    /// Makes the request repeatable. A dry run has no effect to repeat.
    pub request: Option<RequestKey>,
}

/// A report, and whether an earlier request with the same key got it.
type Rerated = (RerateReport, bool);

/// What was found about charges, before anything is written.
struct Findings {
    log_rows: u64,
    platforms: BTreeMap<PlatformId, Found>,
}

/// The charges of a platform that come to something else.
#[derive(Default)]
struct Found {
    changed_rows: u64,
    accounts: HashMap<AccountId, Costs>,
}

/// What charges should have cost an account.
struct Costs {
    kind: AccountKind,
    end_user_id: Option<EndUserId>,
    of: Vec<(EntryId, NanoUsd)>,
}

impl Command<PriceKeeper> for Rerate {
    const NAME: &'static str = "rerate";
    type Authority = OperatorScope;
    type Output = Rerated;

    async fn run(
        self,
        domain: &PriceKeeper,
        scope: OperatorScope,
    ) -> Result<Rerated, CommandError> {
        let ledger = &domain.stores.ledger;
        let is_dry_run = self.is_dry_run;
        let rerating = self.recorded();
        domain.router.read_prices(&*domain.stores.prices).await?;
        if !is_dry_run && let Some(report) = ledger.begin_rerate(&scope, &rerating).await?? {
            return Ok((report, true));
        }
        if ledger.is_settling(&scope, &rerating.interval).await? {
            return Err(ActRefusal::SettlementPending.into());
        }
        let found = domain.find(&scope, &rerating).await?;
        let report = domain
            .give_back(&scope, &rerating, found, is_dry_run)
            .await?;
        if is_dry_run {
            return Ok((report, false));
        }
        Ok((ledger.finish_rerate(&scope, &report).await?, false))
    }
}

// === impl Rerate ===

impl Rerate {
    fn recorded(self) -> Rerating {
        let mut id = EntryId::new();
        let request = self.request.filter(|_| !self.is_dry_run).map(|request| {
            id = request.hashed(None, None, Self::NAME).1;
            (request.key, request.request_hash)
        });
        Rerating {
            id,
            interval: self.interval,
            provider: self.provider,
            provider_model_id: self.provider_model_id,
            reason: self.reason,
            request,
        }
    }
}

// === impl PriceKeeper ===

impl PriceKeeper {
    /// Looks at all charges of the interval, a part at a time.
    async fn find(
        &self,
        scope: &OperatorScope,
        rerating: &Rerating,
    ) -> Result<Findings, CommandError> {
        let book = PriceBook::of(&self.router.catalogue());
        let mut found = Findings {
            log_rows: 0,
            platforms: BTreeMap::new(),
        };
        let mut after = None;
        loop {
            let ledger = &self.stores.ledger;
            let histories = ledger
                .calls_charged(scope, &rerating.interval, rerating.id, after, HISTORIES_MAX)
                .await?;
            let Some(last) = histories.last() else {
                return Ok(found);
            };
            after = Some(last.charge.uid);
            for history in &histories {
                found.look_at(history, &book, rerating)?;
            }
        }
    }

    /// Gives back what is owed, account by account, or says what would be given back.
    async fn give_back(
        &self,
        scope: &OperatorScope,
        rerating: &Rerating,
        found: Findings,
        is_dry_run: bool,
    ) -> Result<RerateReport, CommandError> {
        let mut report = RerateReport::new(rerating, is_dry_run);
        report.log_rows = found.log_rows;
        for (platform_id, found) in found.platforms {
            let mut of_platform = RerateOfPlatform {
                platform_id,
                changed_rows: found.changed_rows,
                wallet_delta: NanoUsd::ZERO,
                budget_delta: NanoUsd::ZERO,
            };
            let mut accounts: Vec<_> = found.accounts.into_iter().collect();
            accounts.sort_by_key(|(account, costs)| (costs.kind as i16, *account));
            for (account, costs) in accounts {
                let compensation = Compensation {
                    rerate: rerating.id,
                    account,
                    kind: costs.kind,
                    platform_id,
                    end_user_id: costs.end_user_id,
                    costs: costs.of,
                    reason: rerating.reason.clone(),
                    actor: Some(scope.actor()),
                    idempotency_key: rerating.request.as_ref().map(|(key, _)| key.clone()),
                    is_dry_run,
                };
                let moved = self.stores.ledger.compensate(scope, &compensation).await?;
                let delta = match costs.kind {
                    AccountKind::Wallet => &mut of_platform.wallet_delta,
                    AccountKind::Budget => &mut of_platform.budget_delta,
                };
                *delta = plus(*delta, moved)?;
                if !is_dry_run {
                    self.billing.engine().refresh(account).await;
                }
            }
            report.changed_rows += of_platform.changed_rows;
            report.wallet_delta = plus(report.wallet_delta, of_platform.wallet_delta)?;
            report.budget_delta = plus(report.budget_delta, of_platform.budget_delta)?;
            report.platforms.push(of_platform);
        }
        Ok(report)
    }
}

// === impl Findings ===

impl Findings {
    fn look_at(
        &mut self,
        history: &ChargeHistory,
        book: &PriceBook,
        rerating: &Rerating,
    ) -> Result<(), CommandError> {
        let charge = &history.charge;
        let metered = history.metered();
        let price_id = metered.map(|(_, id, _)| id);
        let price_id = price_id.or(history.priced.map(|(_, id)| id));
        let version = price_id.and_then(|id| book.version(id));
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| value == Some(wanted))
        };
        if !is(&rerating.provider, version.map(|v| v.provider.as_str()))
            || !is(
                &rerating.provider_model_id,
                version.map(|v| &*v.provider_model_id),
            )
        {
            return Ok(());
        }
        self.log_rows += 1;
        // Of a stream that was swept nobody knows the tokens, and a version that nobody knows has no successor.
        let Some(((usage, _, markup), version)) = metered.zip(version) else {
            return Ok(());
        };
        let Some(now) = book.in_force_for(version, charge.began()) else {
            return Ok(());
        };
        if now.price.id == version.price.id && history.compensated.is_zero() {
            return Ok(());
        }
        let cost = now.price.cost(&usage, markup).map_err(out_of_range)?;
        let mut changed = false;
        for (leg, cost, account) in [
            (UsdLeg::Wallet, cost.wallet, wallet_of(charge)),
            (UsdLeg::Budget, cost.budget.usd, budget_of(charge)),
        ] {
            let Some((account, kind)) = account else {
                continue;
            };
            if history.owed(leg, cost)?.is_zero() {
                continue;
            }
            changed = true;
            let found = self.platforms.entry(charge.platform_id).or_default();
            let costs = found.accounts.entry(account).or_insert_with(|| Costs {
                kind,
                end_user_id: charge.end_user_id.filter(|_| kind == AccountKind::Budget),
                of: Vec::new(),
            });
            costs.of.push((charge.uid, cost));
        }
        if changed && let Some(found) = self.platforms.get_mut(&charge.platform_id) {
            found.changed_rows += 1;
        }
        Ok(())
    }
}

fn wallet_of(charge: &LedgerEntry) -> Option<(AccountId, AccountKind)> {
    let (account, _) = charge.wallet?;
    Some((account, AccountKind::Wallet))
}

fn budget_of(charge: &LedgerEntry) -> Option<(AccountId, AccountKind)> {
    Some((charge.budget?.account, AccountKind::Budget))
}

fn plus(a: NanoUsd, b: NanoUsd) -> Result<NanoUsd, CommandError> {
    sum_of_owed([a, b]).map_err(out_of_range)
}

fn out_of_range(overflow: crate::billing::Overflow) -> CommandError {
    StoreError::Corrupt(overflow.to_string()).into()
}
