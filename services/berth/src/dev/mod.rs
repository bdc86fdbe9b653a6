//! `berth dev`: all of Berth on one Linux machine, with leased machines of its
//! own. The same code as in production; only Vault, Postgres and the machines
//! stand on this machine, each a real one.
//!
//! Everything listens inside the machines' private network; one address on the
//! user's loopback leads to the gateway.

mod files;
mod machines;
mod ports;
mod postgres;
mod relay;
mod services;
mod signer;

use crate::serve::Role;
use anyhow::{Context as _, bail, ensure};
use berth_rig::{Machine, Rig, RigConfig};
use berth_secrets::bootstrap::{BootstrapPlan, bootstrap};
use berth_secrets::dev::{DevStorage, DevVault, DevVaultConfig};
use berth_secrets::{VaultConfig, deliver_secret_id};
use clap::Args;
use files::{Admin, Layout};
use ports::Listener;
use postgres::Postgres;
use services::{Service, Services};
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Arguments of `berth dev`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo berth dev --data-dir /var/tmp/berth --machines 3
  berth --context /var/tmp/berth/context.toml machine list

State survives a restart. Ctrl-C ends everything and leaves nothing running.")]
pub(crate) struct Dev {
    /// Folder for everything; not on a tmpfs
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// How many machines to make and offer
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    machines: u8,
    /// Where the endpoint listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7443", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Folder of OCI layouts, as `make images` writes it
    #[arg(long, default_value = "target/images", value_name = "DIR")]
    images: PathBuf,
    /// How many of each service to run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=ports::MAX_REPLICAS))]
    replicas: u8,
    /// The OpenBao executable, when it is not where `make bootstrap` puts it
    #[arg(long, env = "BERTH_BAO", value_name = "FILE")]
    bao: Option<PathBuf>,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

/// Runs until it is told to end.
pub(crate) fn run(dev: &Dev) -> anyhow::Result<()> {
    ensure!(
        nix::unistd::Uid::effective().is_root(),
        "`berth dev` makes network namespaces and needs root: run it with sudo"
    );
    if dev.end_with_parent {
        berth_process::end_with_parent()?;
    }
    std::fs::create_dir_all(&dev.data_dir)
        .with_context(|| format!("cannot make {}", dev.data_dir.display()))?;
    let dir = dev.data_dir.canonicalize()?;
    let _lock = lock(&dir)?;
    // Bound here, on the user's side, before this thread moves.
    let listener = TcpListener::bind(dev.listen)
        .with_context(|| format!("cannot listen on {}; choose another --listen", dev.listen))?;
    listener.set_nonblocking(true)?;
    let rig = Rig::open(RigConfig {
        state_dir: dir.join("rig"),
        name: rig_name(&dir),
    })?;
    say("starting machines");
    let machines = rig.up(dev.machines)?;
    // On a thread of its own: this process stays outside, so that the network
    // can be taken away once everything in it has ended.
    let result = rig.in_fabric(|| -> anyhow::Result<()> {
        let runtime = tokio::runtime::Runtime::new()?;
        let result = runtime.block_on(stage(dev, &dir, listener, &rig, &machines));
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        result
    })?;
    say("turning machines off");
    let off = rig.stop();
    result?;
    off.context("some of the machines' parts are left; run `berth dev` again to clear them")
}

/// Two of us on one folder would end each other's Postgres.
pub(crate) fn lock(dir: &Path) -> anyhow::Result<File> {
    let file = File::create(dir.join("lock"))?;
    if file.try_lock().is_err() {
        bail!("another `berth dev` runs on {}", dir.display());
    }
    Ok(file)
}

/// Name of the rig of a data folder.
pub(crate) fn rig_name(dir: &Path) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(dir.as_os_str().as_encoded_bytes());
    format!("berth-{}", hex::encode(&hash[..4]))
}

/// Progress for people; what programs wait for goes to standard output.
fn say(text: &str) {
    eprintln!("berth dev: {text}");
}

async fn stage(
    dev: &Dev,
    dir: &Path,
    listener: TcpListener,
    rig: &Rig,
    machines: &[Machine],
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let stop = CancellationToken::new();
    let mut postgres = Postgres::start(&dir.join("postgres")).await?;
    let mut vault = match foundations(dev, dir, &postgres).await {
        Ok(vault) => vault,
        Err(error) => {
            postgres.stop().await;
            return Err(error);
        }
    };
    let outcome = match prepare(dev, dir, rig, &postgres, &vault).await {
        Ok(prepared) => {
            say("starting services");
            let services = Services {
                dir: dir.to_owned(),
                replicas: dev.replicas,
            };
            let stage = Stage {
                dev,
                dir,
                machines,
                begun,
            };
            let running = async {
                let outcome = tokio::select! {
                    outcome = offer(stage, listener, prepared, &stop) => outcome,
                    error = postgres.keep() => Err(error),
                    error = keep(&mut vault) => Err(error),
                    () = interrupted() => { say("ending"); Ok(()) }
                    () = stop.cancelled() => Ok(()),
                };
                stop.cancel();
                outcome
            };
            // The services end before what they stand on.
            let (outcome, services) = tokio::join!(running, services.run(stop.clone()));
            outcome.and(services)
        }
        Err(error) => Err(error),
    };
    vault.stop().await;
    postgres.stop().await;
    outcome
}

