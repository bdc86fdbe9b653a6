//! Interchange files (EIP-3076): what was signed elsewhere, and what was signed
//! here, as watermarks. The highest of a file counts, so complete and minified
//! files mean the same.

use super::{PublicKey, Root, Watermarks};
use berth_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The one version of the format.
const VERSION: &str = "5";
/// Longest file, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most entries of validators.
const MAX_RECORDS: usize = 10_000;

#[derive(Serialize, Deserialize)]
struct File {
    metadata: Metadata,
    data: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    interchange_format_version: String,
    genesis_validators_root: String,
}

#[derive(Serialize, Deserialize)]
struct Record {
    pubkey: String,
    signed_blocks: Vec<Block>,
    signed_attestations: Vec<Vote>,
}

#[derive(Serialize, Deserialize)]
struct Block {
    slot: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signing_root: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Vote {
    source_epoch: String,
    target_epoch: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signing_root: Option<String>,
}

/// Reads a file of the network with this genesis. The watermarks have no roots:
/// what is imported is never signed again.
///
/// # Errors
///
/// [`Error::Invalid`], naming the field.
pub fn parse(text: &str, genesis_validators_root: Root) -> Result<BTreeMap<PublicKey, Watermarks>> {
    if text.len() > MAX_BYTES {
        return Err(Error::invalid(
            "interchange",
            format!("is longer than {MAX_BYTES} bytes"),
        ));
    }
    let file: File =
        serde_json::from_str(text).map_err(|problem| Error::invalid("interchange", problem))?;
    if file.metadata.interchange_format_version != VERSION {
        let field = "metadata.interchange_format_version";
        return Err(Error::invalid(field, format!("must be \"{VERSION}\"")));
    }
    let field = "metadata.genesis_validators_root";
    if root(field, &file.metadata.genesis_validators_root)? != genesis_validators_root {
        return Err(Error::invalid(
            field,
            format!("the chain has {genesis_validators_root}"),
        ));
    }
    if file.data.len() > MAX_RECORDS {
        return Err(Error::invalid(
            "data",
            format!("has more than {MAX_RECORDS} entries"),
        ));
    }
    let mut all = BTreeMap::<PublicKey, Watermarks>::new();
    for (at, record) in file.data.iter().enumerate() {
        let at = format!("data[{at}]");
        let field = format!("{at}.pubkey");
        let key = record
            .pubkey
            .parse()
            .map_err(|problem| Error::invalid(field, problem))?;
        let known = all.entry(key).or_default();
        *known = record.raise(&at, *known)?;
    }
    Ok(all)
}

/// What was signed by one key, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signed {
    /// Slot and root of blocks.
    pub blocks: Vec<(u64, Root)>,
    /// Source epoch, target epoch and root of votes.
    pub votes: Vec<(u64, u64, Root)>,
}

/// Writes watermarks as a minified file.
///
/// # Errors
///
/// [`Error::Internal`], which does not happen.
pub fn minified(
    genesis_validators_root: Root,
    validators: &BTreeMap<PublicKey, Watermarks>,
) -> Result<String> {
    complete(genesis_validators_root, validators, &BTreeMap::new())
}

/// Writes watermarks with what was signed below them.
///
/// # Errors
///
/// [`Error::Internal`], which does not happen.
pub fn complete(
    genesis_validators_root: Root,
    validators: &BTreeMap<PublicKey, Watermarks>,
    signed: &BTreeMap<PublicKey, Signed>,
) -> Result<String> {
    let none = Signed::default();
    let record = |(key, known): (&PublicKey, &Watermarks)| {
        Record::new(*key, *known, signed.get(key).unwrap_or(&none))
    };
    let file = File {
        metadata: Metadata {
            interchange_format_version: VERSION.to_owned(),
            genesis_validators_root: genesis_validators_root.to_string(),
        },
        data: validators.iter().map(record).collect(),
    };
    serde_json::to_string(&file).map_err(Error::internal)
}

