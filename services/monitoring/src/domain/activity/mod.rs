//! Who did their duty in an epoch, from what the chain holds: the committees of
//! the epoch, and the blocks of it and of the next, in which its votes stand.
//!
//! Numbers that do not fit together are an error and never silence: whoever is
//! taken for silent may be let sign elsewhere.

use std::collections::{BTreeMap, BTreeSet};

/// Validators that vote together in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committee {
    /// The slot.
    pub slot: u64,
    /// Its number within the slot.
    pub index: u64,
    /// Indices of validators, in the order of the bits of a vote.
    pub members: Vec<u64>,
}

/// Votes of a slot, as a block holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The slot that is voted for.
    pub slot: u64,
    /// The committee; without meaning where `committee_bits` are.
    pub index: u64,
    /// A bit for each member, and one above the last.
    pub aggregation_bits: Vec<u8>,
    /// Since Electra: which committees, whose members follow each other.
    pub committee_bits: Option<Vec<u8>>,
}

/// A block, as far as it tells who was active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its slot.
    pub slot: u64,
    /// Index of who proposed it.
    pub proposer: u64,
    /// The votes in it.
    pub attestations: Vec<Attestation>,
}

/// What the chain holds of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochRecord {
    /// First slot of the epoch.
    pub first_slot: u64,
    /// First slot of the next one.
    pub end_slot: u64,
    /// The committees of every slot of the epoch.
    pub committees: Vec<Committee>,
    /// The blocks of the epoch and of the next.
    pub blocks: Vec<Block>,
}

/// Who of those looked for was there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// Had to vote in the epoch.
    pub on_duty: BTreeSet<u64>,
    /// Voted for a slot of the epoch, or proposed one of the blocks.
    pub seen: BTreeSet<u64>,
}

/// What does not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    /// A committee of another epoch, or twice the same.
    #[error("a committee that is not of the epoch, or two of one number")]
    Committee,
    /// A slot of the epoch without committees.
    #[error("a slot of the epoch has no committee")]
    NoCommittee,
    /// Votes of a committee that is not known, or of none.
    #[error("votes of a committee that is not known")]
    UnknownCommittee,
    /// Another number of bits than of members.
    #[error("votes have another number of bits than their committees have members")]
    Bits,
}

/// Who of the `watched` indices had to vote in an epoch, and who was active.
///
/// # Errors
///
/// When the record contradicts itself; then nobody may be taken for silent.
pub fn activity(record: &EpochRecord, watched: &BTreeSet<u64>) -> Result<Activity, Inconsistent> {
    let committees = by_slot(record)?;
    let mut activity = Activity::default();
    for members in committees.values().flat_map(BTreeMap::values) {
        let of_ours = members.iter().filter(|member| watched.contains(member));
        activity.on_duty.extend(of_ours);
    }
    for block in &record.blocks {
        activity.seen.extend(watched.get(&block.proposer));
        for attestation in &block.attestations {
            // A block of the epoch also holds votes of the one before.
            if let Some(of_slot) = committees.get(&attestation.slot) {
                for voter in voters(attestation, of_slot)? {
                    activity.seen.extend(watched.get(voter));
                }
            }
        }
    }
    Ok(activity)
}

/// Whether at least two thirds of an epoch's validators voted on this chain. One
/// with fewer may be a fork on which a validator looks silent that votes elsewhere.
///
/// # Errors
///
/// As [`activity`].
pub fn has_quorum(record: &EpochRecord) -> Result<bool, Inconsistent> {
    let committees = by_slot(record)?;
    let mut voted = BTreeSet::<u64>::new();
    for attestation in record.blocks.iter().flat_map(|block| &block.attestations) {
        if let Some(of_slot) = committees.get(&attestation.slot) {
            voted.extend(voters(attestation, of_slot)?);
        }
    }
    let members = committees.values().flat_map(BTreeMap::values);
    let members: usize = members.map(|members| members.len()).sum();
    Ok(3 * voted.len() >= 2 * members)
}

type Members<'a> = BTreeMap<u64, &'a [u64]>;

fn by_slot(record: &EpochRecord) -> Result<BTreeMap<u64, Members<'_>>, Inconsistent> {
    let slots = record.first_slot..record.end_slot;
    let mut all: BTreeMap<u64, Members<'_>> = BTreeMap::new();
    for committee in &record.committees {
        let of_slot = all.entry(committee.slot).or_default();
        let twice = of_slot.insert(committee.index, &committee.members);
        if twice.is_some() || !slots.contains(&committee.slot) {
            return Err(Inconsistent::Committee);
        }
    }
    let mut slots = slots;
    if slots.all(|slot| all.contains_key(&slot)) {
        Ok(all)
    } else {
        Err(Inconsistent::NoCommittee)
    }
}

/// The members whose bits are set.
fn voters<'a>(
    attestation: &Attestation,
    of_slot: &Members<'a>,
) -> Result<impl Iterator<Item = &'a u64>, Inconsistent> {
    let named: Vec<u64> = match &attestation.committee_bits {
        None => vec![attestation.index],
        Some(bits) => (0..)
            .zip(
                bits.iter()
                    .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1)),
            )
            .filter_map(|(index, bit)| (bit == 1).then_some(index))
            .collect(),
    };
    let committees: Option<Vec<&'a [u64]>> = named
        .iter()
        .map(|index| of_slot.get(index).copied())
        .collect();
    let committees = committees
        .filter(|committees| !committees.is_empty())
        .ok_or(Inconsistent::UnknownCommittee)?;
    let members: Vec<&'a u64> = committees.into_iter().flatten().collect();
    let bits = &attestation.aggregation_bits;
    if length(bits) != Some(members.len()) {
        return Err(Inconsistent::Bits);
    }
    let bits: Vec<bool> = (0..members.len())
        .map(|at| {
            bits.get(at / 8)
                .is_some_and(|byte| byte >> (at % 8) & 1 == 1)
        })
        .collect();
    Ok(members
        .into_iter()
        .zip(bits)
        .filter_map(|(member, set)| set.then_some(member)))
}

/// How many bits there are below the highest one, which only tells that.
fn length(bits: &[u8]) -> Option<usize> {
    let (last, before) = bits.split_last()?;
    let highest = last.checked_ilog2()?;
    Some(before.len() * 8 + usize::try_from(highest).ok()?)
}

#[cfg(test)]
mod tests;
