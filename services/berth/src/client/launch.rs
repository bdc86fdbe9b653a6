//! `berth node launch`: a wish, and for a validator the keys that it needs.

use super::context::Authed;
use super::node::{self, Change};
use super::output::{OutputArgs, duration, price};
use super::request_id;
use super::staking::Staking;
use super::validator;
use berth_proto::api::v1::Money;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::{self as pb, Node};
use clap::{ArgGroup, Args, ValueEnum};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::Status;
use tonic_types::StatusExt as _;

/// What a node does for its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    Validator,
    Full,
    Archive,
    Sentry,
    Bridge,
    Prover,
    Light,
}

impl From<Role> for pb::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Validator => Self::Validator,
            Role::Full => Self::Full,
            Role::Archive => Self::Archive,
            Role::Sentry => Self::Sentry,
            Role::Bridge => Self::Bridge,
            Role::Prover => Self::Prover,
            Role::Light => Self::Light,
        }
    }
}

/// Arguments of `launch`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true))]
#[command(after_help = "Examples:
  berth node launch --chain cosmos-devnet --role full --name n1 --max-price 1.00 --wait
  berth node launch --chain cosmoshub --role full --name hub --lease lease-0198… \\
      --set moniker=hub --dry-run
  berth node launch --chain ethereum-devnet --role validator --name v1 --max-price 1.00 \\
      --fee-recipient 0x5290… --keys validator_keys --password-file password.txt \\
      --protection slashing_protection.json --wait")]
pub(crate) struct Launch {
    /// The chain
    #[arg(long)]
    chain: String,
    /// What the node does for it
    #[arg(long, value_enum)]
    role: Role,
    /// Name for the node
    #[arg(long)]
    name: String,
    /// Run on the machine of this lease
    #[arg(long, group = "source")]
    lease: Option<String>,
    /// Or lease this offer
    #[arg(long, group = "source")]
    offer: Option<String>,
    /// Or lease the cheapest machine that fits, at most at this price an hour
    #[arg(long, group = "source", value_parser = price)]
    max_price: Option<Money>,
    /// Term of the lease that is made
    #[arg(long, value_parser = duration)]
    term: Option<prost_types::Duration>,
    /// A setting of the chain, as KEY=VALUE; may be repeated
    #[arg(long = "set", value_parser = setting, value_name = "KEY=VALUE")]
    settings: Vec<(String, String)>,
    /// Wait until it runs
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, default_value = "15m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Check everything, and launch nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    staking: Staking,
}

/// Reads `KEY=VALUE`.
pub(super) fn setting(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE".to_owned())
}

pub(super) async fn run(channel: Authed, launch: Launch) -> anyhow::Result<()> {
    let keys = launch.staking.keys(launch.role == Role::Validator)?;
    let mut client = ProvisioningServiceClient::new(channel.clone());
    let mut signer = validator::connect(channel);
    let mut spec = launch.spec();

    let known = keys.known(&mut signer).await?;
    if launch.dry_run || keys.are_to_come() {
        let rehearsed = rehearse(&mut client, &launch, &spec, known).await?;
        if launch.dry_run {
            launch.staking.show(&keys);
            eprintln!("Would launch this node:");
            spec.validators = keys.public_keys();
            let node = rehearsed.unwrap_or_else(|| unborn(&launch.name));
            let spec = Some(spec);
            return node::print(launch.output, Some(Node { spec, ..node }));
        }
    }
    spec.validators = launch
        .staking
        .bring(&mut signer, &launch.chain, keys)
        .await?;
    let request = pb::LaunchNodeRequest {
        request_id: request_id(),
        name: launch.name,
        spec: Some(spec),
        validate_only: false,
    };
    let node = client.launch_node(request).await?.into_inner().node;
    let change = Change {
        node: String::new(),
        wait: launch.wait,
        timeout: launch.timeout,
        output: launch.output,
    };
    node::finish(&mut client, change, node, &[State::Running], 0).await
}

impl Launch {
    /// The wish, but for its validators.
    fn spec(&self) -> pb::NodeSpec {
        let mut settings: BTreeMap<String, String> = self.settings.iter().cloned().collect();
        settings.extend(self.staking.settings());
        pb::NodeSpec {
            chain: self.chain.clone(),
            role: pb::Role::from(self.role).into(),
            source: Some(pb::Source {
                lease_id: self.lease.clone().unwrap_or_default(),
                offer_id: self.offer.clone().unwrap_or_default(),
                max_price_per_hour: self.max_price.clone(),
                term: self.term,
            }),
            settings,
            validators: Vec::new(),
        }
    }
}

/// Whether everything but keys that are not there yet is as it must be, before
/// any key is brought. The node where it could be made already.
async fn rehearse(
    client: &mut node::Client,
    launch: &Launch,
    spec: &pb::NodeSpec,
    known: Vec<String>,
) -> anyhow::Result<Option<Node>> {
    let none = known.is_empty() && launch.role == Role::Validator;
    let request = pb::LaunchNodeRequest {
        request_id: request_id(),
        name: launch.name.clone(),
        spec: Some(pb::NodeSpec {
            validators: known,
            ..spec.clone()
        }),
        validate_only: true,
    };
    match client.launch_node(request).await {
        Ok(answer) => Ok(answer.into_inner().node),
        Err(status) if none && only_lacks_validators(&status) => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// A node that cannot be made yet, as it would begin.
fn unborn(name: &str) -> Node {
    let mut status = pb::NodeStatus::default();
    status.set_state(State::Pending);
    status.set_health(pb::node_status::Health::Unknown);
    status.set_duty(pb::node_status::Duty::Unknown);
    Node {
        name: name.to_owned(),
        status: Some(status),
        ..Node::default()
    }
}

fn only_lacks_validators(status: &Status) -> bool {
    let details = status.get_details_bad_request();
    let wrong = details.map(|details| details.field_violations);
    wrong.is_some_and(|wrong| {
        !wrong.is_empty() && wrong.iter().all(|one| one.field == "spec.validators")
    })
}
