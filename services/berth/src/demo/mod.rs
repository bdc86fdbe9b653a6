//! `berth demo`: nodes on leased machines of this box, each following a real
//! chain, from nothing. It types the commands that a person would, and shows
//! them.

mod chain;
mod proof;
mod view;

use crate::client::{Context, ContextArgs};
use anyhow::{Context as _, bail, ensure};
use berth_rig::Rig;
use chain::Chain;
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proof::Validators;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How long Berth may take to be ready.
const READY: Duration = Duration::from_mins(3);
/// How long the nodes may take to follow the heads of their chains, and to earn.
const FOLLOWS: Duration = Duration::from_mins(8);

/// Arguments of `berth demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  make demo
  make demo ARGS=--exit
  make demo ARGS='--chains ethereum-devnet'")]
pub(crate) struct Demo {
    /// Folder for everything; not on a tmpfs. A demo that was there before goes
    #[arg(long, default_value = "/var/tmp/berth-demo", value_name = "DIR")]
    data_dir: PathBuf,
    /// How many machines to make and offer
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    machines: u8,
    /// Which chains, side by side
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "cosmos-devnet,ethereum-devnet",
        value_name = "CHAIN,…"
    )]
    chains: Vec<Chain>,
    /// End once every node follows the head of its chain and earns what it can, and
    /// show what was signed
    #[arg(long)]
    exit: bool,
    /// Folder of OCI layouts, as `make images` writes it
    #[arg(long, default_value = "target/images", value_name = "DIR")]
    images: PathBuf,
    /// Folder of the catalogue's entries
    #[arg(long, default_value = "images", value_name = "DIR")]
    catalogue: PathBuf,
    /// Where the endpoint listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: String,
}

/// Runs the demo until the nodes follow their chains, or until Ctrl-C.
pub(crate) fn run(demo: &Demo) -> anyhow::Result<()> {
    clear(&demo.data_dir)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let begun = Instant::now();
        let (mut dev, context) = start_dev(demo).await?;
        let outcome = tokio::select! {
            outcome = play(demo, &context, begun) => outcome,
            status = dev.wait() => Err(anyhow::anyhow!("`berth dev` ended by itself: {status:?}")),
            () = crate::dev::interrupted() => Ok(()),
        };
        let ended = end(dev).await;
        if outcome.is_err() {
            let logs = demo.data_dir.join("logs");
            eprintln!("berth demo: the logs are in {}", logs.display());
        }
        outcome.and(ended)
    })
}

/// Takes an earlier demo away: its network of Ethereum was turned off with the
/// machines, and without all of its votes it makes no epoch final again.
fn clear(dir: &Path) -> anyhow::Result<()> {
    let mark = dir.join("demo");
    if mark.exists() {
        let _lock = crate::dev::lock(dir)?;
        if dir.join("rig/name").exists() {
            Rig::find(&dir.join("rig"))?.down()?;
        }
        fs::remove_dir_all(dir)?;
    }
    let used = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    ensure!(
        !used,
        "{} holds files that are not of a demo: name a new or an empty folder with --data-dir",
        dir.display()
    );
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(fs::write(mark, "")?)
}

/// Starts `berth dev` and waits for the line that says it is ready.
async fn start_dev(demo: &Demo) -> anyhow::Result<(Child, PathBuf)> {
    let mut dev = Command::new(std::env::current_exe()?)
        .args(["dev", "--end-with-parent", "--listen", &demo.listen])
        .arg("--data-dir")
        .arg(&demo.data_dir)
        .args(["--machines", &demo.machines.to_string(), "--images"])
        .arg(&demo.images)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Ctrl-C is for us; we end it in order.
        .process_group(0)
        .spawn()
        .context("cannot start `berth dev`")?;
    let out = dev.stdout.take().context("no output of `berth dev`")?;
    let mut lines = BufReader::new(out).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            let context = line
                .strip_prefix("berth ready ")
                .and_then(|rest| rest.split_once("context="));
            if let Some((_, context)) = context {
                return Ok(PathBuf::from(context));
            }
        }
        bail!("`berth dev` ended before it was ready")
    };
    let ready = tokio::select! {
        ready = tokio::time::timeout(READY, ready) => ready.context("`berth dev` was not ready in time").and_then(|ready| ready),
        () = crate::dev::interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    match ready {
        Ok(context) => Ok((dev, context)),
        Err(error) => {
            end(dev).await.ok();
            Err(error)
        }
    }
}

