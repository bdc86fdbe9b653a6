//! `berth chain`: the catalogue.

use super::context::{Authed, ContextArgs};
use super::output::{OutputArgs, fields, table, time, word};
use super::{registry, request_id};
use anyhow::{Context as _, anyhow, bail};
use berth_input::file;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::{self as pb, Chain};
use berth_provisioner::chain::{BootstrapChange, ChainEntry, pin, with_bootstrap};
use clap::{Args, Subcommand};
use comfy_table::Table;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Largest genesis that is registered.
const MAX_GENESIS: usize = 3 << 20;
/// Longest file that is read whole, in bytes; an entry has at most 256 KiB.
const MAX_FILE: usize = 1 << 20;

/// What can be done with chains.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the catalogue
    List(OutputArgs),
    /// Show one chain
    Show(Show),
    /// Check a chain.toml, without Berth
    Check(Check),
    /// Fetch the digests of the images that a chain.toml names, and write them into it
    Pin(Pin),
    /// Add a chain to the catalogue, or a new version of it
    Register(Register),
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The chain
    chain: String,
    /// Print its chain.toml
    #[arg(long)]
    toml: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The chain.toml
    file: PathBuf,
}

/// Arguments of `pin`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth chain pin images/cosmoshub/chain.toml
  SSL_CERT_FILE=ca.pem berth chain pin chain.toml    # a registry with an authority of your own")]
pub(crate) struct Pin {
    /// The chain.toml
    file: PathBuf,
    /// Show the digests, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `register`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth chain register images/cosmoshub/chain.toml
  berth chain register images/cosmos-devnet/chain.toml \\
      --genesis genesis.json --peers 3f0c…@10.231.7.110:26656")]
pub(crate) struct Register {
    /// The chain.toml
    file: PathBuf,
    /// Genesis of the network, when the entry leaves it open
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Nodes to stay connected to
    #[arg(long, value_delimiter = ',', value_name = "PEER,…")]
    peers: Option<Vec<String>>,
    /// Nodes to ask for others
    #[arg(long, value_delimiter = ',', value_name = "NODE,…")]
    seeds: Option<Vec<String>>,
    /// Folder of OCI layouts, for images that are built here
    #[arg(long, default_value = "target/images", value_name = "DIR")]
    images: PathBuf,
    /// Check everything, and register nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

type Client = ProvisioningServiceClient<Authed>;

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(arguments) => check(&arguments.file),
        Command::Pin(arguments) => pin_file(&arguments).await,
        Command::List(output) => list(&mut connect(context)?, output).await,
        Command::Show(show) => {
            let request = pb::GetChainRequest { chain: show.chain };
            let answer = connect(context)?.get_chain(request).await?.into_inner();
            if show.toml {
                print!("{}", answer.chain.unwrap_or_default().chain_toml);
                return Ok(());
            }
            print(show.output, answer.chain)
        }
        Command::Register(arguments) => register(&mut connect(context)?, arguments).await,
    }
}

fn connect(context: &ContextArgs) -> anyhow::Result<Client> {
    // A genesis is larger than most messages.
    Ok(ProvisioningServiceClient::new(context.load()?.channel()?)
        .max_decoding_message_size(16 << 20))
}

fn read(file: &Path) -> anyhow::Result<(String, ChainEntry)> {
    let text = file::text(file, MAX_FILE)
        .with_context(|| format!("cannot read the entry {}", file.display()))?;
    let entry = ChainEntry::parse(&text)
        .map_err(|problems| anyhow::anyhow!("{} is not valid:\n{problems}", file.display()))?;
    Ok((text, entry))
}

fn check(file: &Path) -> anyhow::Result<()> {
    let (_, entry) = read(file)?;
    println!("{} {} is valid", entry.name, entry.version);
    for obstacle in entry.obstacles() {
        println!("not launchable yet: {obstacle}");
    }
    if !entry.notice.is_empty() {
        println!("notice: {}", entry.notice);
    }
    Ok(())
}

async fn pin_file(arguments: &Pin) -> anyhow::Result<()> {
    let (mut text, entry) = read(&arguments.file)?;
    let client = registry::Client::new()?;
    let mut changed = 0;
    for component in &entry.components {
        if component.image.digest.is_some() || component.image.build.is_some() {
            continue;
        }
        let image = &component.image;
        let digest = client
            .digest(&image.repository, &image.tag)
            .await
            .with_context(|| format!("{}:{}", image.repository, image.tag))?;
        println!(
            "{}: {}:{} is {digest}",
            component.name, image.repository, image.tag
        );
        text = pin(&text, &component.name, &digest)?;
        changed += 1;
    }
    if changed == 0 {
        println!("nothing to pin");
    } else if !arguments.dry_run {
        std::fs::write(&arguments.file, text)
            .with_context(|| format!("cannot write {}", arguments.file.display()))?;
    }
    Ok(())
}

