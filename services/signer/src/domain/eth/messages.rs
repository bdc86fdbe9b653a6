//! The types of message, a row each: under which name the payload stands, what
//! the signature is for, and how it is read. A new type is a new row.

use super::block::{Block, BodyAltair, BodyPhase0};
use super::containers::{
    AggregateAndProof, AggregateAndProofElectra, AttestationData, BeaconBlockHeader,
    ContributionAndProof, SyncAggregatorSelectionData, ValidatorRegistration,
};
use super::duty::Duty;
use super::request::{echo, malformed, missing};
use super::root::DomainType;
use super::sizes::{Mainnet, Minimal, Sizes};
use crate::domain::refusal::Reason;
use crate::domain::{Chain, ForkName, Preset, Refusal, Root};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_utils::quoted_u64;
use tree_hash::TreeHash;

/// Types that are signed for the owner of a validator, or by another key.
const NOT_FOR_MACHINES: &[&str] = &["VOLUNTARY_EXIT", "DEPOSIT", "BLS_TO_EXECUTION_CHANGE"];

/// Reads a message: its root, and what it says.
type Reader = fn(&Chain, &Value) -> Result<(Root, Duty), Refusal>;

/// How messages of a type are read.
#[derive(Debug)]
pub(super) struct Row {
    /// What the client writes in `type`.
    pub(super) kind: &'static str,
    /// The field that holds the message.
    pub(super) payload: &'static str,
    /// What the signature is for.
    pub(super) purpose: DomainType,
    mainnet: Reader,
    minimal: Reader,
}

impl Row {
    /// Reads the messages of a preset.
    pub(super) const fn reader(&self, preset: Preset) -> Reader {
        match preset {
            Preset::Mainnet => self.mainnet,
            Preset::Minimal => self.minimal,
        }
    }
}

/// A row whose messages have the sizes of a preset.
macro_rules! sized {
    ($kind:literal, $payload:literal, $purpose:expr, $read:ident) => {
        Row {
            kind: $kind,
            payload: $payload,
            purpose: $purpose,
            mainnet: $read::<Mainnet>,
            minimal: $read::<Minimal>,
        }
    };
}

/// A row whose messages have the same sizes everywhere.
const fn plain(
    kind: &'static str,
    payload: &'static str,
    purpose: DomainType,
    read: Reader,
) -> Row {
    Row {
        kind,
        payload,
        purpose,
        mainnet: read,
        minimal: read,
    }
}

#[rustfmt::skip]
static ROWS: &[Row] = &[
    sized!("BLOCK_V2", "beacon_block", [0, 0, 0, 0], block),
    plain("ATTESTATION", "attestation", [1, 0, 0, 0], attestation),
    plain("RANDAO_REVEAL", "randao_reveal", [2, 0, 0, 0], randao),
    plain("AGGREGATION_SLOT", "aggregation_slot", [5, 0, 0, 0], aggregation_slot),
    sized!("AGGREGATE_AND_PROOF", "aggregate_and_proof", [6, 0, 0, 0], aggregate),
    sized!("AGGREGATE_AND_PROOF_V2", "aggregate_and_proof", [6, 0, 0, 0], aggregate_v2),
    plain("SYNC_COMMITTEE_MESSAGE", "sync_committee_message", [7, 0, 0, 0], sync_message),
    plain("SYNC_COMMITTEE_SELECTION_PROOF", "sync_aggregator_selection_data", [8, 0, 0, 0], sync_selection),
    sized!("SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF", "contribution_and_proof", [9, 0, 0, 0], contribution),
    plain("VALIDATOR_REGISTRATION", "validator_registration", [0, 0, 0, 1], registration),
];

/// All types that are signed for machines.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.kind)
}

/// The row of a type.
pub(super) fn row(kind: &str) -> Result<&'static Row, Refusal> {
    if NOT_FOR_MACHINES.contains(&kind) {
        return Err(Refusal::new(
            Reason::TypeNotPermitted,
            format!("{kind} is never signed for a machine"),
        ));
    }
    let found = ROWS.iter().find(|row| row.kind == kind);
    found.ok_or_else(|| Refusal::new(Reason::UnknownType, format!("{:?}", echo(kind))))
}

fn read<T: DeserializeOwned>(payload: &Value) -> Result<T, Refusal> {
    T::deserialize(payload).map_err(malformed)
}

/// Reads a container whose sizes depend on the preset: `T` is the chain's,
/// `Other` is what it would be under the other preset.
fn read_sized<T, Other>(chain: &Chain, payload: &Value) -> Result<T, Refusal>
where
    T: DeserializeOwned,
    Other: DeserializeOwned,
{
    read(payload).map_err(|refusal| match read::<Other>(payload) {
        Ok(_) => Refusal::new(
            Reason::WrongPreset,
            format!("the message has not the sizes of {}", chain.preset.name()),
        ),
        Err(_) => refusal,
    })
}

fn fork_of(chain: &Chain, slot: u64) -> ForkName {
    chain.forks.at(chain.epoch_of(slot)).name
}

