//! `berth-rig`: the rig as a command.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use berth_rig::devnet::{self, DevnetConfig, Network};
use berth_rig::images::{self, ImageDirs};
use berth_rig::{Machine, Rig, RigConfig};
use clap::{Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  sudo berth-rig up 3                      three machines, m1 to m3, with sshd and dockerd
  sudo berth-rig exec m1 docker ps         a command as root on a machine
  sudo berth-rig ctl ssh-keyscan 10.231.7.11   a command on the network of the machines
  sudo berth-rig kill m2                   a power cut; `revive m2` turns it on again
  sudo berth-rig delay m3 40 0.5           40 ms each way, 0.5 % of the frames lost
  sudo berth-rig images build              the images that tests and the demo deploy
  sudo berth-rig devnet up cosmos          a real network, for nodes to follow; or ethereum
  sudo berth-rig down                      take everything away, disks too

A machine is a set of namespaces on this computer; its network reaches nothing
outside. `ip netns` lists them as NAME-m1, NAME-m2, and the bridge as NAME-ctl.";

/// Leased machines on one Linux computer, for tests and for trying things.
#[derive(Parser)]
#[command(name = "berth-rig", version, after_help = EXAMPLES)]
struct Arguments {
    /// Where the machines' disks are kept (not on a tmpfs)
    #[arg(
        long,
        global = true,
        default_value = "/var/tmp/berth-rig",
        value_name = "DIR"
    )]
    state: PathBuf,
    /// The name of a new rig; two at once need two names and two directories [default: rig]
    #[arg(long, global = true)]
    name: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    #[command(flatten)]
    Rig(RigVerb),
    /// The images that tests and the demo deploy
    Images {
        #[command(subcommand)]
        verb: ImagesVerb,
    },
    /// Real networks for nodes to follow, each on one more machine
    Devnet {
        #[command(subcommand)]
        verb: DevnetVerb,
    },
}

#[derive(Subcommand)]
enum DevnetVerb {
    /// Make the network, or start the one that exists, and wait until it makes blocks
    Up {
        /// Which
        #[command(subcommand)]
        network: NetworkVerb,
        /// The folder of the OCI layouts
        #[arg(
            long,
            global = true,
            default_value = "target/images",
            value_name = "DIR"
        )]
        images: PathBuf,
        /// The folder of the catalogue's entries
        #[arg(long, global = true, default_value = "images", value_name = "DIR")]
        catalogue: PathBuf,
        /// Where genesis, peers and entry are written
        #[arg(
            long,
            global = true,
            default_value = "target/devnet",
            value_name = "DIR"
        )]
        out: PathBuf,
    },
}

#[derive(Subcommand)]
enum NetworkVerb {
    /// CometBFT
    Cosmos {
        /// How many validators make it
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
        validators: u8,
    },
    /// Ethereum, with slots of two seconds
    Ethereum {
        /// How many validators are in the genesis for others to run; out/ethereum-devnet/keys holds them
        #[arg(long, default_value_t = 0)]
        leased: u8,
    },
}