async fn list(client: &mut Client, output: OutputArgs) -> anyhow::Result<()> {
    let mut all = pb::ListChainsResponse::default();
    loop {
        let request = pb::ListChainsRequest {
            page_size: 200,
            page_token: std::mem::take(&mut all.next_page_token),
        };
        let page = client.list_chains(request).await?.into_inner();
        all.chains.extend(page.chains);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    output.print(&all, |all| {
        let rows = all.chains.iter().map(|chain| {
            [
                chain.id.clone(),
                chain.version.clone(),
                chain.chain_id.clone(),
                word(chain.custody().as_str_name(), "CUSTODY_"),
                roles(chain),
                if chain.launchable { "yes" } else { "no" }.to_owned(),
                chain.notice.clone(),
            ]
        });
        table(
            [
                "chain",
                "version",
                "chain id",
                "custody",
                "roles",
                "launchable",
                "notice",
            ],
            rows.collect(),
        )
    })
}

fn roles(chain: &Chain) -> String {
    chain
        .roles()
        .map(|role| word(role.as_str_name(), "ROLE_"))
        .collect::<Vec<_>>()
        .join(", ")
}

async fn register(client: &mut Client, arguments: Register) -> anyhow::Result<()> {
    let (mut text, entry) = read(&arguments.file)?;
    for component in &entry.components {
        let Some(recipe) = component.image.build.as_ref() else {
            continue;
        };
        let digest = layout_digest(&arguments.images.join(recipe))?;
        text = pin(&text, &component.name, &digest)?;
    }
    let mut files = BTreeMap::new();
    let genesis = match &arguments.genesis {
        Some(path) => Some(read_genesis(path)?),
        None => beside(&arguments.file, &entry)?,
    };
    let change = BootstrapChange {
        genesis_sha256: genesis
            .as_ref()
            .map(|bytes| hex::encode(Sha256::digest(bytes))),
        peers: arguments.peers,
        seeds: arguments.seeds,
    };
    text = with_bootstrap(&text, &change)?;
    if let Some(bytes) = genesis {
        let name = ChainEntry::parse(&text)?
            .bootstrap
            .genesis
            .map(|genesis| genesis.file);
        files.insert(name.context("the entry names no genesis")?, bytes);
    }
    let request = pb::RegisterChainRequest {
        request_id: request_id(),
        chain_toml: text,
        files,
        validate_only: arguments.dry_run,
    };
    let answer = client.register_chain(request).await?.into_inner();
    if arguments.dry_run {
        eprintln!("Would register this chain:");
    }
    print(arguments.output, answer.chain)
}

fn read_genesis(path: &Path) -> anyhow::Result<Vec<u8>> {
    file::bytes(path, MAX_GENESIS).map_err(|error| {
        let path = path.display();
        if error.kind() == ErrorKind::FileTooLarge {
            let remedy = "use a `url` instead";
            return anyhow!(
                "{path} has more than the {MAX_GENESIS} bytes that can be registered; {remedy}"
            );
        }
        anyhow!("cannot read the genesis {path}: {error}")
    })
}

/// The genesis that lies beside the entry, when it says so itself.
fn beside(file: &Path, entry: &ChainEntry) -> anyhow::Result<Option<Vec<u8>>> {
    let path = entry
        .bootstrap
        .genesis
        .as_ref()
        .and_then(|genesis| Some(file.parent()?.join(&genesis.file)))
        .filter(|path| path.is_file());
    path.map(|path| read_genesis(&path)).transpose()
}

/// The digest of an image that was built here.
fn layout_digest(layout: &Path) -> anyhow::Result<String> {
    let index = layout.join("index.json");
    let text = file::text(&index, MAX_FILE).with_context(|| {
        let index = index.display();
        format!("cannot read {index}; `make images` makes it")
    })?;
    let read: serde_json::Result<serde_json::Value> = serde_json::from_str(&text);
    let index = read.with_context(|| format!("{} is not JSON", index.display()))?;
    match index["manifests"].as_array().map(Vec::as_slice) {
        Some([manifest]) => Ok(manifest["digest"]
            .as_str()
            .context("an image without a digest")?
            .to_owned()),
        _ => bail!("{} does not hold exactly one image", layout.display()),
    }
}

fn print(output: OutputArgs, chain: Option<Chain>) -> anyhow::Result<()> {
    output.print(&pb::GetChainResponse { chain }, |answer| {
        answer.chain.as_ref().map_or_else(Table::new, describe)
    })
}

fn describe(chain: &Chain) -> Table {
    let images = chain.images.iter().map(|image| {
        let digest = if image.digest.is_empty() {
            "not pinned"
        } else {
            &image.digest
        };
        format!("{}: {} {digest}", image.component, image.reference)
    });
    fields(vec![
        ("chain", chain.id.clone()),
        ("name", chain.display_name.clone()),
        ("version", chain.version.clone()),
        ("chain id", chain.chain_id.clone()),
        ("custody", word(chain.custody().as_str_name(), "CUSTODY_")),
        ("roles", roles(chain)),
        (
            "launchable",
            if chain.launchable { "yes" } else { "no" }.to_owned(),
        ),
        ("notice", chain.notice.clone()),
        ("images", images.collect::<Vec<_>>().join("\n")),
        ("registered (UTC)", time(chain.create_time.as_ref())),
    ])
}