/// What clients wrap in the name of its fork.
#[derive(Deserialize)]
struct Versioned {
    version: String,
    #[serde(flatten)]
    payloads: Map<String, Value>,
}

impl Versioned {
    fn fork(&self) -> Result<ForkName, Refusal> {
        let detail = || format!("fork {:?} is not known here", echo(&self.version));
        let fork = self.version.parse();
        fork.map_err(|_| Refusal::new(Reason::WrongFork, detail()))
    }

    fn payload(&self, name: &str) -> Result<&Value, Refusal> {
        self.payloads.get(name).ok_or_else(|| missing(name))
    }

    fn expect(&self, chain: &Chain, slot: u64) -> Result<(), Refusal> {
        let (given, pinned) = (self.fork()?, fork_of(chain, slot));
        if given == pinned {
            return Ok(());
        }
        Err(wrong_fork(given.name(), slot, pinned))
    }
}

fn wrong_fork(given: &str, slot: u64, pinned: ForkName) -> Refusal {
    Refusal::new(
        Reason::WrongFork,
        format!(
            "the message is {given}'s; slot {slot} is {}'s",
            pinned.name()
        ),
    )
}

fn block<P: Sizes>(chain: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    let given: Versioned = read(payload)?;
    let header = match given.fork()? {
        ForkName::Phase0 => read::<Block<BodyPhase0>>(given.payload("block")?)?.header(),
        ForkName::Altair => {
            let block = given.payload("block")?;
            read_sized::<Block<BodyAltair<P>>, Block<BodyAltair<P::Other>>>(chain, block)?.header()
        }
        ForkName::Bellatrix
        | ForkName::Capella
        | ForkName::Deneb
        | ForkName::Electra
        | ForkName::Fulu => read::<BeaconBlockHeader>(given.payload("block_header")?)?,
    };
    let slot = header.slot;
    given.expect(chain, slot)?;
    Ok((root(&header), Duty::Block { slot }))
}

fn attestation(_: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    let data: AttestationData = read(payload)?;
    let duty = Duty::Attestation {
        slot: data.slot,
        source: data.source.epoch,
        target: data.target.epoch,
    };
    Ok((root(&data), duty))
}

fn randao(_: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    #[derive(Deserialize)]
    struct Given {
        #[serde(with = "quoted_u64")]
        epoch: u64,
    }
    let Given { epoch } = read(payload)?;
    Ok((root(&epoch), Duty::Randao { epoch }))
}

fn aggregation_slot(_: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    #[derive(Deserialize)]
    struct Given {
        #[serde(with = "quoted_u64")]
        slot: u64,
    }
    let Given { slot } = read(payload)?;
    Ok((root(&slot), Duty::Selection { slot }))
}

/// Both shapes of aggregates come under this type: electra's is told by its bits.
fn aggregate<P: Sizes>(chain: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    let electra = payload.pointer("/aggregate/committee_bits").is_some();
    let (root, slot) = if electra {
        let it = read_sized::<AggregateAndProofElectra<P>, AggregateAndProofElectra<P::Other>>(
            chain, payload,
        )?;
        (root(&it), it.aggregate.data.slot)
    } else {
        let it: AggregateAndProof = read(payload)?;
        (root(&it), it.aggregate.data.slot)
    };
    let pinned = fork_of(chain, slot);
    if electra != (pinned >= ForkName::Electra) {
        let given = if electra { "electra" } else { "phase0" };
        return Err(wrong_fork(given, slot, pinned));
    }
    Ok((root, Duty::Slot { slot }))
}

/// Some clients send this type without the wrapper that names the fork.
fn aggregate_v2<P: Sizes>(chain: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    if payload.get("data").is_none() {
        return aggregate::<P>(chain, payload);
    }
    let given: Versioned = read(payload)?;
    let (root, duty) = aggregate::<P>(chain, given.payload("data")?)?;
    if let Duty::Slot { slot } = duty {
        given.expect(chain, slot)?;
    }
    Ok((root, duty))
}

fn sync_message(_: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    #[derive(Deserialize)]
    struct Given {
        beacon_block_root: Root,
        #[serde(with = "quoted_u64")]
        slot: u64,
    }
    let given: Given = read(payload)?;
    let duty = Duty::Slot { slot: given.slot };
    Ok((root(&given.beacon_block_root), duty))
}

fn sync_selection(_: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    let data: SyncAggregatorSelectionData = read(payload)?;
    Ok((root(&data), Duty::Selection { slot: data.slot }))
}

fn contribution<P: Sizes>(chain: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    let it = read_sized::<ContributionAndProof<P>, ContributionAndProof<P::Other>>(chain, payload)?;
    let slot = it.contribution.slot;
    Ok((root(&it), Duty::Slot { slot }))
}

fn registration(_: &Chain, payload: &Value) -> Result<(Root, Duty), Refusal> {
    let it: ValidatorRegistration = read(payload)?;
    Ok((root(&it), Duty::Registration(it)))
}

fn root(object: &impl TreeHash) -> Root {
    object.tree_hash_root().into()
}