/// Starts OpenBao again whenever it ends, as whoever runs a Vault would; work
/// waits for it meanwhile.
async fn keep(vault: &mut DevVault) -> anyhow::Error {
    loop {
        let said = vault.ended().await;
        say(&format!("{said}"));
        say("starting OpenBao again");
        if let Err(error) = vault.restart().await {
            return error.into();
        }
    }
}

/// What is offered, and where.
struct Stage<'a> {
    dev: &'a Dev,
    dir: &'a Path,
    machines: &'a [Machine],
    begun: Instant,
}

/// Databases, Vault, and a login for each role.
async fn foundations(dev: &Dev, dir: &Path, postgres: &Postgres) -> anyhow::Result<DevVault> {
    for role in Role::ALL {
        let name = format!("berth_{role}");
        postgres.ensure_database(&name, &name).await?;
    }
    signer::migrate(postgres).await?;
    let openbao = "berth_openbao";
    postgres.ensure_database(openbao, openbao).await?;
    say("starting OpenBao (in production Vault stands elsewhere, and is yours)");
    let vault = DevVault::start(DevVaultConfig {
        binary: dev.bao.clone(),
        data_dir: dir.join("openbao"),
        listen: ports::VAULT,
        storage: DevStorage::Postgres(postgres.url(openbao, openbao).into()),
    })
    .await?;
    bootstrap(vault.admin(), &BootstrapPlan::default()).await?;
    std::fs::create_dir_all(files::secret_ids(dir))?;
    for service in Service::all() {
        let name = service.name();
        let file = files::secret_ids(dir).join(name);
        let login = VaultConfig::new(vault.address(), Some(vault.ca_file()), name, file);
        deliver_secret_id(vault.admin(), &login).await?;
    }
    Ok(vault)
}

/// What the control plane starts from.
struct Prepared {
    admin: Admin,
    ca: String,
}

/// The administrator, the configuration and the authority of the services.
async fn prepare(
    dev: &Dev,
    dir: &Path,
    rig: &Rig,
    postgres: &Postgres,
    vault: &DevVault,
) -> anyhow::Result<Prepared> {
    let admin = Admin::load(dir)?;
    let images = dev.images.canonicalize().unwrap_or(dev.images.clone());
    let layout = Layout {
        dir,
        controller: rig.controller_address(),
        replicas: dev.replicas,
        images: &images,
        database: &|name| postgres.url(name, name),
    };
    layout.write_config(&admin, &vault.ca_file())?;
    Ok(Prepared {
        ca: services_ca(dir, vault).await?,
        admin,
    })
}

/// Opens the way to the services and puts the machines on offer; then waits.
async fn offer(
    stage: Stage<'_>,
    listener: TcpListener,
    prepared: Prepared,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Stage { dev, dir, .. } = stage;
    let endpoint = format!("https://{}", listener.local_addr()?);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let gateways: Vec<SocketAddr> = (0..dev.replicas)
        .map(|replica| {
            let port = ports::port(Listener::Main(Service::Role(Role::Gateway)), replica);
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
        })
        .collect();
    let inside = format!("https://{}", gateways.first().context("no gateway")?);
    let context = files::write_context(dir, &prepared.admin, &endpoint, &prepared.ca)?;
    let ready = async {
        let client = crate::client::Context {
            endpoint: inside,
            ca_file: Some(dir.join("ca.pem")),
            token: prepared.admin.token.clone(),
        };
        machines::enroll(&client, stage.machines).await?;
        println!(
            "berth ready endpoint={endpoint} context={}",
            context.display()
        );
        say(&format!(
            "ready after {:.1} s; try: berth --context {} machine list",
            stage.begun.elapsed().as_secs_f64(),
            context.display()
        ));
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        outcome = ready => outcome,
        () = relay::run(listener, gateways, stop.clone()) => Ok(()),
    }
}

async fn services_ca(dir: &Path, vault: &DevVault) -> anyhow::Result<String> {
    let file = files::secret_ids(dir).join(Role::Gateway.name());
    let login = VaultConfig::new(
        vault.address(),
        Some(vault.ca_file()),
        Role::Gateway.name(),
        file,
    );
    let gateway = berth_secrets::Vault::connect(login).await?;
    let ca = gateway.services_ca().await?;
    gateway.log_out().await;
    Ok(ca)
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
