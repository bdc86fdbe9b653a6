//! `berth demo`: a node on a leased machine of this box, following a real
//! chain, from nothing. It types the commands that a person would, and shows
//! them.

mod view;

use crate::client::{Context, ContextArgs};
use anyhow::{Context as _, bail, ensure};
use berth_rig::devnet::{self, DevnetConfig};
use berth_rig::{Rig, RigConfig};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Validators of the network that the node follows.
const VALIDATORS: u8 = 2;
/// How long Berth may take to be ready.
const READY: Duration = Duration::from_mins(3);
/// How long the node may take to follow the head of its chain.
const FOLLOWS: Duration = Duration::from_mins(5);
/// Name of the node.
const NODE: &str = "demo-1";
const CHAIN: &str = "cosmos-devnet";

/// Arguments of `berth demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  make demo
  make demo ARGS=--exit")]
pub(crate) struct Demo {
    /// Folder for everything; not on a tmpfs
    #[arg(long, default_value = "/var/tmp/berth-demo", value_name = "DIR")]
    data_dir: PathBuf,
    /// How many machines to make and offer
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    machines: u8,
    /// End once the node follows the head of its chain
    #[arg(long)]
    exit: bool,
    /// Folder of OCI layouts, as `make images` writes it
    #[arg(long, default_value = "target/images", value_name = "DIR")]
    images: PathBuf,
    /// The catalogue entry of the chain
    #[arg(
        long,
        default_value = "images/cosmos-devnet/chain.toml",
        value_name = "FILE"
    )]
    chain: PathBuf,
    /// Where the endpoint listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: String,
}

/// Runs the demo until the node follows the chain, or until Ctrl-C.
pub(crate) fn run(demo: &Demo) -> anyhow::Result<()> {
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

/// The network, the chain, the node; then what becomes of it.
async fn play(demo: &Demo, context: &Path, begun: Instant) -> anyhow::Result<()> {
    say("starting the network's own validators");
    let network = start_network(demo).await?;
    let genesis = network.genesis_path.display().to_string();
    let peers = network.peers.join(",");
    let entry = demo.chain.display().to_string();
    let images = demo.images.display().to_string();
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
    let client = ContextArgs::from_file(context).load()?;
    if !view::exists(&client, NODE).await? {
        let launch = [
            "node",
            "launch",
            "--chain",
            CHAIN,
            "--role",
            "full",
            "--name",
            NODE,
            "--max-price",
            "1.00",
            "--wait",
        ];
        berth(context, &launch).await?;
    }
    follow(&client, demo.exit, begun).await
}

async fn start_network(demo: &Demo) -> anyhow::Result<devnet::Devnet> {
    let dir = demo.data_dir.canonicalize()?;
    let config = DevnetConfig {
        validators: VALIDATORS,
        image: demo.images.join(CHAIN),
        out: dir.join("devnet"),
    };
    let rig = Rig::open(RigConfig {
        state_dir: dir.join("rig"),
        name: crate::dev::rig_name(&dir),
    })?;
    Ok(tokio::task::spawn_blocking(move || devnet::up(&rig, &config)).await??)
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

async fn follow(client: &Context, exit: bool, begun: Instant) -> anyhow::Result<()> {
    let mut view = view::View::new(client, &[NODE])?;
    let launched = Instant::now();
    loop {
        let healthy = view.show().await?;
        if healthy && exit {
            // What is said stands below the table.
            drop(view);
            say(&format!(
                "{NODE} follows the head of its chain, {:.0} s after the start",
                begun.elapsed().as_secs_f64()
            ));
            return Ok(());
        }
        ensure!(
            !exit || launched.elapsed() < FOLLOWS,
            "{NODE} does not follow its chain after {} s",
            FOLLOWS.as_secs()
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn say(text: &str) {
    eprintln!("berth demo: {text}");
}
