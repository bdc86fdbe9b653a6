//! What the demo shows of its validators at the end: what they signed, as their
//! own interchange tells it, and that no machine holds a key of theirs.

use super::{berth, say};
use anyhow::{Context as _, ensure};
use berth_rig::devnet::Devnet;
use berth_rig::{Machine, Rig, Search};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::fs;
use std::path::{Path, PathBuf};

/// The leased validators of a network.
pub(super) struct Validators {
    keys: PathBuf,
    rpc: String,
    /// The network's own machine, from which its API is asked.
    network: Machine,
    leased: Vec<Machine>,
}

impl Validators {
    /// Those of a network on a rig.
    pub(super) fn of(devnet: &Devnet, chain: &str, rig: &Rig) -> anyhow::Result<Self> {
        let network = rig.machine(chain)?;
        let mut leased = rig.machines()?;
        leased.retain(|machine| machine.is_running() && !machine.name().ends_with("-devnet"));
        Ok(Self {
            keys: devnet.keys.clone(),
            rpc: devnet.rpc.clone(),
            network,
            leased,
        })
    }

    /// Whether an epoch of the network is final.
    pub(super) fn an_epoch_is_final(&self) -> anyhow::Result<bool> {
        let url = format!(
            "{}/eth/v1/beacon/states/head/finality_checkpoints",
            self.rpc
        );
        let answer = self
            .network
            .exec(&["curl", "--silent", "--max-time", "5", &url])?;
        // It may be starting again.
        let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
        let epoch = answer["data"]["finalized"]["epoch"].as_str();
        Ok(epoch.is_some_and(|epoch| epoch != "0"))
    }

    /// Tells what was signed and where the keys are not. Signing ends for that, so
    /// that the export is of everything.
    pub(super) async fn tell(&self, context: &Path) -> anyhow::Result<()> {
        let keys = self.public_keys()?;
        let all: Vec<&str> = keys.iter().map(String::as_str).collect();
        let out = self.keys.with_file_name("signed.json");
        let file = format!("--out={}", out.display());
        berth(context, &[&["key", "disable"], &all[..]].concat()).await?;
        let export = ["key", "export-protection", &file];
        berth(context, &[&export, &all[..]].concat()).await?;
        let signed: Interchange = serde_json::from_str(&fs::read_to_string(&out)?)?;
        let slashable = signed.slashable();
        say(&format!(
            "signatures made: {} attestations and {} blocks; slashable messages: {slashable}",
            signed.attestations(),
            signed.blocks(),
        ));
        let mut found = Vec::new();
        for machine in &self.leased {
            found.extend(self.search(machine).await?);
        }
        say(&format!("keys on the machines: {}", found.len()));
        ensure!(slashable == 0, "{} holds slashable messages", out.display());
        ensure!(found.is_empty(), "a key stands in {}", found.join(", "));
        Ok(())
    }

    fn public_keys(&self) -> anyhow::Result<Vec<String>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.keys)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let keystore: serde_json::Value = serde_json::from_str(&fs::read_to_string(path)?)?;
                let key = keystore["pubkey"]
                    .as_str()
                    .context("a keystore names its key")?;
                keys.push(format!("0x{key}"));
            }
        }
        Ok(keys)
    }

    /// Places on a machine that hold a key of the leased validators.
    async fn search(&self, machine: &Machine) -> anyhow::Result<Vec<String>> {
        let secrets = fs::read_to_string(self.keys.join("secrets.txt"))?;
        let name = machine.name().to_owned();
        let machine = machine.clone();
        let searched = tokio::task::spawn_blocking(move || machine.search(&secrets)).await??;
        let Search {
            found,
            files,
            memory,
        } = searched;
        say(&format!(
            "{name}: looked for keys in {files} files and in {} MiB of memory",
            memory >> 20
        ));
        Ok(found
            .iter()
            .map(|place| format!("{name}: {place}"))
            .collect())
    }
}

/// EIP-3076, as far as it is read here.
#[derive(Deserialize)]
struct Interchange {
    data: Vec<Signed>,
}

#[derive(Deserialize)]
struct Signed {
    signed_blocks: Vec<Block>,
    signed_attestations: Vec<Attestation>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(deserialize_with = "number")]
    slot: u64,
}

#[derive(Deserialize)]
struct Attestation {
    #[serde(deserialize_with = "number")]
    source_epoch: u64,
    #[serde(deserialize_with = "number")]
    target_epoch: u64,
}

/// Interchanges write numbers as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

impl Interchange {
    fn attestations(&self) -> usize {
        self.data
            .iter()
            .map(|one| one.signed_attestations.len())
            .sum()
    }

    fn blocks(&self) -> usize {
        self.data.iter().map(|one| one.signed_blocks.len()).sum()
    }

    /// Pairs of messages of one validator that would be slashed.
    fn slashable(&self) -> usize {
        self.data.iter().map(Signed::slashable).sum()
    }
}

impl Signed {
    fn slashable(&self) -> usize {
        let surrounds = |a: &Attestation, b: &Attestation| {
            a.source_epoch < b.source_epoch && b.target_epoch < a.target_epoch
        };
        pairs(&self.signed_blocks, |a, b| a.slot == b.slot)
            + pairs(&self.signed_attestations, |a, b| {
                a.target_epoch == b.target_epoch || surrounds(a, b) || surrounds(b, a)
            })
    }
}

fn pairs<T>(all: &[T], bad: impl Fn(&T, &T) -> bool) -> usize {
    (1..all.len())
        .map(|i| {
            all[..i]
                .iter()
                .filter(|earlier| bad(earlier, &all[i]))
                .count()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slashable(slots: &[u64], votes: &[(u64, u64)]) -> usize {
        let blocks = slots.iter().map(|slot| Block { slot: *slot });
        let votes = votes.iter().map(|(source, target)| Attestation {
            source_epoch: *source,
            target_epoch: *target,
        });
        Signed {
            signed_blocks: blocks.collect(),
            signed_attestations: votes.collect(),
        }
        .slashable()
    }

    #[test]
    fn every_slashable_pair_is_counted() {
        assert_eq!(slashable(&[1, 2, 3], &[(0, 1), (1, 2), (2, 3)]), 0);
        assert_eq!(slashable(&[1, 2, 1], &[]), 1);
        assert_eq!(slashable(&[], &[(0, 2), (1, 2)]), 1);
        assert_eq!(slashable(&[], &[(1, 2), (0, 3), (2, 4)]), 1);
        assert_eq!(slashable(&[], &[(0, 3), (1, 2)]), 1);
    }
}
