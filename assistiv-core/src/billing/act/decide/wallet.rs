//! The rules of acts on a wallet.

use super::super::{ActContext, ActRefusal, Decision, LedgerAct, WalletState};
use crate::billing::amounts::Amounts;
use crate::billing::ledger::EntryKind;
use crate::clock::Timestamp;
use crate::id::{AccountId, PlatformId};
use crate::money::NanoUsd;

/// Decides an act on a wallet that is counted in `account`.
///
/// # Errors
/// [`ActRefusal`]; then nothing is to be written.
pub fn decide_wallet(
    act: &LedgerAct,
    context: &ActContext,
    platform: PlatformId,
    account: AccountId,
    state: WalletState,
    now: Timestamp,
) -> Result<Decision, ActRefusal> {
    let (kind, amount) = match act {
        LedgerAct::TopUpWallet { amount } => (EntryKind::TopUp, *amount),
        LedgerAct::AdjustWallet { amount } => (EntryKind::WalletAdjustment, *amount),
        LedgerAct::SetWalletThreshold { threshold } => {
            return Ok(Decision {
                wallet_threshold: Some(*threshold),
                ..Decision::default()
            });
        }
        _ => return Err(ActRefusal::BudgetNotFound),
    };
    let after = state
        .balance
        .checked_add(amount)
        .filter(|after| *after <= NanoUsd::MAX_INPUT)
        .ok_or(ActRefusal::OutOfRange)?;
    if amount < NanoUsd::ZERO {
        if after < NanoUsd::ZERO {
            return Err(ActRefusal::InsufficientBalance);
        }
        // Money that nodes hold is not taken out from under the calls that they let through.
        state
            .free
            .checked_add(amount)
            .filter(|left| *left >= NanoUsd::ZERO)
            .ok_or(ActRefusal::FundsLeased(account))?;
    }
    let mut entry = context.entry(0, kind, platform, None, now);
    entry.wallet = Some((account, amount));
    Ok(Decision {
        free_change: Amounts::usd(amount),
        entries: vec![entry],
        ..Decision::default()
    })
}
