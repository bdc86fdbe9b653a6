//! `berth validator`: the on-chain identities that sign.

use super::context::{Authed, ContextArgs};
use super::onchain;
use super::output::{OutputArgs, fields, table, time, word};
use super::voluntary_exit::{self, Exit};
use super::{request_id, typed};
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::signing::v1::signing_service_client::SigningServiceClient;
use berth_proto::signing::v1::validator_status::State;
use berth_proto::signing::v1::{self as pb, Validator};
use clap::{Args, Subcommand};
use comfy_table::Table;
use prost_types::FieldMask;
use std::collections::BTreeSet;

/// What can be done with validators.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List validators with what they signed last
    List(List),
    /// Show one validator
    Show(One),
    /// Change fee recipient or gas limit
    Set(Set),
    /// End a validator, which cannot be taken back
    Exit(Exit),
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this node, by id
    #[arg(long, default_value = "")]
    node: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// A validator by public key.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Public key
    #[arg(value_parser = typed::public_key)]
    public_key: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `set`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  berth validator set 0x9612… --fee-recipient 0x52908400098527886E0F7030069857D2E4169EE7")]
pub(crate) struct Set {
    /// Public key
    #[arg(value_parser = typed::public_key)]
    public_key: String,
    /// Execution address that gets the fees of its blocks
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = typed::address,
        required_unless_present = "gas_limit"
    )]
    fee_recipient: Option<String>,
    /// Gas limit that its registrations with block builders name; 0 for none
    #[arg(long)]
    gas_limit: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) type Client = SigningServiceClient<Authed>;

/// A client of the signer; an export is larger than most messages.
pub(super) fn connect(channel: Authed) -> Client {
    SigningServiceClient::new(channel).max_decoding_message_size(64 << 20)
}

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    let channel = context.load()?.channel()?;
    let mut client = connect(channel.clone());
    match command {
        Command::List(list) => {
            let all = all(&mut client, &list.node).await?;
            list.output.print(&all, listed)
        }
        Command::Show(one) => {
            let validator = get(&mut client, &one.public_key).await?;
            let on_chain = on_chain(channel, one.output, validator.as_ref()).await;
            one.output
                .print(&pb::GetValidatorResponse { validator }, |answer| {
                    let mut table = answer.validator.as_ref().map_or_else(Table::new, describe);
                    table.add_rows(on_chain.map(|line| ["on the chain".to_owned(), line]));
                    table
                })
        }
        Command::Set(set) => {
            let change = pb::ValidatorSpec {
                fee_recipient: set.fee_recipient.unwrap_or_default(),
                gas_limit: set.gas_limit.unwrap_or_default(),
                ..pb::ValidatorSpec::default()
            };
            let gas_limit = set.gas_limit.is_some();
            let changed = update(&mut client, &set.public_key, change, gas_limit).await?;
            print(set.output, changed)
        }
        Command::Exit(exit) => voluntary_exit::run(&mut client, channel, exit).await,
    }
}

