//! What a machine may have signed, and when: its duties at about the present,
//! and a registration as the owner wants it.

use super::containers::ValidatorRegistration;
use crate::domain::refusal::Reason;
use crate::domain::{Address, Chain, Message, PublicKey, Refusal};
use std::ops::RangeInclusive;

/// How far the timestamp of a registration may be from our time, in seconds.
const REGISTRATION_WINDOW: u64 = 3600;

/// What the owner of a validator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The key that is asked to sign.
    pub public_key: PublicKey,
    /// The one address that a registration may name.
    pub fee_recipient: Option<Address>,
    /// The highest gas limit that a registration may name; 0 for none at all.
    pub gas_limit: u64,
}

/// What a message says, as far as time and policy look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Duty {
    /// A block.
    Block { slot: u64 },
    /// A vote; source and target are epochs.
    Attestation { slot: u64, source: u64, target: u64 },
    /// An aggregate, or a message of a sync committee.
    Slot { slot: u64 },
    /// A proof that one is selected to aggregate at a slot.
    Selection { slot: u64 },
    /// A RANDAO reveal.
    Randao { epoch: u64 },
    /// Blocks of builders shall pay this address.
    Registration(ValidatorRegistration),
}

impl Duty {
    /// The epoch whose fork it is signed for; `None` for what belongs to no chain.
    pub(super) const fn epoch(&self, chain: &Chain) -> Option<u64> {
        match self {
            Self::Block { slot } | Self::Slot { slot } | Self::Selection { slot } => {
                Some(chain.epoch_of(*slot))
            }
            Self::Attestation { target, .. } => Some(*target),
            Self::Randao { epoch } => Some(*epoch),
            Self::Registration(_) => None,
        }
    }

    /// The message as the slashing rules see it.
    pub(super) const fn message(&self) -> Message {
        match *self {
            Self::Block { slot } => Message::Block { slot },
            Self::Attestation { source, target, .. } => Message::Attestation { source, target },
            Self::Slot { .. }
            | Self::Selection { .. }
            | Self::Randao { .. }
            | Self::Registration(_) => Message::Other,
        }
    }

    /// That it is of the present, by our clock, and what the owner allows.
    pub(super) fn check(
        &self,
        chain: &Chain,
        policy: &Policy,
        now_unix: u64,
    ) -> Result<(), Refusal> {
        let now = Now::at(chain, now_unix);
        match self {
            Self::Block { slot } | Self::Slot { slot } => within("slot", *slot, now.slots()),
            Self::Attestation {
                slot,
                source,
                target,
            } => {
                within("slot", *slot, now.slots())?;
                vote(chain.epoch_of(*slot), *source, *target)
            }
            Self::Selection { slot } => within("slot", *slot, now.selection_slots()),
            Self::Randao { epoch } => within("epoch", *epoch, now.epochs()),
            Self::Registration(registration) => {
                let window = now_unix.saturating_sub(REGISTRATION_WINDOW)
                    ..=now_unix.saturating_add(REGISTRATION_WINDOW);
                within("timestamp", registration.timestamp, window)?;
                policy.check(registration)
            }
        }
    }
}

/// A vote is for the epoch of its slot, and grows on an earlier one. At genesis
/// both are epoch 0.
fn vote(epoch: u64, source: u64, target: u64) -> Result<(), Refusal> {
    let bad = |detail| Err(Refusal::new(Reason::BadVote, detail));
    if target != epoch {
        return bad(format!(
            "target epoch {target}, but its slot is of epoch {epoch}"
        ));
    }
    if source > target || source == target && target != 0 {
        return bad(format!(
            "source epoch {source} is not before target epoch {target}"
        ));
    }
    Ok(())
}

