//! The rules of acts on a wallet.

use super::super::{ActContext, ActRefusal, Decision, LedgerAct};
use crate::billing::amounts::Amounts;
use crate::billing::ledger::EntryKind;
use crate::clock::Timestamp;
use crate::id::{AccountId, PlatformId};
use crate::money::NanoUsd;

/// Decides an act on a wallet whose account holds `balance`.
///
/// # Errors
/// [`ActRefusal`]; then nothing is to be written.
pub fn decide_wallet(
    act: &LedgerAct,
    context: &ActContext,
    platform: PlatformId,
    account: AccountId,
    balance: NanoUsd,
    now: Timestamp,
) -> Result<Decision, ActRefusal> {
    match act {
        LedgerAct::TopUpWallet { amount } => {
            balance
                .checked_add(*amount)
                .filter(|after| *after <= NanoUsd::MAX_INPUT)
                .ok_or(ActRefusal::OutOfRange)?;
            let mut entry = context.entry(0, EntryKind::TopUp, platform, None, now);
            entry.wallet = Some((account, *amount));
            Ok(Decision {
                free_change: Amounts::usd(*amount),
                entries: vec![entry],
                ..Decision::default()
            })
        }
        LedgerAct::SetWalletThreshold { threshold } => Ok(Decision {
            wallet_threshold: Some(*threshold),
            ..Decision::default()
        }),
        _ => Err(ActRefusal::BudgetNotFound),
    }
}
