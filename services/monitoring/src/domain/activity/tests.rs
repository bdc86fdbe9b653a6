//! Epochs that are made up, and what must come out of them.

use super::*;
use proptest::prelude::*;

const SLOTS: u64 = 4;

/// Bits as a list writes them.
fn bits(set: &[bool]) -> Vec<u8> {
    let mut bytes = vec![0; set.len() / 8 + 1];
    for at in (0..set.len()).filter(|at| set[*at]).chain([set.len()]) {
        bytes[at / 8] |= 1 << (at % 8);
    }
    bytes
}

/// Committees of a slot as Electra names them.
fn committee_bits(indices: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    for index in indices {
        bytes[usize::try_from(index / 8).unwrap()] |= 1 << (index % 8);
    }
    bytes
}

/// Epoch 3, with so many committees a slot; validators are numbered through.
fn record(committees_a_slot: u64, members: u64) -> EpochRecord {
    let first_slot = 3 * SLOTS;
    let numbers = (0..SLOTS).flat_map(|slot| (0..committees_a_slot).map(move |i| (slot, i)));
    let committees = numbers.enumerate().map(|(at, (slot, index))| {
        let first = u64::try_from(at).unwrap() * members;
        Committee {
            slot: first_slot + slot,
            index,
            members: (first..first + members).rev().collect(),
        }
    });
    EpochRecord {
        first_slot,
        end_slot: first_slot + SLOTS,
        committees: committees.collect(),
        blocks: Vec::new(),
    }
}

fn block(slot: u64, proposer: u64, attestations: Vec<Attestation>) -> Block {
    Block {
        slot,
        proposer,
        attestations,
    }
}

/// All of one committee vote, as before Electra.
fn whole(committee: &Committee) -> Attestation {
    Attestation {
        slot: committee.slot,
        index: committee.index,
        aggregation_bits: bits(&vec![true; committee.members.len()]),
        committee_bits: None,
    }
}

fn all(record: &EpochRecord) -> BTreeSet<u64> {
    let members = record.committees.iter().flat_map(|one| &one.members);
    members.copied().collect()
}

#[test]
fn who_votes_or_proposes_is_seen_and_who_does_neither_is_not() {
    let mut record = record(1, 3);
    // Committee 0 has 2, 1, 0; bit 1 is that of validator 1.
    let vote = Attestation {
        aggregation_bits: bits(&[false, true, false]),
        ..whole(&record.committees[0])
    };
    // Late, in the next epoch.
    record.blocks = vec![block(12, 7, vec![]), block(17, 100, vec![vote])];
    let watched = BTreeSet::from([0, 1, 7, 55]);
    let found = activity(&record, &watched).unwrap();
    assert_eq!(found.seen, BTreeSet::from([1, 7]));
    assert_eq!(found.on_duty, BTreeSet::from([0, 1, 7]));
}

#[test]
fn votes_of_other_epochs_say_nothing_of_this_one() {
    let mut record = record(1, 3);
    let foreign = |slot| Attestation {
        slot,
        ..whole(&record.committees[0])
    };
    let foreign = vec![foreign(11), foreign(16)];
    record.blocks = vec![block(13, 100, foreign)];
    let found = activity(&record, &all(&record)).unwrap();
    assert!(found.seen.is_empty(), "{found:?}");
    assert_eq!(found.on_duty.len(), 12);
}

#[test]
fn since_electra_one_vote_is_of_several_committees() {
    let mut record = record(3, 3);
    let vote = Attestation {
        slot: 12,
        index: 0,
        // Of committees 0 (2, 1, 0) and 2 (8, 7, 6).
        aggregation_bits: bits(&[true, false, false, false, false, true]),
        committee_bits: Some(committee_bits(&[0, 2])),
    };
    record.blocks = vec![block(13, 100, vec![vote])];
    let found = activity(&record, &all(&record)).unwrap();
    assert_eq!(found.seen, BTreeSet::from([2, 6]));
}

#[test]
fn what_does_not_fit_together_is_an_error_and_never_silence() {
    use Inconsistent::{Bits, Committee, NoCommittee, UnknownCommittee};
    let good = record(1, 3);
    let voting = |change: fn(&mut Attestation)| {
        let mut record = good.clone();
        let mut vote = whole(&record.committees[0]);
        change(&mut vote);
        record.blocks = vec![block(13, 100, vec![vote])];
        record
    };
    let with = |change: fn(&mut EpochRecord)| {
        let mut record = good.clone();
        change(&mut record);
        record
    };
    for (record, problem) in [
        (voting(|vote| vote.index = 9), UnknownCommittee),
        (
            voting(|vote| vote.committee_bits = Some(vec![])),
            UnknownCommittee,
        ),
        (
            voting(|vote| vote.committee_bits = Some(vec![0; 8])),
            UnknownCommittee,
        ),
        (
            voting(|vote| vote.committee_bits = Some(vec![3])),
            UnknownCommittee,
        ),
        (voting(|vote| vote.aggregation_bits = vec![]), Bits),
        (voting(|vote| vote.aggregation_bits = vec![0]), Bits),
        (voting(|vote| vote.aggregation_bits = vec![0xff; 9]), Bits),
        (
            voting(|vote| vote.aggregation_bits = bits(&[true; 2])),
            Bits,
        ),
        (with(|record| record.committees[0].slot = 99), Committee),
        (with(|record| record.committees[0].slot = 13), Committee),
        (with(|record| drop(record.committees.pop())), NoCommittee),
    ] {
        let found = activity(&record, &all(&good));
        assert_eq!(found, Err(problem), "{record:?}");
    }
}