impl Policy {
    fn check(&self, registration: &ValidatorRegistration) -> Result<(), Refusal> {
        let no = |reason, detail| Err(Refusal::new(reason, detail));
        let &ValidatorRegistration {
            fee_recipient,
            gas_limit,
            pubkey,
            ..
        } = registration;
        if pubkey != self.public_key {
            let detail = format!("the registration is of {pubkey}");
            return no(Reason::WrongPublicKey, detail);
        }
        match self.fee_recipient {
            None => return no(Reason::FeeRecipient, "the owner set none".to_owned()),
            Some(set) if set != fee_recipient => {
                return no(
                    Reason::FeeRecipient,
                    format!("{fee_recipient}; the owner set {set}"),
                );
            }
            Some(_) => {}
        }
        if self.gas_limit == 0 || gas_limit > self.gas_limit {
            let detail = format!("{gas_limit}; the owner allows {}", self.gas_limit);
            return no(Reason::GasLimit, detail);
        }
        Ok(())
    }
}

/// Our own time, in the units of a chain.
struct Now<'a> {
    chain: &'a Chain,
    slot: u64,
}

impl<'a> Now<'a> {
    fn at(chain: &'a Chain, now_unix: u64) -> Self {
        Self {
            chain,
            slot: chain.slot_at(now_unix),
        }
    }

    /// From an epoch ago to the next slot: the asker's clock may be ahead.
    fn slots(&self) -> RangeInclusive<u64> {
        self.slot
            .saturating_sub(self.chain.preset.slots_per_epoch())
            ..=self.slot.saturating_add(1)
    }

    /// To the end of the next epoch, by a clock that may be a slot ahead of ours:
    /// clients ask for both as soon as an epoch begins.
    fn selection_slots(&self) -> RangeInclusive<u64> {
        let (first, ahead) = self.slots().into_inner();
        let end = self.chain.epoch_of(ahead).saturating_add(2);
        let end = end.saturating_mul(self.chain.preset.slots_per_epoch());
        first..=end - 1
    }

    fn epochs(&self) -> RangeInclusive<u64> {
        let epoch = self.chain.epoch_of(self.slot);
        epoch.saturating_sub(1)..=epoch.saturating_add(1)
    }
}

