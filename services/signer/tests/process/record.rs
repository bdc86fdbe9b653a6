//! What the database holds of what was signed, held against what machines were
//! told and against the rules of slashing.

use crate::messages::Asked;
use crate::postgres::{ADMIN, DATABASE, Postgres};
use berth_signer::domain::{Message, PublicKey, Root};
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A signed message as a row holds it: slot, source and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) key: PublicKey,
    pub(crate) numbers: [Option<i64>; 3],
    pub(crate) root: Root,
}

impl Entry {
    pub(crate) fn new(key: PublicKey, message: Message, root: Root) -> Self {
        let number = |number: u64| Some(i64::try_from(number).unwrap());
        let numbers = match message {
            Message::Block { slot } => [number(slot), None, None],
            Message::Attestation { source, target } => [None, number(source), number(target)],
            Message::Other => [None; 3],
        };
        Self { key, numbers, root }
    }

    pub(crate) fn of(key: PublicKey, asked: &Asked) -> Self {
        Self::new(key, asked.message, asked.root)
    }
}

pub(crate) struct Record {
    /// The history, with the fence of each.
    pub(crate) history: HashMap<Entry, i64>,
    /// Slot, source and target of each row.
    watermarks: HashMap<PublicKey, [Option<i64>; 3]>,
}

impl Record {
    pub(crate) async fn read(postgres: &Postgres) -> Self {
        let url = postgres.url(ADMIN, DATABASE);
        let mut conn = PgConnection::connect(&url).await.unwrap();
        let history = sqlx::query(
            "select public_key, slot, source_epoch, target_epoch, signing_root, fence from signature",
        )
        .map(|row: PgRow| {
            let numbers = [row.get(1), row.get(2), row.get(3)];
            let (key, root) = (key(row.get(0)), row.get::<&[u8], _>(4).try_into().unwrap());
            (Entry { key, numbers, root }, row.get(5))
        });
        let history = history.fetch_all(&mut conn).await.unwrap();
        let watermarks =
            sqlx::query("select public_key, block_slot, source_epoch, target_epoch from validator")
                .map(|row: PgRow| (key(row.get(0)), [row.get(1), row.get(2), row.get(3)]));
        let watermarks = watermarks.fetch_all(&mut conn).await.unwrap();
        Self {
            history: history.into_iter().collect(),
            watermarks: watermarks.into_iter().collect(),
        }
    }

    /// Which of these are not in the history, or above the watermarks.
    pub(crate) fn lacks<'a>(&self, told: &'a [Entry]) -> Vec<&'a Entry> {
        let below = |entry: &Entry| {
            let row = self.watermarks[&entry.key];
            entry
                .numbers
                .iter()
                .zip(row)
                .any(|(told, kept)| *told > kept)
        };
        told.iter()
            .filter(|entry| !self.history.contains_key(entry) || below(entry))
            .collect()
    }

    /// Whether this is the newest of its kind that the row knows.
    pub(crate) fn newest(&self, entry: &Entry) -> bool {
        let row = self.watermarks[&entry.key];
        entry
            .numbers
            .iter()
            .zip(row)
            .all(|(told, kept)| told.is_none() || *told == kept)
    }

    /// How many under a fence.
    pub(crate) fn under(&self, fence: u64) -> usize {
        let fence = i64::try_from(fence).unwrap();
        self.history
            .values()
            .filter(|under| **under == fence)
            .count()
    }

    pub(crate) fn offences(&self) -> Vec<String> {
        offences(self.history.keys())
    }
}

fn key(bytes: &[u8]) -> PublicKey {
    bytes.try_into().unwrap()
}

/// What would be slashed.
fn offences<'a>(history: impl Iterator<Item = &'a Entry>) -> Vec<String> {
    let mut slots = HashSet::new();
    let mut votes: HashMap<_, BTreeMap<i64, Vec<i64>>> = HashMap::new();
    let mut found = Vec::new();
    for entry in history {
        let Entry { key, numbers, .. } = entry;
        if let [Some(slot), _, _] = numbers
            && !slots.insert((key, slot))
        {
            found.push(format!("{key} proposed twice: {entry:?}"));
        }
        if let [_, Some(source), Some(target)] = *numbers {
            votes
                .entry(key)
                .or_default()
                .entry(target)
                .or_default()
                .push(source);
        }
    }
    for (key, targets) in votes {
        let mut highest = i64::MIN;
        for (target, sources) in targets {
            if sources.len() > 1 {
                found.push(format!("{key} voted twice for {target}"));
            }
            if sources.iter().any(|source| *source < highest) {
                found.push(format!("{key} surrounds a vote by {sources:?} to {target}"));
            }
            highest = sources.into_iter().fold(highest, i64::max);
        }
    }
    found
}

#[test]
fn the_look_at_the_record_finds_each_offence_and_nothing_else() {
    let entry = |message, root| Entry::new(PublicKey([1; 48]), message, Root([root; 32]));
    let block = |slot| Message::Block { slot };
    let vote = |source, target| Message::Attestation { source, target };
    let sound = [
        entry(block(1), 1),
        entry(block(2), 1),
        entry(vote(0, 1), 1),
        entry(vote(1, 2), 1),
        entry(vote(1, 4), 1),
    ];
    assert!(offences(sound.iter()).is_empty());
    for slashed in [
        entry(block(2), 2),
        entry(vote(0, 2), 2),
        entry(vote(1, 2), 2),
        entry(vote(0, 3), 1),
        entry(vote(2, 3), 1),
    ] {
        let all = sound.iter().chain([&slashed]);
        assert_eq!(offences(all).len(), 1, "{slashed:?}");
    }
}
