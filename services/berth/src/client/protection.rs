//! `berth key export-protection` and `import-protection`: what was signed, as
//! EIP-3076 interchanges, on the way to and from other signers.

use super::context::Authed;
use super::import::new_file;
use super::interchange::Interchange;
use super::output::{OutputArgs, fields, json};
use super::validator::{self, Client, connect};
use super::{request_id, typed};
use anyhow::{Context as _, bail};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::validator_status::State;
use clap::Args;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

/// How many validators go at once.
const AT_ONCE: usize = 1000;

/// Arguments of `export-protection`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  berth key disable 0x9612… && berth key export-protection 0x9612… --out protection.json

Only for keys that are disabled or removed, so that nothing is signed after it.")]
pub(crate) struct Export {
    /// Public keys; all that are disabled or removed when absent
    #[arg(value_name = "PUBLIC_KEY", value_parser = typed::public_key)]
    public_keys: Vec<String>,
    /// Their chain; needed when they have several
    #[arg(long)]
    chain: Option<String>,
    /// Only the last of what was signed, which is enough for every client
    #[arg(long)]
    minified: bool,
    /// New file to write; printed when absent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `import-protection`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  berth key import-protection slashing_protection.json --chain ethereum-hoodi

What is known here is only ever raised, so a file can be imported twice.")]
pub(crate) struct Import {
    /// Interchange (EIP-3076) of another client
    file: PathBuf,
    /// The chain of its validators
    #[arg(long)]
    chain: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn export(client: &mut Client, export: Export) -> anyhow::Result<()> {
    let chain = match export.chain {
        Some(chain) => chain,
        None => chain(client, &export.public_keys).await?,
    };
    let request = pb::ExportProtectionRequest {
        public_keys: export.public_keys,
        chain,
        minified: export.minified,
    };
    let answer = client.export_protection(request).await?.into_inner();
    let Some(path) = export.out else {
        if export.output.is_json() {
            println!("{}", json(&answer)?);
        } else {
            println!("{}", answer.interchange);
        }
        return Ok(());
    };
    let mut file = new_file(&path)?;
    let written = file.write_all(answer.interchange.as_bytes());
    written
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!(
        "Written to {}. Delete no key here before the other signer has read it.",
        path.display()
    );
    Ok(())
}

/// The chain of these validators, or of all that can be exported.
async fn chain(client: &mut Client, keys: &[String]) -> anyhow::Result<String> {
    let all = validator::all(client, "").await?.validators;
    let meant = all.into_iter().filter(|validator| {
        let state = validator.status.clone().unwrap_or_default().state();
        let silent = matches!(state, State::Disabled | State::Removed);
        keys.contains(&validator.public_key) || keys.is_empty() && silent
    });
    let chains: BTreeSet<String> = meant.filter_map(|one| Some(one.spec?.chain)).collect();
    let chains: Vec<String> = chains.into_iter().collect();
    match chains.as_slice() {
        [chain] => Ok(chain.clone()),
        [] if keys.is_empty() => {
            bail!("no key is disabled or removed: `berth key disable` those to export")
        }
        [] => bail!("none of these keys is here; see `berth key list`"),
        _ => bail!(
            "these keys are of several chains: choose with --chain one of {}",
            chains.join(", ")
        ),
    }
}

pub(super) async fn import(
    channel: impl FnOnce() -> anyhow::Result<Authed>,
    import: Import,
) -> anyhow::Result<()> {
    let interchange = Interchange::read(&import.file)?;
    let mut client = connect(channel()?);
    let mut all = pb::ImportProtectionResponse::default();
    for part in interchange.parts(AT_ONCE) {
        let request = pb::ImportProtectionRequest {
            request_id: request_id(),
            chain: import.chain.clone(),
            interchange: part,
        };
        let answer = client.import_protection(request).await?.into_inner();
        all.validators += answer.validators;
    }
    import.output.print(&all, |all| {
        fields(vec![
            ("validators in the file", interchange.len().to_string()),
            ("of those yours", all.validators.to_string()),
        ])
    })
}
