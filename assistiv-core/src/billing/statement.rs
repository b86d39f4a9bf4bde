//! Lists of ledger entries: what they are filtered by, and statements to be exported.

use super::amounts::Amounts;
use super::ledger::{EntryKind, EntrySource, EntryWithBalance, LedgerEntry};
use crate::clock::Timestamp;
use crate::id::{EndUserId, EntryId};

/// Whose entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntriesOf {
    /// Of the platform's wallet.
    Wallet,
    /// Of an end user's budget, in force or not.
    Budget(EndUserId),
}

/// One call may move several limits of a budget. Its entry is one, and is shown as up to two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LedgerPart {
    /// USD and tokens. Entries of a wallet have this part alone.
    Main,
    /// Display units.
    Display,
}

/// Which entries. What is `None` is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// Of one of these kinds.
    pub kinds: Option<Vec<EntryKind>>,
    /// From one of these causes.
    pub sources: Option<Vec<EntrySource>>,
    /// This part of them.
    pub part: Option<LedgerPart>,
    /// Of this end user.
    pub end_user: Option<EndUserId>,
    /// Made by a request with this `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Posted at this time or later.
    pub from: Option<Timestamp>,
    /// Posted before this time.
    pub to: Option<Timestamp>,
}

/// A balance, or what remains of a budget and its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The balance, or what remains.
    pub remaining: Amounts,
    /// The limits; zero for a wallet.
    pub limit: Amounts,
}

/// What an export covers, fixed when it begins: entries that are posted while it runs are not in it.
///
/// It ends five seconds ago at the latest: later entries may still be joined by ones before them. So a period that is
/// over has one statement, whenever it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What stood before the first entry of the period, whatever else the filter asks for.
    pub opening: Standing,
    /// What stood after the last one.
    pub closing: Standing,
    /// How many rows match.
    pub rows: u64,
    /// Where to begin, if there are entries in the period.
    pub begin: Option<StatementCursor>,
}

/// Where an export stands. What the numbers mean is the backend's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementCursor {
    /// Entries before this position are still to be read.
    pub before: i64,
    /// The first entry of the period.
    pub first: i64,
    /// What stood after the entry that comes next.
    pub standing: Standing,
    /// Entries at this time or later are not in it.
    pub end: Timestamp,
}

/// Some rows of an export.
#[derive(Clone, Debug, PartialEq)]
pub struct StatementPage {
    /// The rows, newest first. There may be none on a page that is not the last.
    pub rows: Vec<EntryWithBalance>,
    /// Where to go on; `None` at the end.
    pub next: Option<StatementCursor>,
}

// === impl LedgerPart ===

impl LedgerPart {
    /// Both, in the order in which rows of one entry follow each other, newest first.
    pub const ALL: [Self; 2] = [Self::Display, Self::Main];
}

// === impl EntryFilter ===

impl EntryFilter {
    /// Whether an entry is asked for. Which part of it, the caller must look for itself.
    pub fn matches(&self, entry: &LedgerEntry) -> bool {
        let among = |wanted: &Option<Vec<EntryKind>>| {
            wanted
                .as_ref()
                .is_none_or(|kinds| kinds.contains(&entry.kind))
        };
        among(&self.kinds)
            && self
                .sources
                .as_ref()
                .is_none_or(|sources| sources.contains(&entry.source))
            && self.end_user.is_none_or(|id| entry.end_user_id == Some(id))
            && self
                .idempotency_key
                .as_ref()
                .is_none_or(|key| entry.idempotency_key.as_ref() == Some(key))
            && self.from.is_none_or(|from| entry.created_at >= from)
            && self.to.is_none_or(|to| entry.created_at < to)
    }

    /// The parts of an entry that are asked for.
    pub fn parts(&self, entry: &LedgerEntry, of: EntriesOf) -> impl Iterator<Item = LedgerPart> {
        let wanted = self.part;
        let shown = entry.parts(of);
        LedgerPart::ALL
            .into_iter()
            .filter(move |part| shown.contains(part) && wanted.is_none_or(|only| only == *part))
    }
}

// === impl Standing ===

impl Standing {
    /// What stood before a change.
    ///
    /// # Errors
    /// [`super::Overflow`].
    pub fn before(self, change: &Self) -> Result<Self, super::Overflow> {
        Ok(Self {
            remaining: self.remaining.checked_sub(change.remaining)?,
            limit: self.limit.checked_sub(change.limit)?,
        })
    }

    /// What stands after a change.
    ///
    /// # Errors
    /// [`super::Overflow`].
    pub fn after(self, change: &Self) -> Result<Self, super::Overflow> {
        Ok(Self {
            remaining: self.remaining.checked_add(change.remaining)?,
            limit: self.limit.checked_add(change.limit)?,
        })
    }
}

// === impl LedgerEntry ===

impl LedgerEntry {
    /// The id of the row that shows an entry's display units.
    pub fn display_uid(entry: EntryId) -> EntryId {
        EntryId::from_uuid(uuid::Uuid::new_v5(&entry.as_uuid(), b"display"))
    }

    /// The parts in which the entry is shown. One that moves nothing is shown as [`LedgerPart::Main`].
    fn parts(&self, of: EntriesOf) -> Vec<LedgerPart> {
        let (EntriesOf::Budget(_), Some(legs)) = (of, &self.budget) else {
            return vec![LedgerPart::Main];
        };
        let moved = |amounts: &Amounts| (amounts.usd, amounts.tokens) != Default::default();
        let on_display = EntryKind::ON_DISPLAY.contains(&self.kind);
        let display =
            on_display || !legs.remaining.display.is_zero() || !legs.limit.display.is_zero();
        let main = !on_display && (!display || moved(&legs.remaining) || moved(&legs.limit));
        let shown = [(LedgerPart::Display, display), (LedgerPart::Main, main)];
        shown
            .into_iter()
            .filter_map(|(part, is_shown)| is_shown.then_some(part))
            .collect()
    }

    /// What the entry changes of a wallet's balance, or of what remains of a budget and its limits.
    pub fn change_of(&self, of: EntriesOf) -> Standing {
        match (of, self.wallet, &self.budget) {
            (EntriesOf::Wallet, Some((_, usd)), _) => Standing {
                remaining: Amounts::usd(usd),
                limit: Amounts::ZERO,
            },
            (EntriesOf::Budget(_), _, Some(legs)) => Standing {
                remaining: legs.remaining,
                limit: legs.limit,
            },
            _ => Standing::default(),
        }
    }
}