/// All validators of the account, or of a node.
pub(super) async fn all(
    client: &mut Client,
    node_id: &str,
) -> anyhow::Result<pb::ListValidatorsResponse> {
    let mut all = pb::ListValidatorsResponse::default();
    loop {
        let request = pb::ListValidatorsRequest {
            page_size: 200,
            page_token: std::mem::take(&mut all.next_page_token),
            node_id: node_id.to_owned(),
        };
        let page = client.list_validators(request).await?.into_inner();
        all.validators.extend(page.validators);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// One validator.
pub(super) async fn get(
    client: &mut Client,
    public_key: &str,
) -> anyhow::Result<Option<Validator>> {
    let request = pb::GetValidatorRequest {
        public_key: public_key.to_owned(),
    };
    Ok(client.get_validator(request).await?.into_inner().validator)
}

/// What its node says of it, for people; nothing where it has none.
async fn on_chain(
    channel: Authed,
    output: OutputArgs,
    validator: Option<&Validator>,
) -> Option<String> {
    let placed = |status: &pb::ValidatorStatus| !status.node_id.is_empty();
    let validator = validator.filter(|one| one.status.as_ref().is_some_and(placed))?;
    if output.is_json() {
        return None;
    }
    let mut provisioning = ProvisioningServiceClient::new(channel);
    let known = onchain::get(&mut provisioning, &validator.public_key).await;
    Some(known.map_or_else(
        |status| format!("not told: {}", status.message()),
        |known| onchain::line(&known),
    ))
}

/// Changes the fee recipient, unless it is empty, and the gas limit, if wanted.
async fn update(
    client: &mut Client,
    public_key: &str,
    spec: pb::ValidatorSpec,
    gas_limit: bool,
) -> anyhow::Result<Option<Validator>> {
    let fee_recipient = !spec.fee_recipient.is_empty();
    let paths = [
        fee_recipient.then(|| "spec.fee_recipient".to_owned()),
        gas_limit.then(|| "spec.gas_limit".to_owned()),
    ];
    let request = pb::UpdateValidatorRequest {
        request_id: request_id(),
        validator: Some(Validator {
            public_key: public_key.to_owned(),
            spec: Some(spec),
            ..Validator::default()
        }),
        update_mask: Some(FieldMask {
            paths: paths.into_iter().flatten().collect(),
        }),
    };
    let answer = client.update_validator(request).await?;
    Ok(answer.into_inner().validator)
}

/// Gives validators that are about to be launched the fee recipient and gas
/// limit of the launch, and says which of them will not sign.
pub(super) async fn settle(
    client: &mut Client,
    keys: &[String],
    fee_recipient: &str,
    gas_limit: Option<u64>,
) -> anyhow::Result<()> {
    let keys: BTreeSet<&String> = keys.iter().collect();
    let mut all = all(client, "").await?.validators;
    all.retain(|validator| keys.contains(&validator.public_key));
    for validator in all {
        let spec = validator.spec.unwrap_or_default();
        let limit = gas_limit.unwrap_or(spec.gas_limit);
        if spec.fee_recipient != fee_recipient || spec.gas_limit != limit {
            let spec = pb::ValidatorSpec {
                fee_recipient: fee_recipient.to_owned(),
                gas_limit: limit,
                ..spec
            };
            update(client, &validator.public_key, spec, gas_limit.is_some()).await?;
        }
        match validator.status.unwrap_or_default().state() {
            State::Quarantined => eprintln!(
                "{} is QUARANTINED and will sign nothing. Once it is silent everywhere else: \
                 berth key enable --fresh {0}",
                validator.public_key
            ),
            State::Disabled => eprintln!(
                "{} is DISABLED and will sign nothing until: berth key enable {0}",
                validator.public_key
            ),
            State::Unspecified | State::Active | State::Removed => {}
        }
    }
    Ok(())
}

/// The state of a validator in a word.
pub(super) fn state(validator: &Validator) -> String {
    let state = validator.status.clone().unwrap_or_default().state();
    word(state.as_str_name(), "STATE_")
}

fn listed(all: &pb::ListValidatorsResponse) -> Table {
    let rows = all.validators.iter().map(|validator| {
        let spec = validator.spec.clone().unwrap_or_default();
        let status = validator.status.clone().unwrap_or_default();
        let last = status.watermarks.unwrap_or_default();
        [
            validator.public_key.clone(),
            spec.chain,
            state(validator),
            spec.fee_recipient,
            number(last.block_slot),
            number(last.target_epoch),
            status.node_id,
        ]
    });
    table(
        [
            "public key",
            "chain",
            "state",
            "fee recipient",
            "last block",
            "last target",
            "node",
        ],
        rows.collect(),
    )
}

/// A number, or a dash where there is none.
fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// Prints one validator.
pub(super) fn print(output: OutputArgs, validator: Option<Validator>) -> anyhow::Result<()> {
    output.print(&pb::GetValidatorResponse { validator }, |answer| {
        answer.validator.as_ref().map_or_else(Table::new, describe)
    })
}

fn describe(validator: &Validator) -> Table {
    let spec = validator.spec.clone().unwrap_or_default();
    let status = validator.status.clone().unwrap_or_default();
    let last = status.watermarks.unwrap_or_default();
    let gas_limit = match spec.gas_limit {
        0 => "none: it is not registered with block builders".to_owned(),
        limit => limit.to_string(),
    };
    let mut rows = vec![
        ("public key", validator.public_key.clone()),
        ("chain", spec.chain),
        ("state", state(validator)),
        ("reason", status.status_reason),
        ("fee recipient", spec.fee_recipient),
        ("gas limit", gas_limit),
        ("node", status.node_id.clone()),
    ];
    if !status.node_id.is_empty() {
        rows.push(("fence", status.fence.to_string()));
        let granted = if status.granted { "yes" } else { "no" };
        rows.push(("may sign", granted.to_owned()));
    }
    rows.extend([
        ("last block (slot)", number(last.block_slot)),
        ("last source (epoch)", number(last.source_epoch)),
        ("last target (epoch)", number(last.target_epoch)),
        ("here since (UTC)", time(validator.create_time.as_ref())),
    ]);
    fields(rows)
}
