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
pub mod protection;
pub mod roster;
pub mod sealing;
pub mod store;
pub mod web3signer;

use anchor::Anchor;
use berth_core::Result;
use berth_runtime::identity::Trust;
use berth_runtime::platform::Platform;
use berth_runtime::server;
use berth_runtime::tasks::Tasks;
use berth_secrets::Vault;
use clock::Clock;
use config::Config;
use sqlx::PgPool;
use std::sync::Arc;
use store::checks::{self, Permits};
use tonic::service::Routes;

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
    databases.watch(tasks).await?;

    let admin = server::bind(config.listen).await?;
    let machines = server::bind(config.duty_listen).await?;
    let identity = platform.identity.clone();
    let routes = server::routes()?;
    let served = server::serve_http(admin, identity, Trust::Services, routes, stop.clone());
    tasks.spawn("admin listener", served);
    let identity = platform.identity.clone();
    let routes = Routes::from(axum::Router::new());
    let served = server::serve_http(machines, identity, Trust::Placements, routes, stop);
    tasks.spawn("duty listener", served);
    tracing::info!(listen = %config.listen, duty = %config.duty_listen, "the signer serves");
    Ok(())
}

/// The connections to the one database, apart, so that no use of it waits for
/// another.
struct Databases {
    anchor: Arc<Anchor>,
    /// For clock and anchor.
    watching: PgPool,
}

impl Databases {
    fn open(config: &Config, vault: &Vault) -> Result<Self> {
        let anchor = Arc::new(Anchor::new(vault.clone()));
        let any: Permits = Arc::new(|_| Ok(()));
        let open = |connections, permits| checks::pool(&config.database, connections, permits);
        Ok(Self {
            anchor,
            watching: open(WATCHING, any)?,
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
