//! `berth validator exit`: the one signature that ends a validator. Its owner is
//! told what it means and types the public key once more.
//!
//! Deliberately absent: sending it to the network. What is printed does nothing
//! until somebody does that.

use super::confirm::Confirm;
use super::context::Authed;
use super::output::{OutputArgs, json};
use super::validator::{self, Client};
use super::{request_id, typed};
use anyhow::{Context as _, ensure};
use berth_proto::provisioning::v1::GetChainRequest;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::signing::v1 as pb;
use berth_provisioner::chain::{ChainEntry, Pinned};
use clap::Args;
use std::time::Duration;

/// Epochs between the end of duties and the return of the stake, on every
/// network of Ethereum.
const UNTIL_WITHDRAWABLE: u64 = 256;

/// Arguments of `exit`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  berth validator exit 0x9612… --index 42 > exit.json

The signed exit is printed and not sent: Berth does not send exits to the network
yet. Send it through any beacon node:
  curl -X POST -H 'content-type: application/json' --data @exit.json \\
      http://BEACON-NODE:5052/eth/v1/beacon/pool/voluntary_exits")]
pub(crate) struct Exit {
    /// Public key
    #[arg(value_parser = typed::public_key)]
    public_key: String,
    /// Index of the validator on its chain, as every block explorer shows it
    #[arg(long)]
    index: u64,
    /// First epoch at which the network may take it; now when absent
    #[arg(long)]
    epoch: Option<u64>,
    #[command(flatten)]
    confirm: Confirm,
    /// Say what it means, and sign nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(client: &mut Client, channel: Authed, exit: Exit) -> anyhow::Result<()> {
    let validator = validator::get(client, &exit.public_key).await?;
    let spec = validator.and_then(|validator| validator.spec);
    let chain = spec.context("an answer without a validator")?.chain;
    let pinned = pinned(channel, &chain).await?;
    let now = u64::try_from(berth_core::now().timestamp())?;
    let current = epoch(&pinned, now);
    let epoch = exit.epoch.unwrap_or(current);
    ensure!(
        epoch <= current,
        "epoch {epoch} is in the future: {chain} is at {current}, and an exit is not signed ahead"
    );
    eprintln!("{}", meaning(&exit, &chain, &pinned));
    if exit.dry_run {
        return Ok(());
    }
    let request = pb::SignVoluntaryExitRequest {
        request_id: request_id(),
        confirmation: exit.confirm.ask(&exit.public_key)?,
        public_key: exit.public_key,
        validator_index: exit.index,
        epoch,
    };
    let answer = client.sign_voluntary_exit(request).await?.into_inner();
    if exit.output.is_json() {
        println!("{}", json(&answer)?);
    } else {
        println!("{}", answer.signed_exit);
    }
    eprintln!("Signed, and not sent: see `berth validator exit --help` for how to send it.");
    Ok(())
}

async fn pinned(channel: Authed, chain: &str) -> anyhow::Result<Pinned> {
    let request = GetChainRequest {
        chain: chain.to_owned(),
    };
    let answer = ProvisioningServiceClient::new(channel)
        .get_chain(request)
        .await?;
    let text = answer.into_inner().chain.unwrap_or_default().chain_toml;
    let entry = ChainEntry::parse(&text)
        .map_err(|problems| anyhow::anyhow!("the entry of {chain} is not valid:\n{problems}"))?;
    entry.signing().map_err(anyhow::Error::msg)
}

fn slots_per_epoch(pinned: &Pinned) -> u64 {
    if pinned.preset == "minimal" { 8 } else { 32 }
}

fn epoch_length(pinned: &Pinned) -> u64 {
    u64::from(pinned.seconds_per_slot) * slots_per_epoch(pinned)
}

/// The epoch of a time.
fn epoch(pinned: &Pinned, now: u64) -> u64 {
    now.saturating_sub(pinned.genesis_time) / epoch_length(pinned).max(1)
}

fn meaning(exit: &Exit, chain: &str, pinned: &Pinned) -> String {
    let wait = Duration::from_secs(UNTIL_WITHDRAWABLE * epoch_length(pinned));
    format!(
        "This signs the exit of validator {} (index {}) of {chain}.

  - It cannot be taken back. Once the network has it the validator ends for good; nobody can
    start it again, here or elsewhere, with this key.
  - Whoever has the signed exit can send it, now or in a year. Keep it as you keep a key.
  - The network takes exits in turn, which may take minutes or weeks, and takes one only of a
    validator that has been active for a while. Until its turn the validator has its duties:
    keep its node running.
  - The stake can be withdrawn {UNTIL_WITHDRAWABLE} epochs ({}) after that. The network then pays it by
    itself to the withdrawal address. Where the withdrawal credentials still begin with 0x00
    nothing is paid until they name an address.
",
        exit.public_key,
        exit.index,
        about(wait)
    )
}

fn about(time: Duration) -> String {
    let hours = (time.as_secs() + 1800) / 3600;
    if hours < 2 {
        format!("about {} minutes", time.as_secs() / 60)
    } else {
        format!("about {hours} hours")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::output::Output;

    const PEOPLE: OutputArgs = OutputArgs {
        output: Output::Table,
    };

    fn pinned(preset: &str, seconds_per_slot: u32) -> Pinned {
        Pinned {
            genesis_validators_root: [0; 32],
            genesis_time: 1000,
            seconds_per_slot,
            preset: preset.to_owned(),
            forks: Vec::new(),
        }
    }

    #[test]
    fn the_epoch_is_that_of_the_chain() {
        let hoodi = pinned("mainnet", 12);
        for (now, expected) in [(0, 0), (1000, 0), (1383, 0), (1384, 1), (1000 + 3840, 10)] {
            assert_eq!(epoch(&hoodi, now), expected, "{now}");
        }
        assert_eq!(epoch(&pinned("minimal", 2), 1016), 1);
    }

    #[test]
    fn its_owner_reads_what_an_exit_means() {
        let exit = Exit {
            public_key: "0xab".to_owned(),
            index: 42,
            epoch: None,
            confirm: Confirm { confirm: None },
            dry_run: true,
            output: PEOPLE,
        };
        let said = meaning(&exit, "ethereum-hoodi", &pinned("mainnet", 12));
        for part in [
            "0xab (index 42)",
            "cannot be taken back",
            "(about 27 hours)",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let said = meaning(&exit, "ethereum-devnet", &pinned("minimal", 2));
        assert!(said.contains("(about 68 minutes)"), "{said}");
    }
}
