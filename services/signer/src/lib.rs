//! The signer: the one process that holds validator keys.
//!
//! # Invariants
//!
//! * For one key no two signed messages are ever slashable together.
//! * Once fence f + 1 is committed, nothing is signed under f.
//! * A reply implies a durable record; an unknown outcome is a refusal.
//! * One conditional update decides (`store::decide`): fence, grant and
//!   slashing rules together. Nothing else gives permission.
//!
//! Deliberately absent: anything that opens SSH, Docker or Terraform
//! connections, and any option that turns a check off.

pub mod anchor;
pub mod api;
pub mod batch;
pub mod clock;
pub mod config;
pub mod domain;
pub mod keyring;
pub mod keys;
pub mod process;
pub mod roster;
pub mod sealing;
pub mod store;
pub mod web3signer;
pub mod withdrawals;

use anchor::Anchor;
use api::Api;
use batch::Batcher;
use berth_core::{Error, Result};
use berth_proto::signing::v1::custody_service_server::CustodyServiceServer;
use berth_proto::signing::v1::grant_service_server::GrantServiceServer;
use berth_proto::signing::v1::signing_service_server::SigningServiceServer;
use berth_runtime::identity::Trust;
use berth_runtime::metrics::Metric;
use berth_runtime::notices::Notices;
use berth_runtime::platform::Platform;
use berth_runtime::tasks::Tasks;
use berth_runtime::{pg, server};
use berth_secrets::Vault;
use clock::Clock;
use config::Config;
use keyring::{Keyring, Report};
use roster::Roster;
use sqlx::PgPool;
use std::sync::{Arc, Mutex, PoisonError};
use store::seals::Ceiling;
use store::{checks, seals, withdrawn};
use tokio::net::TcpListener;
use tonic::service::Routes;
use web3signer::Duty;
use withdrawals::Withdrawals;

/// The present: Unix time in seconds, or why nothing may be signed now.
pub type Present = Arc<dyn Fn() -> Result<u64, domain::Refusal> + Send + Sync>;

/// Connections that watch the database: for the clock and for the anchor.
const WATCHING: u32 = 2;

/// Starts the signer's tasks.
///
/// # Errors
///
/// When the database does not answer or nothing may be signed on it, or an
/// address cannot be bound. What may get well by itself, such as clocks that
/// differ, is no error: nothing is signed until it is.
pub async fn start(
    config: &Config,
    platform: &Platform,
    vault: &Vault,
    tasks: &mut Tasks,
) -> Result<()> {
    let stop = tasks.stop();
    checks::examine(&config.database).await?;
    let databases = Databases::open(config, vault)?;
    let db = databases.common.clone();
    let present = databases.watch(tasks).await?;
    let keys = Custody::follow(&db, vault, tasks).await?;
    let (batcher, decisions) = Batcher::new(databases.signing);
    tasks.spawn("decisions", decisions);
    let keyring = Arc::clone(&keys.keyring);
    let api = Api::new(db.clone(), vault.clone(), keyring, Arc::clone(&present));
    let keymanager = web3signer::keymanager_routes(db.clone(), api.keys().clone());
    let duty = Duty::new(db, batcher, keys.roster, keys.keyring, present);
    let duty = Arc::new(duty);

    let admin = server::bind(config.listen).await?;
    let machines = server::bind(config.duty_listen).await?;
    let address = |listener: &TcpListener| listener.local_addr().map_err(Error::internal);
    let (listen, duty_listen) = (address(&admin)?, address(&machines)?);
    let plain = web3signer::admin_routes(Arc::clone(&duty), vec![keys.counts]);
    let services = server::routes()?
        .add_service(SigningServiceServer::new(api.clone()))
        .add_service(GrantServiceServer::new(api.clone()))
        .add_service(CustodyServiceServer::new(api));
    let services = Routes::from(services.into_axum_router().merge(plain).merge(keymanager));
    let placements = Routes::from(web3signer::duty_routes(duty));
    for (name, listener, trust, routes) in [
        ("admin listener", admin, Trust::Services, services),
        ("duty listener", machines, Trust::Placements, placements),
    ] {
        let identity = platform.identity.clone();
        let served = server::serve_http(listener, identity, trust, routes, stop.clone());
        tasks.spawn(name, served);
    }
    tracing::info!(%listen, %duty_listen, "the signer serves");
    Ok(())
}

/// The connections to the one database, apart, so that no use of it waits for
/// another.
struct Databases {
    anchor: Arc<Anchor>,
    /// For decisions alone, and only to the server that the anchor knows.
    signing: PgPool,
    /// For clock and anchor.
    watching: PgPool,
    /// For everything else.
    common: PgPool,
}

impl Databases {
    fn open(config: &Config, vault: &Vault) -> Result<Self> {
        let (database, anchor) = (&config.database, Arc::new(Anchor::new(vault.clone())));
        let known = Arc::clone(&anchor);
        let permits = move |lineage: &_| known.permits(lineage);
        Ok(Self {
            anchor,
            signing: checks::signing_pool(database, batch::LANES, permits)?,
            watching: checks::pool(database, WATCHING)?,
            common: checks::pool(database, database.max_connections)?,
        })
    }