/// Who of the members of each committee votes.
fn votes() -> impl Strategy<Value = (u64, u64, Vec<bool>)> {
    (1_u64..5, 1_u64..20).prop_flat_map(|(committees, members)| {
        let validators = usize::try_from(SLOTS * committees * members).unwrap();
        let voted = proptest::collection::vec(proptest::bool::ANY, validators);
        (Just(committees), Just(members), voted)
    })
}

proptest! {
    #[test]
    fn exactly_those_who_voted_are_seen_however_their_votes_are_packed(
        (committees, members, voted) in votes(),
        electra: bool,
        split in proptest::bool::ANY,
        proposer in 0_u64..400,
        slots in proptest::collection::vec(0_u64..2 * SLOTS, 40),
    ) {
        let mut record = record(committees, members);
        let set = |committee: &Committee| -> Vec<bool> {
            let voted = |member: &u64| voted[usize::try_from(*member).unwrap()];
            committee.members.iter().map(voted).collect()
        };
        let mut attestations = Vec::new();
        for slot in record.first_slot..record.end_slot {
            let of_slot: Vec<_> = record.committees.iter().filter(|c| c.slot == slot).collect();
            // One vote of all committees of the slot, or one of each.
            let together = if split { 1 } else { of_slot.len() };
            for part in of_slot.chunks(if electra { together } else { 1 }) {
                let indices: Vec<_> = part.iter().map(|c| c.index).collect();
                attestations.push(Attestation {
                    slot,
                    index: if electra { 0 } else { indices[0] },
                    aggregation_bits: bits(&part.iter().flat_map(|c| set(c)).collect::<Vec<_>>()),
                    committee_bits: electra.then(|| committee_bits(&indices)),
                });
            }
        }
        record.blocks = attestations
            .into_iter()
            .zip(slots.into_iter().cycle())
            .map(|(vote, late)| block(record.first_slot + late, proposer, vec![vote]))
            .collect();
        let watched = all(&record);
        let found = activity(&record, &watched).unwrap();
        let mut wanted: BTreeSet<u64> = (0..).zip(&voted).filter_map(|(n, v)| v.then_some(n)).collect();
        wanted.extend(watched.get(&proposer));
        prop_assert_eq!(&found.seen, &wanted);
        prop_assert_eq!(&found.on_duty, &watched);

        // Whom nobody looks for is not told of.
        let few: BTreeSet<u64> = watched.iter().copied().filter(|n| n % 3 == 0).collect();
        let part = activity(&record, &few).unwrap();
        prop_assert_eq!(part.seen, &found.seen & &few);
        prop_assert_eq!(part.on_duty, few);
    }

    #[test]
    fn no_bytes_make_it_panic(
        aggregation_bits in proptest::collection::vec(proptest::num::u8::ANY, 0..6),
        committee_bits in proptest::option::of(proptest::collection::vec(proptest::num::u8::ANY, 0..9)),
        slot in 0_u64..20,
        index in 0_u64..4,
    ) {
        let mut record = record(2, 9);
        let vote = Attestation { slot, index, aggregation_bits, committee_bits };
        record.blocks = vec![block(13, 0, vec![vote])];
        if let Ok(found) = activity(&record, &all(&record)) {
            prop_assert!(found.seen.is_subset(&found.on_duty));
        }
    }
}

#[test]
fn two_thirds_of_the_validators_have_to_have_voted() {
    // Twelve committees of one, each with a block of its own.
    for (votes, enough) in [(0, false), (7, false), (8, true), (12, true)] {
        let mut record = record(3, 1);
        let voted = record.committees.iter().take(votes).map(whole).collect();
        let slot = record.first_slot + 1;
        // The same votes twice are no more of them.
        let again = record.committees.iter().take(votes).map(whole).collect();
        record.blocks = vec![block(slot, 100, voted), block(slot + 1, 101, again)];
        assert_eq!(has_quorum(&record), Ok(enough), "{votes}");
    }
}
