//! One round: who calls, what they see, and what the books must say of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistiv_core::billing::{ChargeFlags, EntryKind, UnconfirmedStatus};
use assistiv_core::id::{EntryId, NodeId, PlatformId};
use tokio::time::sleep;

use super::{DRIPS, Fault};
use crate::books::{Books, Charged};
use crate::call::{Call, Part, Seen, cost};
use crate::dice::Dice;
use crate::site::Tenant;

/// The output limit of every call: no answer is longer, in the provider's tokens or in ours.
const OUTPUT: u64 = 64;
/// 12.5 %, in ten thousandths of a percent.
const MARKUP: i64 = 125_000;

/// What a caller saw of a call that it got an id of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// All of it, with the tokens that it says it cost.
    Whole { tokens: (u64, u64) },
    /// Text, and no end: the fault's doing, or the caller's.
    Cut { least: i64, most: i64 },
    /// The head of a stream, and no text.
    Head,
}

pub(super) type Record = Arc<Mutex<BTreeMap<EntryId, Told>>>;

/// Who calls in a round, and what they saw.
pub(super) struct Round {
    pub(super) number: u64,
    pub(super) fault: Fault,
    /// With plenty of money, and an end user.
    pub(super) rich: Tenant,
    /// Always short.
    pub(super) poor: Tenant,
    pub(super) record: Record,
}

impl Round {
    pub(super) fn platforms(&self) -> [PlatformId; 2] {
        [self.rich.platform, self.poor.platform]
    }

    /// Compares what callers saw with what is charged. Gives how many charges nobody has seen an answer of.
    pub(super) async fn check(&self, books: &Books) -> usize {
        let record = self.record.lock().unwrap().clone();
        assert!(!record.is_empty(), "callers must be served");
        let open = books
            .nodes()
            .await
            .unwrap()
            .into_iter()
            .filter(|node| node.is_open);
        let open: BTreeSet<NodeId> = open.map(|node| node.node).collect();
        let listed = books.unconfirmed(UnconfirmedStatus::Open).await;
        let listed: BTreeSet<_> = listed.iter().map(|item| item.charge).collect();
        let mut charged = books.charged(self.rich.platform).await;
        charged.extend(books.charged(self.poor.platform).await);

        for (id, told) in &record {
            told.is_charged(*id, charged.get(id));
        }
        let mut undelivered = 0;
        for (id, call) in charged.iter().filter(|(_, call)| call.net() > 0) {
            if matches!(record.get(id), Some(Told::Whole { .. } | Told::Cut { .. })) {
                continue;
            }
            undelivered += 1;
            let told = record.get(id);
            match call.charge.posted_by {
                Some((node, _)) => {
                    assert!(!open.contains(&node), "its node lives: {call:?}, {told:?}");
                    assert!(listed.contains(id), "nobody would know: {call:?}, {told:?}");
                }
                // A stream that was recorded when its node died. One that was only paused gives it back.
                None => {
                    assert!(call.charge.flags.contains(ChargeFlags::CRASH), "{call:?}");
                    assert!(self.fault.kills(), "its node lives: {call:?}, {told:?}");
                }
            }
        }
        self.poor_stays_within_bounds(books).await;
        undelivered
    }

    async fn poor_stays_within_bounds(&self, books: &Books) {
        let entries = books.entries(self.poor.platform).await.unwrap();
        let top_ups = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::TopUp)
            .count();
        let all_done = self.fault != Fault::KillBoth;
        assert!(
            top_ups <= DRIPS && (!all_done || top_ups == DRIPS),
            "{top_ups}"
        );
        // What a paused node still delivered of streams that a sweep had charged less for.
        let corrections = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Correction);
        let late: i64 = corrections
            .map(|entry| entry.wallet.unwrap().1.get().min(0))
            .sum();
        let balance = books.balance(self.poor.platform).await;
        assert!(balance >= late, "{balance} is below {late}");
    }
}

impl Told {
    #[track_caller]
    fn is_charged(&self, id: EntryId, call: Option<&Charged>) {
        let net = call.map_or(0, Charged::net);
        match *self {
            Self::Whole {
                tokens: (input, output),
            } => {
                assert_eq!(net, cost(input, output), "{id}: {self:?} and {call:?}");
                let refunds =
                    |call: &Charged| call.since.iter().any(|e| e.kind == EntryKind::Refund);
                assert!(!call.is_some_and(refunds), "{id}: {call:?}");
                if let Some(on_budget) = call.and_then(Charged::net_on_budget) {
                    let exact = i128::from(cost(input, output)) * i128::from(1_000_000 + MARKUP);
                    let usd = i64::try_from((exact + 500_000) / 1_000_000).unwrap();
                    let tokens = i64::try_from(input + output).unwrap();
                    assert_eq!(on_budget, (usd, tokens), "{id}: {call:?}");
                }
            }
            Self::Cut { least, most } => {
                assert!((least..=most).contains(&net), "{id}: {self:?} and {call:?}");
            }
            Self::Head => {}
        }
    }
}

/// Makes a call of any kind and notes what came of it.
pub(super) async fn call(server: SocketAddr, key: &str, dice: &Dice, record: &Record) {
    let stream = dice.per_mille(600);
    let call = Call {
        knobs: format!(
            "mock:words={} mock:delay_ms={} mock:first_ms={}",
            1 + dice.below(24),
            dice.below(25),
            dice.below(60)
        ),
        stream,
        max_tokens: OUTPUT,
        leave_after: (stream && dice.per_mille(150))
            .then(|| usize::try_from(dice.below(6)).unwrap()),
    };
    let counted = call.counted();
    let (id, told) = match call.make(server, key, counted).await {
        Seen::Whole { id, tokens } => {
            assert_eq!(tokens.0, counted);
            (id, Told::Whole { tokens })
        }
        Seen::Part(Part { id, has_text, left }) if has_text || left => {
            // Who leaves before any text came pays the prompt, unless the fault was faster.
            let least = if has_text { cost(counted, 0) } else { 0 };
            let most = cost((counted * 11).div_ceil(10), OUTPUT);
            (id, Told::Cut { least, most })
        }
        Seen::Part(part) => (part.id, Told::Head),
        Seen::Refused(refused) => {
            assert!(matches!(refused.status, 402 | 503), "{refused:?}");
            assert!(refused.status == 402 || refused.retry_after, "{refused:?}");
            sleep(Duration::from_millis(20)).await;
            return;
        }
        Seen::Nothing => {
            sleep(Duration::from_millis(20)).await;
            return;
        }
    };
    let before = record.lock().unwrap().insert(id, told);
    assert!(before.is_none(), "{id} was used twice");
}