    /// Holds the database against clock and anchor, now and from now on.
    async fn watch(&self, tasks: &mut Tasks) -> Result<Present> {
        let (clock, anchor) = (Arc::new(Clock::default()), Arc::clone(&self.anchor));
        clock.compare(&self.watching).await?;
        let (watched, compared) = (self.watching.clone(), Arc::clone(&clock));
        tasks.spawn_endless("clock", async move { compared.watch(&watched).await });
        let (watched, kept) = (self.watching.clone(), Arc::clone(&anchor));
        tasks.spawn_endless("anchor", async move { kept.keep(&watched).await });
        Ok(Arc::new(move || {
            anchor.check()?;
            clock.now()
        }))
    }
}

/// What is known of the keys, and the keys themselves.
struct Custody {
    roster: Arc<Roster>,
    keyring: Arc<Keyring>,
    /// How many there should be, and how many there are.
    counts: Arc<Metric>,
}

impl Custody {
    /// Follows the validators of the database from now on.
    async fn follow(db: &PgPool, vault: &Vault, tasks: &mut Tasks) -> Result<Self> {
        let database_id = seals::database_id(db).await?;
        let keys = Self {
            roster: Arc::default(),
            keyring: Arc::new(Keyring::new(vault.clone(), database_id)),
            counts: Metric::gauge(
                "signer.keys",
                "Keys that this process should hold, and holds.",
                "state",
                ["expected", "loaded"],
            ),
        };
        let channels = &[store::roster::CHANNEL];
        let (notices, listen) = Notices::listen(db.clone(), channels, tasks.stop());
        tasks.spawn("notices", listen);
        let (roster, keyring) = (Arc::clone(&keys.roster), Arc::clone(&keys.keyring));
        let (counts, db) = (Arc::clone(&keys.counts), db.clone());
        tasks.spawn_endless("keys", async move {
            let last = Mutex::default();
            let told = |report: &Report| tell(report, &counts, &last);
            roster.follow(&db, &keyring, &notices, told).await;
        });
        Ok(keys)
    }
}

/// Counts the keys, and says once why which of them are not here.
fn tell(report: &Report, counts: &Metric, last: &Mutex<Report>) {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    counts.set("expected", count(report.expected));
    counts.set("loaded", count(report.loaded));
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if *last == *report {
        return;
    }
    let (expected, loaded) = (report.expected, report.loaded);
    match report.problems.iter().next() {
        Some((key, problem)) => {
            tracing::error!(expected, loaded, %key, %problem, "keys are not loaded");
        }
        None => tracing::info!(expected, loaded, "keys are loaded"),
    }
    *last = report.clone();
}

/// What re-anchoring finds and does.
#[derive(Debug)]
pub struct Reanchoring {
    /// Why nothing is signed now, if so.
    pub problem: Option<String>,
    /// The ceiling of each chain, and how many validators it has.
    pub chains: Vec<(Ceiling, i64)>,
    /// How many validators become DISABLED: their owners withdrew them, and this
    /// database does not know.
    pub withdrawn: i64,
}

/// Lets this database sign from now on: raises the watermarks of every
/// validator above everything that may have been signed until now, disables
/// what owners withdrew, and makes it the anchored one. With `dry_run` it says so and does nothing.
///
/// # Errors
///
/// When the clocks differ, the database or Vault do not answer, or another
/// signer moves the anchor meanwhile.
pub async fn reanchor(config: &Config, vault: &Vault, dry_run: bool) -> Result<Reanchoring> {
    checks::examine(&config.database).await?;
    let db = checks::pool(&config.database, WATCHING)?;
    let (clock, anchor) = (Clock::default(), Anchor::new(vault.clone()));
    clock.compare(&db).await?;
    let now = clock
        .now()
        .map_err(|refusal| Error::precondition("CLOCK_SKEW", refusal.detail))?;
    let problem = anchor.problem(&db).await?;
    let withdrawals = Withdrawals::new(vault.clone(), seals::database_id(&db).await?);
    let known = withdrawals.all().await.map_err(Error::unavailable)?;
    let mut chains = Vec::new();
    let mut conn = db.acquire().await.map_err(pg::error)?;
    for chain in store::roster::chains(&mut conn).await? {
        let count = seals::validators(&mut *conn, &chain.name).await?;
        chains.push((anchor::ceiling(&chain, now), count));
    }
    let withdrawn = withdrawn::forgotten(&mut *conn, &known).await?;
    drop(conn);
    if !dry_run {
        let ceilings: Vec<_> = chains.iter().map(|(ceiling, _)| ceiling.clone()).collect();
        anchor.anew(&db, &ceilings, &known).await?;
    }
    Ok(Reanchoring {
        problem,
        chains,
        withdrawn,
    })
}