async fn end(mut dev: Child) -> anyhow::Result<()> {
    if let Some(id) = dev.id().and_then(|id| i32::try_from(id).ok()) {
        // It may have ended already.
        kill(Pid::from_raw(id), Signal::SIGTERM).ok();
    }
    let status = dev.wait().await?;
    ensure!(status.success(), "`berth dev` ended with {status}");
    Ok(())
}

/// The networks, the chains, the nodes; then what becomes of them.
async fn play(demo: &Demo, context: &Path, begun: Instant) -> anyhow::Result<()> {
    say("starting the networks' own validators");
    let mut networks = Vec::new();
    for chain in &demo.chains {
        networks.push((chain, chain.network(demo)?));
    }
    let client = ContextArgs::from_file(context).load()?;
    let images = demo.images.display().to_string();
    let rig = chain::rig(demo)?;
    let (mut nodes, mut validators) = (Vec::new(), Vec::new());
    for (chain, network) in networks {
        let network = network.await??;
        let entry = network.entry.display().to_string();
        let genesis = network.genesis_path.display().to_string();
        let peers = network.peers.join(",");
        let register = [
            "chain",
            "register",
            &entry,
            "--genesis",
            &genesis,
            "--peers",
            &peers,
            "--images",
            &images,
        ];
        berth(context, &register).await?;
        nodes.push(chain.node());
        if chain.signs() {
            validators.push(Validators::of(&network, chain.name(), &rig)?);
        }
        let mut launch = vec![
            "node",
            "launch",
            "--chain",
            chain.name(),
            "--name",
            chain.node(),
            "--max-price",
            "1.00",
            "--wait",
        ];
        let more = chain.launch(&network);
        launch.extend(more.iter().map(String::as_str));
        berth(context, &launch).await?;
    }
    follow(&client, &nodes, &validators, demo.exit).await?;
    // What is said stands below the table.
    say(&format!(
        "the heads of the chains are followed by {}, {:.0} s after the start",
        nodes.join(" and "),
        begun.elapsed().as_secs_f64()
    ));
    for validators in &validators {
        validators.tell(context).await?;
    }
    Ok(())
}

/// Runs a command of the client, and shows it.
async fn berth(context: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    say(&format!("$ berth {}", arguments.join(" ")));
    let status = Command::new(std::env::current_exe()?)
        .arg("--context")
        .arg(context)
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .await?;
    ensure!(
        status.success(),
        "`berth {}` failed",
        arguments.first().copied().unwrap_or_default()
    );
    Ok(())
}

/// Shows the nodes until they do what they are there for, if that is the end.
async fn follow(
    client: &Context,
    nodes: &[&str],
    validators: &[Validators],
    exit: bool,
) -> anyhow::Result<()> {
    let mut view = view::View::new(client, nodes)?;
    let launched = Instant::now();
    loop {
        let healthy = view.show().await?;
        if healthy && exit {
            let finals = validators.iter().map(Validators::an_epoch_is_final);
            let finals = finals.collect::<anyhow::Result<Vec<bool>>>()?;
            if finals.into_iter().all(|is_final| is_final) {
                return Ok(());
            }
        }
        ensure!(
            !exit || launched.elapsed() < FOLLOWS,
            "not all of {} follow their chains and earn after {} s",
            nodes.join(" and "),
            FOLLOWS.as_secs()
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn say(text: &str) {
    eprintln!("berth demo: {text}");
}