#[derive(Subcommand)]
enum RigVerb {
    /// Make and start the machines m1 to mCOUNT, and start those again that were stopped
    Up {
        /// How many
        #[arg(value_parser = clap::value_parser!(u8).range(1..=99))]
        count: u8,
    },
    /// Make and start one machine, by number or with a name of its own
    Add {
        /// `m4`, `4`, `network`
        machine: String,
    },
    /// Turn all machines off and keep their disks for the next `up`
    Stop,
    /// Take everything away: machines, network, disks
    Down,
    /// List the machines
    Status {
        /// A table for people or JSON for programs
        #[arg(long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Run a command as root on a machine
    Exec {
        /// Which machine
        machine: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a command on the network of the machines, at the controller's address
    Ctl {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Load the images of a `docker save` file into a machine's dockerd
    Load {
        /// Which machine
        machine: String,
        /// The file
        tar: PathBuf,
    },
    /// Cut a machine's power
    Kill {
        /// Which machine
        machine: String,
    },
    /// Turn a machine on
    Revive {
        /// Which machine
        machine: String,
    },
    /// Pull a machine's cable
    Partition {
        /// Which machine
        machine: String,
    },
    /// Plug a machine's cable in again
    Heal {
        /// Which machine
        machine: String,
    },
    /// Lose every packet of a machine silently
    Drop {
        /// Which machine
        machine: String,
    },
    /// Lose no more packets
    Undrop {
        /// Which machine
        machine: String,
    },
    /// Delay each frame, each way
    Delay {
        /// Which machine
        machine: String,
        /// By how many milliseconds
        milliseconds: u32,
        /// How many per cent are lost
        #[arg(default_value_t = 0.0)]
        loss: f32,
    },
    /// Delay no more
    Undelay {
        /// Which machine
        machine: String,
    },
    /// Limit what goes towards a machine
    Rate {
        /// Which machine
        machine: String,
        /// In the words of tc: 100mbit, 1gbit
        rate: String,
    },
    /// Limit no more
    Unrate {
        /// Which machine
        machine: String,
    },
}

#[derive(Subcommand)]
enum ImagesVerb {
    /// Build what is not up to date, on a machine of a temporary rig, into OCI layouts
    Build {
        /// The folder of the image folders
        #[arg(long, default_value = "images", value_name = "DIR")]
        sources: PathBuf,
        /// Where each image gets a folder
        #[arg(long, default_value = "target/images", value_name = "DIR")]
        out: PathBuf,
        /// Where downloads are kept
        #[arg(
            long,
            env = "BERTH_CACHE",
            default_value = ".cache",
            value_name = "DIR"
        )]
        cache: PathBuf,
        /// Where cargo put the executables [default: beside this one]
        #[arg(long, value_name = "DIR")]
        bin: Option<PathBuf>,
        /// Which images; all if none is named
        names: Vec<String>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("berth-rig: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let (state, name) = (arguments.state, arguments.name);
    match arguments.verb {
        Verb::Rig(verb) => drive(open(&state, name)?, verb),
        Verb::Images { verb } => build_images(verb),
        Verb::Devnet { verb } => start_devnet(&open(&state, name)?, verb),
    }
}

/// The rig of a directory, which need not be named again once it was made.
fn open(state: &Path, name: Option<String>) -> Result<Rig> {
    Ok(match name {
        None if state.join("name").exists() => Rig::find(state)?,
        name => Rig::open(RigConfig {
            state_dir: state.into(),
            name: name.unwrap_or_else(|| "rig".into()),
        })?,
    })
}

fn drive(rig: Rig, verb: RigVerb) -> Result<ExitCode> {
    match verb {
        RigVerb::Up { count } => show(&rig.up(count)?, Format::Table)?,
        RigVerb::Add { machine } => show(&[rig.add(&machine)?], Format::Table)?,
        RigVerb::Stop => rig.stop()?,
        RigVerb::Down => rig.down()?,
        RigVerb::Status { output } => show(&rig.machines()?, output)?,
        RigVerb::Exec { machine, command } => return exec(&rig.machine(&machine)?, &command),
        RigVerb::Ctl { command } => return ctl(&rig, &command),
        RigVerb::Load { machine, tar } => rig.machine(&machine)?.load_image(&tar)?,
        RigVerb::Kill { machine } => rig.machine(&machine)?.kill()?,
        RigVerb::Revive { machine } => rig.machine(&machine)?.revive()?,
        RigVerb::Partition { machine } => rig.machine(&machine)?.partition()?,
        RigVerb::Heal { machine } => rig.machine(&machine)?.heal()?,
        RigVerb::Drop { machine } => rig.machine(&machine)?.drop_packets()?,
        RigVerb::Undrop { machine } => rig.machine(&machine)?.undrop_packets()?,
        RigVerb::Delay {
            machine,
            milliseconds,
            loss,
        } => rig.machine(&machine)?.delay(milliseconds, loss)?,
        RigVerb::Undelay { machine } => rig.machine(&machine)?.undelay()?,
        RigVerb::Rate { machine, rate } => rig.machine(&machine)?.rate(&rate)?,
        RigVerb::Unrate { machine } => rig.machine(&machine)?.unrate()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn build_images(verb: ImagesVerb) -> Result<ExitCode> {
    let ImagesVerb::Build {
        sources,
        out,
        cache,
        bin,
        names,
    } = verb;
    let executable = std::env::current_exe().context("find this program")?;
    let bin = bin
        .or_else(|| executable.parent().map(Into::into))
        .unwrap_or_default();
    let dirs = ImageDirs {
        sources,
        out,
        cache,
        bin,
    };
    for image in images::build(&dirs, &names, &|said| eprintln!("{said}"))? {
        let state = if image.built { "built" } else { "up to date" };
        println!("{:<16} {:<10} {}", image.name, state, image.digest);
    }
    Ok(ExitCode::SUCCESS)
}

fn start_devnet(rig: &Rig, verb: DevnetVerb) -> Result<ExitCode> {
    let DevnetVerb::Up {
        network,
        images,
        catalogue,
        out,
    } = verb;
    let network = match network {
        NetworkVerb::Cosmos { validators } => Network::Cosmos { validators },
        NetworkVerb::Ethereum { leased } => Network::Ethereum { leased },
    };
    let out = out.join(network.chain());
    let devnet = devnet::up(
        rig,
        &DevnetConfig {
            network,
            images,
            catalogue,
            out,
        },
    )?;
    println!("entry     {}", devnet.entry.display());
    println!("genesis   {}", devnet.genesis_path.display());
    println!("peers     {}", devnet.peers.join(","));
    println!(
        "rpc       {} (from inside: berth-rig ctl curl …)",
        devnet.rpc
    );
    Ok(ExitCode::SUCCESS)
}

/// Runs a command on a machine with this command's input and output, and ends as it ends.
fn exec(machine: &Machine, words: &[String]) -> Result<ExitCode> {
    let mut command = machine.command(&words[0])?;
    let status = command.args(&words[1..]).status().context("run nsenter")?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Becomes a command on the network of the machines.
fn ctl(rig: &Rig, words: &[String]) -> Result<ExitCode> {
    rig.enter_fabric()?;
    Err(Command::new(&words[0]).args(&words[1..]).exec())
        .with_context(|| format!("run {}", words[0]))
}

fn show(machines: &[Machine], format: Format) -> Result<()> {
    match format {
        Format::Json => {
            let rows = machines.iter().map(|machine| {
                serde_json::json!({
                    "name": machine.name(),
                    "address": machine.address(),
                    "hostKey": machine.host_key(),
                    "running": machine.is_running(),
                })
            });
            println!(
                "{}",
                serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?
            );
        }
        Format::Table => {
            for machine in machines {
                let power = if machine.is_running() { "on" } else { "off" };
                println!(
                    "{:<12} {:<18} {:<3} {}",
                    machine.name(),
                    machine.address(),
                    power,
                    machine.host_key()
                );
            }
        }
    }
    Ok(())
}
