//! Interchange files (EIP-3076) of other clients: what their validators signed.
//!
//! Only the highest of each counts for the signer, so only that is sent: files
//! with the history of years go through, and a key gets no more than its own.

use super::typed;
use anyhow::{Context as _, anyhow, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// Longest file that is read into memory.
const MAX_FILE: usize = 256 << 20;
/// The one version of the format.
const VERSION: &str = "5";

/// What was signed, by public key.
#[derive(Debug)]
pub(super) struct Interchange {
    genesis_validators_root: String,
    validators: BTreeMap<String, Highest>,
}

/// The highest of what one validator signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Highest {
    slot: Option<u64>,
    source_and_target: Option<(u64, u64)>,
}

#[derive(Deserialize)]
struct InFile {
    metadata: Metadata,
    data: Vec<Record>,
}

#[derive(Deserialize)]
struct Metadata {
    interchange_format_version: String,
    genesis_validators_root: String,
}

#[derive(Deserialize)]
struct Record {
    pubkey: String,
    signed_blocks: Vec<Block>,
    signed_attestations: Vec<Vote>,
}

#[derive(Deserialize)]
struct Block {
    slot: String,
}

#[derive(Deserialize)]
struct Vote {
    source_epoch: String,
    target_epoch: String,
}

impl Interchange {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = berth_input::file::bytes(path, MAX_FILE).map_err(|error| {
            let path = path.display();
            if error.kind() == ErrorKind::FileTooLarge {
                let remedy = "write a minified one with the old client";
                return anyhow!("{path} is longer than 256 MiB; {remedy}");
            }
            anyhow!("cannot read {path}: {error}")
        })?;
        Self::parse(&text)
            .with_context(|| format!("{} is not an interchange (EIP-3076)", path.display()))
    }

    fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let file: InFile = serde_json::from_slice(text)?;
        ensure!(
            file.metadata.interchange_format_version == VERSION,
            "metadata.interchange_format_version is `{}`; only version {VERSION} is known",
            file.metadata.interchange_format_version
        );
        let mut validators = BTreeMap::<String, Highest>::new();
        for (at, record) in file.data.iter().enumerate() {
            let key = typed::public_key(&record.pubkey)
                .map_err(|why| anyhow::anyhow!("data[{at}].pubkey: {why}"))?;
            let highest = validators.entry(key).or_default();
            record
                .raise(highest)
                .with_context(|| format!("data[{at}]"))?;
        }
        Ok(Self {
            genesis_validators_root: file.metadata.genesis_validators_root,
            validators,
        })
    }

    /// How many validators it names.
    pub(super) fn len(&self) -> usize {
        self.validators.len()
    }

    /// Whether it says what a validator voted for.
    pub(super) fn covers(&self, public_key: &str) -> bool {
        let signed = self.validators.get(public_key);
        signed.is_some_and(|highest| highest.source_and_target.is_some())
    }

    /// The same of these validators only; of all where one of them is unknown.
    pub(super) fn of<'a>(&self, keys: impl Iterator<Item = Option<&'a str>>) -> String {
        match keys.collect::<Option<Vec<_>>>() {
            Some(keys) => self.text(
                keys.into_iter()
                    .filter_map(|key| self.validators.get_key_value(key)),
            ),
            None => self.text(self.validators.iter()),
        }
    }

    /// The whole of it, in parts that name at most so many.
    pub(super) fn parts(&self, most: usize) -> Vec<String> {
        let all: Vec<_> = self.validators.iter().collect();
        let part = |part: &[_]| self.text(part.iter().copied());
        all.chunks(most).map(part).collect()
    }

    fn text<'a>(&self, records: impl Iterator<Item = (&'a String, &'a Highest)>) -> String {
        let record = |(key, highest): (&String, &Highest)| {
            let blocks = highest.slot.map(|slot| json!({ "slot": slot.to_string() }));
            let votes = highest.source_and_target.map(|(source, target)| {
                json!({
                    "source_epoch": source.to_string(),
                    "target_epoch": target.to_string(),
                })
            });
            json!({
                "pubkey": key,
                "signed_blocks": Vec::from_iter(blocks),
                "signed_attestations": Vec::from_iter(votes),
            })
        };
        json!({
            "metadata": {
                "interchange_format_version": VERSION,
                "genesis_validators_root": self.genesis_validators_root,
            },
            "data": records.map(record).collect::<Vec<Value>>(),
        })
        .to_string()
    }
}

