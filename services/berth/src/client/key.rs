//! `berth key`: keys on their way to the signer, and what they may do there. No
//! key ever comes back.

use super::confirm::Confirm;
use super::context::{Authed, ContextArgs};
use super::import::{self, Import, NewKeys, Past};
use super::output::{OutputArgs, table};
use super::validator::{self, Client, connect};
use super::{keystore_files, protection, request_id, typed};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::validator_status::State;
use clap::{Args, Subcommand};
use comfy_table::Table;
use std::path::PathBuf;
use tonic::{Code, Status};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give the signer keys that you have, sealed on this computer
    Import(ImportKeys),
    /// Let the signer make new keys
    Generate(Generate),
    /// List keys, and whether they sign
    List(OutputArgs),
    /// Stop signing with keys, at once
    Disable(Keys),
    /// Let a key sign again
    Enable(Enable),
    /// Destroy a key for good
    Remove(Remove),
    /// Write what disabled keys signed, for another signer
    ExportProtection(protection::Export),
    /// Read what keys signed elsewhere
    ImportProtection(protection::Import),
}

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth key import validator_keys --password-file password.txt --chain ethereum-hoodi \\
      --protection slashing_protection.json
  berth key import keystore-1.json --password-file password.txt --chain ethereum-hoodi --fresh

