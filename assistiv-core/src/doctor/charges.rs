//! Charges against the request log and against the prices.

use std::collections::{BTreeMap, HashMap};

use super::{Check, Findings, Patient, READ_MAX};
use crate::auth::{OperatorScope, SweeperScope};
use crate::billing::PostedCharge;
use crate::clock::Timestamp;
use crate::id::PlatformId;
use crate::logs::{BillingStatus, LogState};
use crate::money::NanoUsd;
use crate::prices::PriceBook;
use crate::store::{StoreError, Stores};

const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// What was added up of one platform.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    /// The wallet legs of charges.
    ledger: NanoUsd,
    /// What the prices say of them; of charges that cannot be recomputed, what the ledger says.
    recomputed: NanoUsd,
    /// Charges whose row is yet to be written.
    waiting: NanoUsd,
}

/// The walk along the ledger.
struct Walk<'a> {
    stores: &'a Stores,
    prices: PriceBook,
    /// Every charge up to this number must have its row.
    repaired_to: i64,
    pruned_before: Option<Timestamp>,
    after: i64,
    platforms: BTreeMap<PlatformId, (bool, Totals)>,
    findings: Findings,
    charges: u64,
    waiting: u64,
    not_metered: u64,
    wrong: u64,
}

impl Patient<'_> {
    /// Whether every charge is what its price says, every charge has its row, and the sums agree.
    pub(super) async fn charges(&self, operator: &OperatorScope) -> Result<Check, StoreError> {
        let scope = SweeperScope::engine();
        let logs = &self.stores.logs;
        let added = self.stores.prices.prices(&scope).await?;
        let mut walk = Walk {
            stores: self.stores,
            prices: PriceBook::of(&self.catalogue.with_prices(added)),
            repaired_to: logs.repaired_to(&scope).await?,
            pruned_before: logs.pruned_before(&scope).await?,
            after: 0,
            platforms: BTreeMap::new(),
            findings: Findings::default(),
            charges: 0,
            waiting: 0,
            not_metered: 0,
            wrong: 0,
        };
        walk.go_to_the_end(operator, &scope).await?;
        let before = walk.platforms.clone();
        let billed = logs.billed(operator).await?;
        // A gateway may have charged meanwhile; then the log's sum is between the two of the ledger.
        walk.go_to_the_end(operator, &scope).await?;

        let mut logged = NanoUsd::ZERO;
        for (platform, (exists, now)) in &walk.platforms {
            if !exists {
                continue;
            }
            let then = before
                .get(platform)
                .map_or(Totals::default(), |(_, then)| *then);
            let sum = billed.iter().find(|sum| sum.platform_id == *platform);
            let (rolled_up, kept, rows) = sum.map_or_else(Default::default, |sum| {
                (sum.rolled_up, sum.rolled_up_kept, sum.rows)
            });
            logged = plus(logged, rolled_up)?;
            let least = minus(then.ledger, then.waiting)?;
            if rolled_up < least || rolled_up > now.ledger {
                walk.wrong += 1;
                walk.findings.add(|| {
                    format!(
                        "platform {platform}: billed rows come to {rolled_up}, the wallet's usage debits to {}, {} of them without a row yet",
                        then.ledger, then.waiting
                    )
                });
            }
            if kept != rows {
                walk.wrong += 1;
                walk.findings.add(|| {
                    format!(
                        "platform {platform}: billed rows come to {rows}, their rollups to {kept}"
                    )
                });
            }
        }
        for sum in &billed {
            if !walk.platforms.contains_key(&sum.platform_id) && !sum.rolled_up.is_zero() {
                walk.wrong += 1;
                walk.findings.add(|| {
                    format!(
                        "platform {}: billed rows come to {}, and nothing was charged",
                        sum.platform_id, sum.rolled_up
                    )
                });
            }
        }
        walk.report(logged)
    }
}

// === impl Walk ===

