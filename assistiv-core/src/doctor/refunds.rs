//! Refunds against what they give back, slots and streams.

use super::{Check, Findings, Patient, READ_MAX};
use crate::auth::OperatorScope;
use crate::recon::STREAM_STALE_AFTER;
use crate::store::StoreError;

impl Patient<'_> {
    /// Whether no charge and no debit was given back more than once.
    pub(super) async fn refunds(
        &self,
        operator: &OperatorScope,
        since: Option<i64>,
    ) -> Result<Check, StoreError> {
        let recon = &self.stores.recon;
        let mut findings = Findings::default();
        let (mut after, mut looked_at, mut wrong) = (since.unwrap_or(0), 0_u64, 0_u64);
        while let Some(part) = recon.refunded(operator, after, READ_MAX).await? {
            after = part.last;
            for history in &part.entries {
                looked_at += 1;
                if let Some(what) = history.contradiction() {
                    wrong += 1;
                    findings.add(|| format!("entry {}: {what}", history.charge.uid));
                }
            }
        }
        let summary = format!("{looked_at} entries that were given back");
        Ok(Check::new("refunds", summary, findings.into_vec())
            .with("refunded", looked_at)
            .with("wrong", wrong))
    }

    /// Whether slots hold what their node may spend, and streams end.
    pub(super) async fn loose_ends(&self, operator: &OperatorScope) -> Result<Check, StoreError> {
        let ends = self.stores.recon.loose_ends(operator).await?;
        let mut findings = Findings::default();
        for (node, account, amounts) in &ends.negative_slots {
            findings.add(|| {
                format!(
                    "node {} holds {amounts:?} of account {}, and no call of it cost more than was held",
                    node.0, account.0
                )
            });
        }
        for (call, node) in &ends.stale_streams {
            findings.add(|| {
                format!(
                    "the stream {call} of node {} has been open for more than {} minutes",
                    node.0,
                    STREAM_STALE_AFTER.as_secs() / 60
                )
            });
        }
        let summary = format!("{} events are kept", ends.events);
        Ok(Check::new("slots", summary, findings.into_vec())
            .with("negative_slots", ends.negative_slots.len())
            .with("stale_streams", ends.stale_streams.len())
            .with("events", ends.events))
    }
}
