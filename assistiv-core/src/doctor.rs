//! The doctor: checks of a database that change nothing.
//!
//! Every check says what it looked at and what is wrong. The figures of the ledger, of the request log and of the
//! prices are compared to the nano-dollar. A gateway may be writing meanwhile: what it has not written yet is told
//! apart from what is missing.

mod charges;
mod refunds;

use serde_json::{Map, Value, json};

use crate::auth::{OperatorScope, Principal};
use crate::clock::Timestamp;
use crate::error::Problem;
use crate::llm_configs::config_place;
use crate::routing::Catalogue;
use crate::secrets::SecretCipher;
use crate::store::{StoreError, Stores};

/// Rows that are read together.
const READ_MAX: u32 = 500;
/// Findings that a check tells one by one.
const FINDINGS_MAX: usize = 20;
/// How long after its time a node may be without anybody having swept it.
const SWEPT_AFTER_MICROS: i64 = 60 * 1_000_000;
/// How far two clocks may be apart.
const CLOCKS_APART_MICROS: i64 = 2 * 1_000_000;

/// What one check has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Its stable name.
    pub name: &'static str,
    /// What it looked at, for people.
    pub summary: String,
    /// What is wrong, for people; nothing when all is well.
    pub findings: Vec<String>,
    /// Figures, for programs.
    pub facts: Map<String, Value>,
}

/// The database with what is needed to understand it.
pub struct Patient<'a> {
    /// Its stores.
    pub stores: &'a Stores,
    /// Models and prices.
    pub catalogue: &'a Catalogue,
    /// The cipher that secrets were sealed with, if there is one.
    pub cipher: Option<&'a dyn SecretCipher>,
    /// Whether a gateway uses the database now; `None` where the nodes' heartbeats tell.
    pub is_in_use: Option<bool>,
    /// What time it is for the database.
    pub database_time: Timestamp,
    /// What time it is for this machine.
    pub machine_time: Timestamp,
}

/// Findings, of which only the first are told.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    told: Vec<String>,
    untold: u64,
}

// === impl Check ===

impl Check {
    /// A check without figures.
    pub fn new(name: &'static str, summary: impl Into<String>, findings: Vec<String>) -> Self {
        Self {
            name,
            summary: summary.into(),
            findings,
            facts: Map::new(),
        }
    }

    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Whether all is well.
    pub fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }
}

// === impl Findings ===

impl Findings {
    pub(crate) fn add(&mut self, what: impl FnOnce() -> String) {
        if self.told.len() < FINDINGS_MAX {
            self.told.push(what());
        } else {
            self.untold += 1;
        }
    }

    pub(crate) fn into_vec(mut self) -> Vec<String> {
        if self.untold > 0 {
            self.told.push(format!("… and {} more", self.untold));
        }
        self.told
    }
}

// === impl Patient ===

