//! `berth validator exit`: the one signature that ends a validator. Its owner is
//! told what it means and types the public key once more; then it is handed to the
//! network through the validator's own node.

use super::confirm::Confirm;
use super::context::Authed;
use super::onchain::{self, Provisioning};
use super::output::{OutputArgs, json, word};
use super::validator::{self, Client};
use super::{request_id, typed};
use anyhow::{Context as _, ensure};
use berth_core::Error;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::validator_on_chain::State;
use berth_proto::provisioning::v1::{
    GetChainRequest, GetValidatorOnChainResponse, PublishVoluntaryExitRequest, ValidatorOnChain,
};
use berth_proto::signing::v1 as pb;
use berth_provisioner::chain::{ChainEntry, Pinned};
use berth_runtime::status;
use clap::Args;
use std::time::Duration;

/// Epochs between the end of duties and the return of the stake, on every
/// network of Ethereum.
const UNTIL_WITHDRAWABLE: u64 = 256;

/// Arguments of `exit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth validator exit 0x9612…
  berth validator exit 0x9612… --index 42 --no-broadcast > exit.json

The second signs and sends nothing. Any beacon node of the chain takes the file:
  curl -X POST -H 'content-type: application/json' --data @exit.json \\
      http://BEACON-NODE:5052/eth/v1/beacon/pool/voluntary_exits")]
pub(crate) struct Exit {
    /// Public key
    #[arg(value_parser = typed::public_key)]
    public_key: String,
    /// Index of the validator on its chain; the validator's node is asked when absent
    #[arg(long)]
    index: Option<u64>,
    /// First epoch at which the network may take it; now when absent
    #[arg(long)]
    epoch: Option<u64>,
    #[command(flatten)]
    confirm: Confirm,
    /// Say what it means, and sign nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the signed exit instead of sending it
    #[arg(long)]
    no_broadcast: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is known before anything is signed.
struct Plan {
    chain: String,
    pinned: Pinned,
    index: u64,
    /// First epoch at which the network may take it.
    epoch: u64,
    /// What the validator's node says, where it answers.
    on_chain: Option<ValidatorOnChain>,
}

pub(super) async fn run(client: &mut Client, channel: Authed, exit: Exit) -> anyhow::Result<()> {
    let mut provisioning = ProvisioningServiceClient::new(channel);
    let plan = plan(client, &mut provisioning, &exit).await?;
    eprintln!("{}", plan.meaning(&exit.public_key));
    if exit.dry_run {
        if exit.output.is_json() {
            let validator = plan.on_chain;
            println!("{}", json(&GetValidatorOnChainResponse { validator })?);
        }
        return Ok(());
    }
    if !exit.no_broadcast {
        plan.takes_it()
            .map_err(|error| status::from_error(&error))?;
    }
    let request = pb::SignVoluntaryExitRequest {
        request_id: request_id(),
        confirmation: exit.confirm.ask(&exit.public_key)?,
        public_key: exit.public_key.clone(),
        validator_index: plan.index,
        epoch: plan.epoch,
    };
    let signed = client.sign_voluntary_exit(request).await?.into_inner();
    if !exit.no_broadcast {
        return send(&mut provisioning, &exit, signed.signed_exit).await;
    }
    if exit.output.is_json() {
        println!("{}", json(&signed)?);
    } else {
        println!("{}", signed.signed_exit);
    }
    eprintln!("Signed, and not sent: see `berth validator exit --help` for how to send it.");
    Ok(())
}

/// Hands it to the network. Where that fails, its owner gets it to do so elsewhere.
async fn send(
    provisioning: &mut Provisioning,
    exit: &Exit,
    signed_exit: String,
) -> anyhow::Result<()> {
    let request = PublishVoluntaryExitRequest {
        request_id: request_id(),
        public_key: exit.public_key.clone(),
        signed_exit: signed_exit.clone(),
    };
    match provisioning.publish_voluntary_exit(request).await {
        Ok(answer) if exit.output.is_json() => println!("{}", json(&answer.into_inner())?),
        Ok(_) => println!("handed to the network"),
        Err(status) => {
            println!("{signed_exit}");
            eprintln!(
                "Signed, and perhaps not sent. Hand in what is printed above through any beacon \
                 node, as `berth validator exit --help` shows, or run this again: a second exit \
                 changes nothing."
            );
            return Err(status.into());
        }
    }
    eprintln!(
        "The validator is EXITING once a block has it. Keep its node running until its exit \
         epoch: `berth validator show {}` says which that is.",
        exit.public_key
    );
    Ok(())
}

/// Asks chain and node for what the command was not told.
async fn plan(
    client: &mut Client,
    provisioning: &mut Provisioning,
    exit: &Exit,
) -> anyhow::Result<Plan> {
    let validator = validator::get(client, &exit.public_key).await?;
    let spec = validator.and_then(|validator| validator.spec);
    let chain = spec.context("an answer without a validator")?.chain;
    let pinned = pinned(provisioning, &chain).await?;
    let on_chain = match onchain::get(provisioning, &exit.public_key).await {
        Ok(on_chain) => Some(on_chain),
        // Whoever knows the index needs no node to sign.
        Err(_) if exit.index.is_some() => None,
        Err(status) => {
            eprintln!("With `--index N --no-broadcast` the exit is signed without the node.");
            return Err(status.into());
        }
    };
    let told = on_chain.as_ref().map(|on_chain| on_chain.index);
    let index = exit.index.or(told).context("no index")?;
    ensure!(
        exit.no_broadcast || told.is_none_or(|told| told == index),
        "{index} is not the index that the validator's node tells; nothing was done"
    );
    let now = u64::try_from(berth_core::now().timestamp())?;
    let current = epoch(&pinned, now);
    let epoch = exit.epoch.unwrap_or(current);
    ensure!(
        epoch <= current,
        "epoch {epoch} is in the future: {chain} is at {current}, and an exit is not signed ahead"
    );
    Ok(Plan {
        chain,
        pinned,
        index,
        epoch,
        on_chain,
    })
}

async fn pinned(provisioning: &mut Provisioning, chain: &str) -> anyhow::Result<Pinned> {
    let request = GetChainRequest {
        chain: chain.to_owned(),
    };
    let answer = provisioning.get_chain(request).await?;
    let text = answer.into_inner().chain.unwrap_or_default().chain_toml;
    let entry = ChainEntry::parse(&text)
        .map_err(|problems| anyhow::anyhow!("the entry of {chain} is not valid:\n{problems}"))?;
    entry.signing().map_err(anyhow::Error::msg)
}

/// The epoch of a time.
fn epoch(pinned: &Pinned, now: u64) -> u64 {
    now.saturating_sub(pinned.genesis_time) / pinned.seconds_per_epoch().max(1)
}

impl Plan {
    /// Whether the chain would take an exit now, as far as its node tells.
    fn takes_it(&self) -> berth_core::Result<()> {
        let refuse = |reason, why: String| {
            let why = format!("{why}; nothing was signed");
            Err(Error::precondition(reason, why))
        };
        let early = |why| refuse("EXIT_TOO_EARLY", why);
        let Some(on_chain) = &self.on_chain else {
            return Ok(());
        };
        let state = on_chain.state();
        match state {
            State::Unspecified
            | State::PendingInitialized
            | State::PendingQueued
            | State::ActiveOngoing => {}
            State::ActiveExiting
            | State::ActiveSlashed
            | State::ExitedUnslashed
            | State::ExitedSlashed
            | State::WithdrawalPossible
            | State::WithdrawalDone => {
                let state = word(state.as_str_name(), "STATE_");
                let why = format!("the chain has this validator as {state} already");
                return refuse("VALIDATOR_STATE", why);
            }
        }
        let now = on_chain.current_epoch;
        match on_chain.earliest_exit_epoch {
            None => early("too early: the chain has not activated the validator".to_owned()),
            Some(earliest) if earliest > now => {
                let wait = (earliest - now).saturating_mul(self.pinned.seconds_per_epoch());
                let wait = about(Duration::from_secs(wait));
                early(format!(
                    "too early: the chain takes this exit from epoch {earliest} on, in {wait}, and \
                     it is epoch {now}"
                ))
            }
            Some(_) => Ok(()),
        }
    }