Stop the old validator client first, and for good: keys that sign in two places are
slashed. A key that comes without --fresh, and
of which --protection has no vote, is QUARANTINED.")]
pub(crate) struct ImportKeys {
    /// Keystores (EIP-2335), or folders of them
    #[arg(required = true, value_name = "DIR|FILE")]
    keystores: Vec<PathBuf>,
    /// File with the password of all, or folder with NAME.txt for each NAME.json
    #[arg(long, value_name = "FILE|DIR")]
    password_file: PathBuf,
    /// The chain that they sign for
    #[arg(long)]
    chain: String,
    #[command(flatten)]
    past: Past,
    /// Execution address that gets the fees of their blocks
    #[arg(long, value_name = "ADDRESS", value_parser = typed::address)]
    fee_recipient: Option<String>,
    /// Gas limit that their registrations with block builders name; 0 for none
    #[arg(long, default_value_t = 0)]
    gas_limit: u64,
    /// Show the keystores that are found, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `generate`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  berth key generate --chain ethereum-hoodi --count 2 \\
      --withdrawal-address 0x52908400098527886E0F7030069857D2E4169EE7 \\
      --fee-recipient 0x52908400098527886E0F7030069857D2E4169EE7

The keys are never shown. The stake of 32 ETH a key is deposited by you, with the
deposit data, and goes back to the withdrawal address, which nobody can change.")]
pub(crate) struct Generate {
    /// The chain that they sign for
    #[arg(long)]
    chain: String,
    /// How many
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    count: u32,
    /// Execution address that the stake goes back to; it can never be changed
    #[arg(long, value_name = "ADDRESS", value_parser = typed::address)]
    withdrawal_address: String,
    /// Execution address that gets the fees of their blocks
    #[arg(long, value_name = "ADDRESS", value_parser = typed::address)]
    fee_recipient: String,
    /// Gas limit that their registrations with block builders name; 0 for none
    #[arg(long, default_value_t = 0)]
    gas_limit: u64,
    /// New file for the deposit data; one in this folder when absent
    #[arg(long, value_name = "FILE")]
    deposit_data: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Keys by public key.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// Public keys
    #[arg(required = true, value_name = "PUBLIC_KEY", value_parser = typed::public_key)]
    public_keys: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `enable`.
#[derive(Debug, Args)]
pub(crate) struct Enable {
    /// Public key
    #[arg(value_parser = typed::public_key)]
    public_key: String,
    /// State that the key is used nowhere else; on record. Needed by one that is quarantined,
    /// or whose protection was exported: it may have been given to another signer
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `remove`.
#[derive(Debug, Args)]
#[command(
    after_help = "Only for a key that is disabled or quarantined and has no node. What it signed stays
known. A key that the signer made exists nowhere else: without it the validator can
never again attest or exit."
)]
pub(crate) struct Remove {
    /// Public key
    #[arg(value_parser = typed::public_key)]
    public_key: String,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    let channel = || -> anyhow::Result<Authed> { context.load()?.channel() };
    match command {
        // What lies here is looked at before Berth is.
        Command::Import(arguments) => import_keys(channel, arguments).await,
        Command::Generate(arguments) => generate(&mut connect(channel()?), arguments).await,
        Command::List(output) => {
            let all = validator::all(&mut connect(channel()?), "").await?;
            output.print(&all, listed)
        }
        Command::Disable(keys) => disable(&mut connect(channel()?), keys).await,
        Command::Enable(enable) => {
            let request = pb::EnableValidatorRequest {
                request_id: request_id(),
                public_key: enable.public_key,
                fresh: enable.fresh,
            };
            let answer = connect(channel()?).enable_validator(request).await;
            let answer = answer.inspect_err(|status| {
                if status.code() == Code::FailedPrecondition && !enable.fresh {
                    eprintln!(
                        "Where it is quarantined, or its protection was exported: --fresh states \
                         that it is used nowhere else."
                    );
                }
            })?;
            validator::print(enable.output, answer.into_inner().validator)
        }
        Command::Remove(remove) => {
            eprintln!("This destroys the key {} for good.", remove.public_key);
            let request = pb::RemoveValidatorRequest {
                request_id: request_id(),
                confirmation: remove.confirm.ask(&remove.public_key)?,
                public_key: remove.public_key,
            };
            let answer = connect(channel()?).remove_validator(request).await?;
            validator::print(remove.output, answer.into_inner().validator)
        }
        Command::ExportProtection(export) => {
            protection::export(&mut connect(channel()?), export).await
        }
        Command::ImportProtection(import) => protection::import(channel, import).await,
    }
}

async fn import_keys(
    channel: impl FnOnce() -> anyhow::Result<Authed>,
    arguments: ImportKeys,
) -> anyhow::Result<()> {
    let found = keystore_files::read(&arguments.keystores, &arguments.password_file)?;
    let interchange = arguments.past.read()?;
    import::show_others(&found);
    let import = Import {
        chain: &arguments.chain,
        keystores: &found.keystores,
        interchange: interchange.as_ref(),
        fresh: arguments.past.fresh,
        fee_recipient: arguments.fee_recipient.as_deref().unwrap_or_default(),
        gas_limit: arguments.gas_limit,
    };
    let past = &arguments.past;
    past.warn(&found.keystores, interchange.as_ref());
    if arguments.dry_run {
        eprintln!("Would seal and send these {}:", found.keystores.len());
        println!("{}", import::keystores(&found).trim_fmt());
        return Ok(());
    }
    let sent = import.send(&mut connect(channel()?)).await;
    let answer = sent.inspect_err(|error| {
        if code(error) == Some(Code::NotFound) {
            eprintln!(
                "A chain takes keys once an entry of it with the role validator is registered."
            );
        }
    })?;
    arguments
        .output
        .print(&answer, |answer| import.outcomes(answer))?;
    import::all_taken(&answer)
}

/// How Berth answered, if it did.
fn code(error: &anyhow::Error) -> Option<Code> {
    error.downcast_ref().map(Status::code)
}

async fn generate(client: &mut Client, arguments: Generate) -> anyhow::Result<()> {
    let new = NewKeys {
        chain: &arguments.chain,
        count: arguments.count,
        withdrawal_address: &arguments.withdrawal_address,
        fee_recipient: &arguments.fee_recipient,
        gas_limit: arguments.gas_limit,
    };
    let answer = new.make(client, arguments.deposit_data.as_deref()).await?;
    arguments.output.print(&answer, |answer| {
        let all = pb::ListValidatorsResponse {
            validators: answer.validators.clone(),
            next_page_token: String::new(),
        };
        listed(&all)
    })
}

/// Each key is silent before the next is asked for; the first refusal stops.
async fn disable(client: &mut Client, keys: Keys) -> anyhow::Result<()> {
    let mut all = pb::ListValidatorsResponse::default();
    for public_key in keys.public_keys {
        let request = pb::DisableValidatorRequest {
            request_id: request_id(),
            public_key: public_key.clone(),
        };
        match client.disable_validator(request).await {
            Ok(answer) => all.validators.extend(answer.into_inner().validator),
            Err(status) => {
                if !all.validators.is_empty() {
                    keys.output.print(&all, listed)?;
                }
                eprintln!("{public_key} and those after it were not disabled:");
                return Err(status.into());
            }
        }
    }
    keys.output.print(&all, listed)
}

fn listed(all: &pb::ListValidatorsResponse) -> Table {
    let rows = all.validators.iter().map(|validator| {
        let spec = validator.spec.clone().unwrap_or_default();
        let status = validator.status.clone().unwrap_or_default();
        let signs = match status.state() {
            State::Active if status.granted => "yes".to_owned(),
            State::Active if status.node_id.is_empty() => "no: it has no node".to_owned(),
            State::Active => "no: its node has no grant now".to_owned(),
            State::Unspecified | State::Quarantined | State::Disabled | State::Removed => {
                let why = [": ", status.status_reason.as_str()].concat();
                format!("no{}", if why.len() > 2 { &why } else { "" })
            }
        };
        [
            validator.public_key.clone(),
            spec.chain,
            validator::state(validator),
            status.node_id,
            signs,
        ]
    });
    table(
        ["public key", "chain", "state", "node", "signs"],
        rows.collect(),
    )
}