fn within(what: &str, value: u64, allowed: RangeInclusive<u64>) -> Result<(), Refusal> {
    let (first, last) = allowed.into_inner();
    if value > last {
        let detail = format!("{what} {value}; the last that is signed now is {last}");
        return Err(Refusal::new(Reason::FarFuture, detail));
    }
    if value < first {
        let detail = format!("{what} {value}; the first that is still signed is {first}");
        return Err(Refusal::new(Reason::FarPast, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Fork, ForkName, ForkVersion, Preset, Root, Schedule};

    const NOW: u64 = 100_000;
    const KEY: PublicKey = PublicKey([1; 48]);
    const PAID: Address = Address([2; 20]);
    const POLICY: Policy = Policy {
        public_key: KEY,
        fee_recipient: Some(PAID),
        gas_limit: 30_000_000,
    };

    /// A minimal chain at which it is, at `NOW`, slot 10 × 8 + `slot_of_epoch`.
    fn chain(slot_of_epoch: u64) -> Chain {
        began_before(80 + slot_of_epoch)
    }

    fn began_before(slots: u64) -> Chain {
        let phase0 = Fork {
            name: ForkName::Phase0,
            epoch: 0,
            version: ForkVersion([0; 4]),
        };
        Chain {
            name: "ethereum-test".to_owned(),
            genesis_validators_root: Root([0; 32]),
            genesis_time: NOW - slots * 2,
            seconds_per_slot: 2,
            preset: Preset::Minimal,
            forks: Schedule::try_from(vec![phase0]).unwrap(),
        }
    }

    fn reason(chain: &Chain, duty: &Duty, policy: &Policy) -> Option<Reason> {
        duty.check(chain, policy, NOW)
            .err()
            .map(|refusal| refusal.reason)
    }

    /// What is signed from the first to the last, and not beside them.
    fn bounds(chain: &Chain, first: u64, last: u64, duty: impl Fn(u64) -> Duty) {
        let at = |value| reason(chain, &duty(value), &POLICY);
        assert_eq!(at(first), None);
        assert_eq!(at(last), None);
        assert_eq!(at(last + 1), Some(Reason::FarFuture));
        assert_eq!(at(u64::MAX), Some(Reason::FarFuture));
        if let Some(before) = first.checked_sub(1) {
            assert_eq!(at(before), Some(Reason::FarPast));
            assert_eq!(at(0), Some(Reason::FarPast));
        }
    }

    fn vote_at(slot: u64, source: u64, target: u64) -> Duty {
        Duty::Attestation {
            slot,
            source,
            target,
        }
    }

    #[test]
    fn blocks_votes_and_duties_of_a_slot_are_signed_from_an_epoch_ago_to_the_next_slot() {
        for slot in 0..8 {
            let chain = chain(slot);
            let (first, last) = (72 + slot, 81 + slot);
            bounds(&chain, first, last, |slot| Duty::Block { slot });
            bounds(&chain, first, last, |slot| Duty::Slot { slot });
            bounds(&chain, first, last, |slot| vote_at(slot, 0, slot / 8));
        }
    }

    #[test]
    fn selections_are_signed_to_the_end_of_the_next_epoch() {
        for slot in 0..7 {
            bounds(&chain(slot), 72 + slot, 95, |slot| Duty::Selection { slot });
        }
        // The client's clock may say already that the next epoch began.
        bounds(&chain(7), 79, 103, |slot| Duty::Selection { slot });
    }

    #[test]
    fn reveals_are_signed_for_the_epochs_beside_this_one() {
        for slot in 0..8 {
            bounds(&chain(slot), 9, 11, |epoch| Duty::Randao { epoch });
        }
    }

    #[test]
    fn at_genesis_and_before_it_the_first_slots_are_signed() {
        let mut chain = began_before(0);
        for genesis_time in [NOW, NOW + 1000] {
            chain.genesis_time = genesis_time;
            bounds(&chain, 0, 1, |slot| Duty::Block { slot });
            bounds(&chain, 0, 15, |slot| Duty::Selection { slot });
            bounds(&chain, 0, 1, |epoch| Duty::Randao { epoch });
            assert_eq!(reason(&chain, &vote_at(0, 0, 0), &POLICY), None);
        }
    }

    #[test]
    fn a_vote_is_for_the_epoch_of_its_slot_and_grows_on_an_earlier_one() {
        let chain = chain(0);
        for (source, target, allowed) in [
            (9, 10, true),
            (0, 10, true),
            (10, 10, false),
            (11, 10, false),
            (u64::MAX, 10, false),
            (8, 9, false),
            (9, 11, false),
            (0, 0, false),
        ] {
            let refused = reason(&chain, &vote_at(80, source, target), &POLICY);
            let expected = (!allowed).then_some(Reason::BadVote);
            assert_eq!(refused, expected, "{source} → {target}");
        }
    }

    fn registration() -> ValidatorRegistration {
        ValidatorRegistration {
            fee_recipient: PAID,
            gas_limit: POLICY.gas_limit,
            timestamp: NOW,
            pubkey: KEY,
        }
    }

    #[test]
    fn a_registration_is_signed_within_an_hour() {
        bounds(&chain(0), NOW - 3600, NOW + 3600, |timestamp| {
            Duty::Registration(ValidatorRegistration {
                timestamp,
                ..registration()
            })
        });
    }

    #[test]
    fn a_registration_is_signed_as_the_owner_wants_it() {
        let check =
            |registration, policy| reason(&chain(0), &Duty::Registration(registration), &policy);
        assert_eq!(check(registration(), POLICY), None);
        let mut less = registration();
        less.gas_limit = 0;
        assert_eq!(check(less.clone(), POLICY), None);
        let mut more = registration();
        more.gas_limit += 1;
        assert_eq!(check(more, POLICY), Some(Reason::GasLimit));
        let mut elsewhere = registration();
        elsewhere.fee_recipient = Address([3; 20]);
        assert_eq!(check(elsewhere, POLICY), Some(Reason::FeeRecipient));
        let mut another = registration();
        another.pubkey = PublicKey([4; 48]);
        assert_eq!(check(another, POLICY), Some(Reason::WrongPublicKey));

        let mut unset = POLICY;
        unset.fee_recipient = None;
        assert_eq!(check(registration(), unset), Some(Reason::FeeRecipient));
        let mut none = POLICY;
        none.gas_limit = 0;
        assert_eq!(check(less, none), Some(Reason::GasLimit));
    }
}