    fn meaning(&self, public_key: &str) -> String {
        let wait = Duration::from_secs(UNTIL_WITHDRAWABLE * self.pinned.seconds_per_epoch());
        let known = self.on_chain.as_ref().map_or_else(String::new, |known| {
            format!("\nIts node says: {}.\n", onchain::line(known))
        });
        format!(
            "This is the exit of validator {public_key} (index {}) of {}.
{known}
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
            self.index,
            self.chain,
            about(wait)
        )
    }
}

fn about(time: Duration) -> String {
    let hours = (time.as_secs() + 1800) / 3600;
    if hours < 2 {
        format!("about {} minutes", time.as_secs().div_ceil(60))
    } else {
        format!("about {hours} hours")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(preset: &str, seconds_per_slot: u32) -> Pinned {
        Pinned {
            genesis_validators_root: [0; 32],
            genesis_time: 1000,
            seconds_per_slot,
            preset: preset.to_owned(),
            forks: Vec::new(),
        }
    }

    fn plan(chain: &str, pinned: Pinned) -> Plan {
        Plan {
            chain: chain.to_owned(),
            pinned,
            index: 42,
            epoch: 3,
            on_chain: Some(ValidatorOnChain {
                index: 42,
                state: State::ActiveOngoing.into(),
                balance_gwei: 32_005_061_544,
                current_epoch: 3,
                earliest_exit_epoch: Some(3),
                ..ValidatorOnChain::default()
            }),
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
        let said = plan("ethereum-hoodi", pinned("mainnet", 12)).meaning("0xab");
        for part in [
            "0xab (index 42) of ethereum-hoodi",
            "active ongoing, index 42, 32.005061544 ETH",
            "cannot be taken back",
            "(about 27 hours)",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let said = plan("ethereum-devnet", pinned("minimal", 2)).meaning("0xab");
        assert!(said.contains("(about 69 minutes)"), "{said}");
    }

    #[test]
    fn what_the_chain_would_refuse_is_not_signed() {
        let with = |change: fn(&mut ValidatorOnChain)| {
            let mut plan = plan("ethereum-hoodi", pinned("mainnet", 12));
            plan.on_chain.iter_mut().for_each(change);
            plan.takes_it()
        };
        with(|_| ()).unwrap();
        let early = with(|v| v.earliest_exit_epoch = Some(13)).unwrap_err();
        assert!(matches!(
            early,
            Error::Precondition {
                reason: "EXIT_TOO_EARLY",
                ..
            }
        ));
        let said = "from epoch 13 on, in about 64 minutes, and it is epoch 3";
        assert!(early.to_string().contains(said), "{early:?}");
        with(|v| v.earliest_exit_epoch = None).unwrap_err();
        let gone = with(|v| v.set_state(State::ActiveExiting)).unwrap_err();
        assert!(
            gone.to_string().contains("active exiting already"),
            "{gone:?}"
        );
        let mut unknown = plan("ethereum-hoodi", pinned("mainnet", 12));
        unknown.on_chain = None;
        unknown.takes_it().unwrap();
    }
}