impl Record {
    /// The watermarks stand beside what was signed where they are of an import.
    fn new(key: PublicKey, known: Watermarks, signed: &Signed) -> Self {
        let block = |slot: u64, root: Option<Root>| Block {
            slot: slot.to_string(),
            signing_root: root.map(|root| root.to_string()),
        };
        let vote = |source: u64, target: u64, root: Option<Root>| Vote {
            source_epoch: source.to_string(),
            target_epoch: target.to_string(),
            signing_root: root.map(|root| root.to_string()),
        };
        let last_block = known
            .block
            .filter(|slot| !signed.blocks.iter().any(|(signed, _)| signed == slot));
        let last_vote = known
            .vote
            .filter(|last| !signed.votes.iter().any(|(s, t, _)| (*s, *t) == *last));
        let blocks = signed
            .blocks
            .iter()
            .map(|(slot, root)| (*slot, Some(*root)));
        let blocks = blocks.chain(last_block.map(|slot| (slot, known.block_root)));
        let votes = signed
            .votes
            .iter()
            .map(|(s, t, root)| (*s, *t, Some(*root)));
        let votes = votes.chain(last_vote.map(|(s, t)| (s, t, known.vote_root)));
        Self {
            pubkey: key.to_string(),
            signed_blocks: blocks.map(|(slot, root)| block(slot, root)).collect(),
            signed_attestations: votes.map(|(s, t, root)| vote(s, t, root)).collect(),
        }
    }

    fn raise(&self, at: &str, mut known: Watermarks) -> Result<Watermarks> {
        for (index, block) in self.signed_blocks.iter().enumerate() {
            let at = format!("{at}.signed_blocks[{index}]");
            readable(&at, block.signing_root.as_deref())?;
            known = known.raise(Some(number(format!("{at}.slot"), &block.slot)?), None);
        }
        for (index, vote) in self.signed_attestations.iter().enumerate() {
            let at = format!("{at}.signed_attestations[{index}]");
            readable(&at, vote.signing_root.as_deref())?;
            let source = number(format!("{at}.source_epoch"), &vote.source_epoch)?;
            let target = number(format!("{at}.target_epoch"), &vote.target_epoch)?;
            known = known.raise(None, Some((source, target)));
        }
        Ok(known)
    }
}

fn readable(at: &str, text: Option<&str>) -> Result<()> {
    match text {
        Some(text) => root(&format!("{at}.signing_root"), text).map(|_| ()),
        None => Ok(()),
    }
}

fn root(field: &str, text: &str) -> Result<Root> {
    text.parse()
        .map_err(|problem| Error::invalid(field, problem))
}

/// A number that the database can keep.
fn number(field: String, text: &str) -> Result<u64> {
    let number = text
        .parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .filter(|number| i64::try_from(*number).is_ok())
        .ok_or_else(|| Error::invalid(field, format!("expected a number up to {}", i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(slot: &str, version: &str) -> String {
        let root = Root([1; 32]);
        let key = PublicKey([2; 48]);
        format!(
            r#"{{"metadata": {{"interchange_format_version": "{version}",
                 "genesis_validators_root": "{root}"}}, "data": [{{"pubkey": "{key}",
                 "signed_blocks": [{{"slot": "{slot}"}}], "signed_attestations":
                 [{{"source_epoch": "3", "target_epoch": "4"}},
                  {{"source_epoch": "1", "target_epoch": "9", "signing_root": null}}]}}]}}"#
        )
    }

    #[test]
    fn a_file_is_read_as_the_highest_of_what_it_holds_and_written_the_same() {
        let root = Root([1; 32]);
        let read = parse(&file("7", "5"), root).unwrap();
        let known = read[&PublicKey([2; 48])];
        assert_eq!((known.block, known.vote), (Some(7), Some((3, 9))));
        assert_eq!(parse(&minified(root, &read).unwrap(), root).unwrap(), read);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_the_name_of_its_field() {
        let root = Root([1; 32]);
        for (text, root, field) in [
            (
                file("9223372036854775808", "5"),
                root,
                "data[0].signed_blocks[0].slot",
            ),
            (file("-1", "5"), root, "data[0].signed_blocks[0].slot"),
            (file("+1", "5"), root, "data[0].signed_blocks[0].slot"),
            (file("1", "4"), root, "metadata.interchange_format_version"),
            (
                file("1", "5"),
                Root([9; 32]),
                "metadata.genesis_validators_root",
            ),
            ("[".repeat(1000), root, "interchange"),
        ] {
            let error = parse(&text, root).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{field}: ")), "{error}");
        }
    }
}
