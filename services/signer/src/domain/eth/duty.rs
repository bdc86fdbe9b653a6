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