impl Walk<'_> {
    /// Looks at all charges that were not looked at yet.
    async fn go_to_the_end(
        &mut self,
        operator: &OperatorScope,
        scope: &SweeperScope,
    ) -> Result<(), StoreError> {
        loop {
            let ledger = &self.stores.ledger;
            let charges = ledger.charges(scope, self.after, READ_MAX).await?;
            let Some(last) = charges.last() else {
                return Ok(());
            };
            self.after = last.number;
            let ids: Vec<_> = charges.iter().map(|charge| charge.entry.uid).collect();
            let states = self.stores.logs.states(scope, &ids).await?;
            let states: HashMap<_, _> = states.into_iter().map(|state| (state.id, state)).collect();
            for charge in &charges {
                self.look_at(operator, charge, states.get(&charge.entry.uid))
                    .await?;
            }
        }
    }

    async fn look_at(
        &mut self,
        operator: &OperatorScope,
        charge: &PostedCharge,
        row: Option<&LogState>,
    ) -> Result<(), StoreError> {
        self.charges += 1;
        let platform = charge.entry.platform_id;
        let cost = charge.cost();
        let recomputed = self.recomputed(charge);
        let exists = match self.platforms.get(&platform) {
            Some((exists, _)) => *exists,
            None => exists(self.stores, operator, platform).await?,
        };
        let (_, totals) = self
            .platforms
            .entry(platform)
            .or_insert((exists, Totals::default()));
        totals.ledger = plus(totals.ledger, cost)?;
        totals.recomputed = plus(totals.recomputed, recomputed)?;
        if !exists {
            return Ok(());
        }
        let agrees =
            row.is_some_and(|row| row.billing_status == BillingStatus::Billed && row.cost == cost);
        if agrees {
            return Ok(());
        }
        if charge.number > self.repaired_to {
            totals.waiting = plus(totals.waiting, cost)?;
            self.waiting += 1;
            return Ok(());
        }
        // Rows that were pruned are gone for good; their rollups are compared.
        if row.is_none() && self.is_pruned(charge) {
            return Ok(());
        }
        self.wrong += 1;
        let id = charge.entry.uid;
        self.findings.add(|| match row {
            None => format!("charge {id} of {cost} has no row in the request log"),
            Some(row) => format!(
                "charge {id} of {cost} has a row that says {} and {}",
                row.billing_status.as_str(),
                row.cost
            ),
        });
        Ok(())
    }

    /// What the charge comes to by its tokens and the version of its price, which must be what it says.
    fn recomputed(&mut self, charge: &PostedCharge) -> NanoUsd {
        let entry = &charge.entry;
        let (id, cost) = (entry.uid, charge.cost());
        let Some(metered) = &entry.metered else {
            // A stream that was swept: its record was charged, and nobody counted.
            self.not_metered += 1;
            return cost;
        };
        let Some(version) = self.prices.version(metered.price_id) else {
            self.wrong += 1;
            self.findings
                .add(|| format!("charge {id}: its price {} is unknown", metered.price_id));
            return cost;
        };
        let legs = entry
            .usage()
            .and_then(|usage| version.price.cost(&usage, metered.markup).ok());
        let Some(legs) = legs else {
            self.wrong += 1;
            self.findings
                .add(|| format!("charge {id}: its tokens contradict each other"));
            return cost;
        };
        let on_budget = entry.budget.is_none_or(|budget| {
            budget.remaining.usd == legs.budget.usd.negated()
                && budget.remaining.tokens == legs.budget.tokens.negated()
        });
        if legs.wallet != cost || !on_budget {
            self.wrong += 1;
            self.findings.add(|| {
                format!(
                    "charge {id} of {cost}: by its tokens and price it comes to {} on the wallet and {:?} on the budget",
                    legs.wallet, legs.budget
                )
            });
        }
        legs.wallet
    }

    /// Whether the row may be gone because it is old. It began before its charge was posted, by less than a day.
    fn is_pruned(&self, charge: &PostedCharge) -> bool {
        self.pruned_before
            .is_some_and(|cut| charge.entry.created_at.as_micros() < cut.as_micros() + DAY_MICROS)
    }

    fn report(self, logged: NanoUsd) -> Result<Check, StoreError> {
        let (mut ledger, mut recomputed, mut waiting) =
            (NanoUsd::ZERO, NanoUsd::ZERO, NanoUsd::ZERO);
        for (_, totals) in self.platforms.values().filter(|(exists, _)| *exists) {
            ledger = plus(ledger, totals.ledger)?;
            recomputed = plus(recomputed, totals.recomputed)?;
            waiting = plus(waiting, totals.waiting)?;
        }
        let amount = |amount: NanoUsd| amount.to_string();
        let summary = format!(
            "{} charges of {ledger} USD; by their prices {recomputed}, in the request log {logged}",
            self.charges
        );
        Ok(Check::new("charges", summary, self.findings.into_vec())
            .with("charges", self.charges)
            .with("ledger_usd", amount(ledger))
            .with("recomputed_usd", amount(recomputed))
            .with("logs_usd", amount(logged))
            .with("waiting", self.waiting)
            .with("waiting_usd", amount(waiting))
            .with("without_tokens", self.not_metered)
            .with("wrong", self.wrong))
    }
}

async fn exists(
    stores: &Stores,
    operator: &OperatorScope,
    platform: PlatformId,
) -> Result<bool, StoreError> {
    match stores.tenancy.platform(&operator.over(platform)).await {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

fn plus(a: NanoUsd, b: NanoUsd) -> Result<NanoUsd, StoreError> {
    a.checked_add(b).ok_or_else(out_of_range)
}

fn minus(a: NanoUsd, b: NanoUsd) -> Result<NanoUsd, StoreError> {
    a.checked_sub(b).ok_or_else(out_of_range)
}

fn out_of_range() -> StoreError {
    StoreError::Corrupt("a sum of charges left its range".to_owned())
}