impl Record {
    fn raise(&self, highest: &mut Highest) -> anyhow::Result<()> {
        for block in &self.signed_blocks {
            highest.slot = highest.slot.max(Some(number(&block.slot)?));
        }
        for vote in &self.signed_attestations {
            let (source, target) = (number(&vote.source_epoch)?, number(&vote.target_epoch)?);
            let (highest_source, highest_target) =
                highest.source_and_target.unwrap_or((source, target));
            highest.source_and_target =
                Some((source.max(highest_source), target.max(highest_target)));
        }
        Ok(())
    }
}

fn number(text: &str) -> anyhow::Result<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    ensure!(plain, "`{text}` is not a number");
    text.parse().with_context(|| format!("`{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: &str) -> String {
        format!("0x{}", digit.repeat(96))
    }

    fn file(data: &Value) -> String {
        json!({
            "metadata": { "interchange_format_version": "5", "genesis_validators_root": "0x01" },
            "data": data,
        })
        .to_string()
    }

    fn record(key: &str, slots: &[&str], votes: &[(&str, &str)]) -> Value {
        let votes = votes
            .iter()
            .map(|(source, target)| json!({ "source_epoch": source, "target_epoch": target }));
        let blocks = slots.iter().map(|slot| json!({ "slot": slot }));
        json!({
            "pubkey": key,
            "signed_blocks": blocks.collect::<Vec<_>>(),
            "signed_attestations": votes.collect::<Vec<_>>(),
        })
    }

    #[test]
    fn the_highest_of_all_entries_of_a_validator_is_sent() {
        let data = json!([
            record(&key("A"), &["7", "10", "9"], &[("2", "9"), ("3", "4")]),
            record(&key("b"), &[], &[]),
            record(&key("a"), &["8"], &[("1", "11")]),
        ]);
        let read = Interchange::parse(file(&data).as_bytes()).unwrap();
        assert_eq!(read.len(), 2);
        assert!(read.covers(&key("a")) && !read.covers(&key("c")));
        let text = read.of([Some(key("a").as_str()), Some(key("c").as_str())].into_iter());
        let sent: Value = serde_json::from_str(&text).unwrap();
        let expected = file(&json!([record(&key("a"), &["10"], &[("3", "11")])]));
        assert_eq!(sent, serde_json::from_str::<Value>(&expected).unwrap());

        let all: Value = serde_json::from_str(&read.of([None].into_iter())).unwrap();
        assert_eq!(all["data"].as_array().unwrap().len(), 2);
        assert_eq!(read.parts(1).len(), 2);
        assert_eq!(read.parts(1000).len(), 1);
    }

    #[test]
    fn a_file_that_is_not_understood_is_not_taken_for_an_empty_history() {
        let version = file(&json!([])).replace("\"5\"", "\"4\"");
        for (text, why) in [
            ("[]".to_owned(), "expected struct"),
            (version, "version"),
            (file(&json!([{ "pubkey": key("a") }])), "signed_blocks"),
            (file(&json!([record("0x12", &[], &[])])), "data[0].pubkey"),
            (file(&json!([record(&key("a"), &["-1"], &[])])), "`-1`"),
            (
                file(&json!([record(&key("a"), &[""], &[])])),
                "not a number",
            ),
            (
                file(&json!([record(&key("a"), &["18446744073709551616"], &[])])),
                "too large",
            ),
        ] {
            let refused = Interchange::parse(text.as_bytes()).unwrap_err();
            assert!(format!("{refused:#}").contains(why), "{refused:#}");
        }
    }
}
