//! What a beacon node answers, as far as it is looked at. Numbers come as text.

use super::Problem;
use crate::domain::{Attestation, BeaconStatus, Block, Committee};
use serde::de::{self, Deserializer};
use serde::{Deserialize, de::DeserializeOwned};

/// Every answer.
#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice::<Answer<T>>(body)
        .map(|answer| answer.data)
        .map_err(Problem::Malformed)
}

/// A number as text.
#[derive(Clone, Copy)]
pub(super) struct Number(pub(super) u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// Bytes as text.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        let bytes = (0..digits.len() / 2).map(|at| {
            let pair = digits.get(2 * at..2 * at + 2).unwrap_or_default();
            u8::from_str_radix(pair, 16).map_err(de::Error::custom)
        });
        if digits.len() % 2 == 1 {
            return Err(de::Error::custom("half a byte"));
        }
        bytes.collect::<Result<_, _>>().map(Self)
    }
}

/// The root of a block or of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root(pub [u8; 32]);

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Bytes(bytes) = Bytes::deserialize(from)?;
        let root = bytes.try_into().map(Self);
        root.map_err(|_| de::Error::custom("a root has 32 bytes"))
    }
}

impl std::fmt::Display for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[derive(Deserialize)]
pub(super) struct Genesis {
    pub(super) genesis_time: Number,
    pub(super) genesis_validators_root: Root,
}

#[derive(Deserialize)]
pub(super) struct HeaderAnswer {
    header: SignedHeader,
}

#[derive(Deserialize)]
struct SignedHeader {
    message: HeaderMessage,
}

#[derive(Deserialize)]
struct HeaderMessage {
    slot: Number,
    parent_root: Root,
}

/// A block's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its slot.
    pub slot: u64,
    /// The block before it.
    pub parent: Root,
}

impl From<HeaderAnswer> for Header {
    fn from(answer: HeaderAnswer) -> Self {
        let message = answer.header.message;
        Self {
            slot: message.slot.0,
            parent: message.parent_root,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ValidatorAnswer {
    index: Number,
    balance: Number,
    status: String,
    validator: ValidatorData,
}

#[derive(Deserialize)]
struct ValidatorData {
    pubkey: String,
    slashed: bool,
}

/// A validator as the chain knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its key, `0x` and hex digits in lower case.
    pub public_key: String,
    /// Its number on the chain.
    pub index: u64,
    /// Where it is in its life there.
    pub status: BeaconStatus,
    /// In Gwei.
    pub balance: u64,
    /// Whether it was slashed.
    pub slashed: bool,
}

impl ValidatorAnswer {
    pub(super) fn found(self) -> Result<Found, Problem> {
        let unknown = |_| Problem::Contradicts("a status that is not known here");
        Ok(Found {
            public_key: self.validator.pubkey.to_ascii_lowercase(),
            index: self.index.0,
            status: self.status.parse().map_err(unknown)?,
            balance: self.balance.0,
            slashed: self.validator.slashed,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct CommitteeAnswer {
    index: Number,
    slot: Number,
    validators: Vec<Number>,
}

impl From<CommitteeAnswer> for Committee {
    fn from(answer: CommitteeAnswer) -> Self {
        Self {
            slot: answer.slot.0,
            index: answer.index.0,
            members: answer.validators.iter().map(|number| number.0).collect(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct BlockAnswer {
    message: BlockMessage,
}

#[derive(Deserialize)]
struct BlockMessage {
    slot: Number,
    proposer_index: Number,
    parent_root: Root,
    body: BlockBody,
}

#[derive(Deserialize)]
struct BlockBody {
    attestations: Vec<AttestationAnswer>,
}

#[derive(Deserialize)]
struct AttestationAnswer {
    aggregation_bits: Bytes,
    committee_bits: Option<Bytes>,
    data: AttestationData,
}

#[derive(Deserialize)]
struct AttestationData {
    slot: Number,
    index: Number,
}

impl BlockAnswer {
    /// The block, and the one before it.
    pub(super) fn block(self) -> (Block, Root) {
        let message = self.message;
        let attestations = message.body.attestations.into_iter();
        let block = Block {
            slot: message.slot.0,
            proposer: message.proposer_index.0,
            attestations: attestations
                .map(|vote| Attestation {
                    slot: vote.data.slot.0,
                    index: vote.data.index.0,
                    aggregation_bits: vote.aggregation_bits.0,
                    committee_bits: vote.committee_bits.map(|bits| bits.0),
                })
                .collect(),
        };
        (block, message.parent_root)
    }
}