impl Patient<'_> {
    /// Runs every check that needs nothing but the stores. One that cannot be made is a finding.
    pub async fn examine(&self) -> Vec<Check> {
        let Ok(operator) = Principal::local().operate() else {
            return Vec::new();
        };
        vec![
            checked("secrets", self.secrets(&operator).await),
            checked("ledger", self.ledger(&operator, None).await),
            checked("charges", self.charges(&operator, None).await),
            checked("refunds", self.refunds(&operator, None).await),
            checked("nodes", self.nodes(&operator).await),
            checked("slots", self.loose_ends(&operator).await),
            self.clock(),
        ]
    }

    /// The checks that compare the books with themselves: all of them, or what came after the entry `since`.
    ///
    /// # Errors
    /// The store's: what cannot be read is no difference.
    pub(crate) async fn reconcile(
        &self,
        operator: &OperatorScope,
        since: Option<i64>,
    ) -> Result<Vec<Check>, StoreError> {
        Ok(vec![
            self.ledger(operator, since).await?,
            self.charges(operator, since).await?,
            self.refunds(operator, since).await?,
            self.nodes(operator).await?,
            self.loose_ends(operator).await?,
        ])
    }

    /// Whether every sealed secret opens.
    async fn secrets(&self, operator: &OperatorScope) -> Result<Check, StoreError> {
        let mut findings = Findings::default();
        let (mut secrets, mut unreadable) = (0_u64, 0_u64);
        let mut after = None;
        loop {
            let configs = &self.stores.llm_configs;
            let part = configs.secrets(operator, after, READ_MAX).await?;
            let Some((last, _)) = part.last() else {
                break;
            };
            after = Some(*last);
            for (id, secret) in part {
                secrets += 1;
                let opened = self
                    .cipher
                    .is_some_and(|cipher| cipher.open(config_place(id), &secret.0).is_ok());
                if !opened {
                    unreadable += 1;
                    findings.add(|| {
                        format!("the provider key of LLM config {id} cannot be opened with this master key")
                    });
                }
            }
        }
        let summary = format!("{secrets} sealed provider keys");
        Ok(Check::new("secrets", summary, findings.into_vec())
            .with("secrets", secrets)
            .with("unreadable", unreadable))
    }

    /// Whether the entries of every account give its balance and its limits.
    async fn ledger(
        &self,
        operator: &OperatorScope,
        since: Option<i64>,
    ) -> Result<Check, StoreError> {
        let accounts = match since {
            None => self.stores.ledger.audit(operator).await?,
            Some(_) => self.stores.recon.audit_since_checkpoint(operator).await?,
        };
        let mut findings = Findings::default();
        let mut mismatches = 0_u64;
        for account in &accounts {
            if !account.balances() {
                mismatches += 1;
                findings.add(|| {
                    format!(
                        "account {} ({:?} of platform {}): free {:?} and slots {:?} against entries {:?}; limits {:?} against {:?}",
                        account.account.0,
                        account.kind,
                        account.platform_id,
                        account.free,
                        account.slots,
                        account.ledger,
                        account.limits,
                        account.ledger_limits,
                    )
                });
            }
        }
        let summary = format!("entries of {} accounts replayed", accounts.len());
        Ok(Check::new("ledger", summary, findings.into_vec())
            .with("accounts", accounts.len())
            .with("mismatches", mismatches))
    }

    /// Whether only nodes that are alive have slots and streams.
    async fn nodes(&self, operator: &OperatorScope) -> Result<Check, StoreError> {
        let nodes = self.stores.ledger.nodes(operator).await?;
        let mut findings = Findings::default();
        let now = self.database_time.as_micros();
        let (mut streams, mut slots, mut gone) = (0, 0, 0_u64);
        let newest = nodes
            .iter()
            .filter(|node| node.is_open)
            .map(|node| node.node);
        let newest = newest.max();
        for node in &nodes {
            // Where one process has the database, its node is the newest.
            let is_alive = match self.is_in_use {
                Some(is_in_use) => is_in_use && Some(node.node) == newest,
                None => node.expires_at.as_micros() + SWEPT_AFTER_MICROS >= now,
            };
            if node.is_open && is_alive {
                continue;
            }
            if !node.is_open || node.streams > 0 || node.slots > 0 || self.is_in_use != Some(false)
            {
                gone += 1;
                streams += node.streams;
                slots += node.slots;
                findings.add(|| {
                    format!(
                        "node {} (`{}`) is gone and left {} open streams and {} slots; the next start or another node sweeps it",
                        node.node.0, node.name, node.streams, node.slots
                    )
                });
            }
        }
        let summary = format!("{} nodes that are not closed", nodes.len());
        Ok(Check::new("nodes", summary, findings.into_vec())
            .with("nodes", nodes.len())
            .with("gone", gone)
            .with("orphaned_streams", streams)
            .with("orphaned_slots", slots))
    }

    /// Whether the database and this machine agree what time it is.
    fn clock(&self) -> Check {
        let apart = self.database_time.as_micros() - self.machine_time.as_micros();
        let mut findings = Vec::new();
        if apart.abs() > CLOCKS_APART_MICROS {
            findings.push(format!(
                "the database's clock and this machine's are {} ms apart",
                apart / 1_000
            ));
        }
        Check::new(
            "clock",
            format!("the database says {}", self.database_time),
            findings,
        )
        .with("database_time", json!(self.database_time))
        .with("apart_ms", apart / 1_000)
    }
}

/// A check that could not be made, as one that failed.
pub fn checked(name: &'static str, result: Result<Check, StoreError>) -> Check {
    result.unwrap_or_else(|error| {
        let problem = Problem::from(&error);
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let finding = format!("{}{}", problem.message, cause.unwrap_or_default());
        Check::new(name, "could not be made", vec![finding])
    })
}
