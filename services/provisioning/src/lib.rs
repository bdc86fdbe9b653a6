//! Provisioning: chains, nodes and placements. It issues the fence.
//!
//! # Invariants
//!
//! * A node has at most one current placement, and its fence only grows; the
//!   index `placement_one_current` and a trigger hold this, not code.
//! * States change only through [`domain::Node::apply`] and
//!   [`domain::Placement::apply`].
//! * Every write of a worker checks its claim in the same transaction.
//! * Whoever locks work and node locks the work first.
//!
//! # Layers
//!
//! `api` and `reconcile` connect, `domain` decides, `store` remembers. Machines
//! are reached only through [`reconcile::Site`].

pub mod api;
pub mod authority;
pub mod catalogue;
pub mod config;
pub mod domain;
pub mod others;
pub mod reconcile;
pub mod store;

pub use config::Config;

use api::Api;
use berth_core::{Error, Result};
use berth_proto::provisioning::v1::placement_service_server::PlacementServiceServer;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningServiceServer;
use berth_provisioner::{Machines, PoolConfig};
use berth_runtime::identity::Trust;
use berth_runtime::notices::Notices;
use berth_runtime::platform::Platform;
use berth_runtime::tasks::Tasks;
use berth_runtime::{pg, reconcile as work, server};
use berth_secrets::Vault;
use others::Others;
use reconcile::{Context, Options, Site, VaultCredentials};
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;

/// Channels of the database that the service listens to.
const CHANNELS: &[&str] = &[work::CHANNEL, store::events::CHANNEL];

/// Largest message of a placement: a certificate request of 8 KiB.
const MAX_REQUEST: usize = 16 << 10;

/// Starts the service: its database, its workers and its two listeners.
///
/// # Errors
///
/// When the database cannot be used or is another Vault's, or an address is taken.
pub async fn start(
    config: &Config,
    platform: &Platform,
    vault: Vault,
    tasks: &mut Tasks,
) -> Result<()> {
    let db = pg::connect(&config.database, &store::MIGRATIONS).await?;
    authority::check(&db, &vault).await?;
    let (notices, listen) = Notices::listen(db.clone(), CHANNELS, tasks.stop());
    tasks.spawn("provisioning notices", listen);

    let others = Others::new(
        platform.leasing(),
        platform.inventory(),
        platform.monitoring(),
        config.signer().map(|_| platform.signer()),
    );
    let pool = PoolConfig {
        connect_timeout: Duration::from_secs(config.connect_seconds),
        call_timeout: Duration::from_secs(config.call_seconds),
        stall_timeout: Duration::from_secs(config.stall_seconds),
        ..PoolConfig::default()
    };
    let credentials = Arc::new(VaultCredentials(vault.clone()));
    let site: Arc<dyn Site> = Arc::new(Machines::new(pool, credentials).map_err(Error::internal)?);
    let context = Context {
        db: db.clone(),
        site: Arc::clone(&site),
        others: others.clone(),
        vault: vault.clone(),
        options: Arc::new(Options::from(config)),
    };
    reconcile::begin(&db).await?;
    let worker = reconcile::reconciler(&context, config.concurrency);
    tasks.spawn(
        "provisioning work",
        worker.run(notices.clone(), tasks.stop()),
    );

    let api = Api {
        db,
        notices,
        site,
        others,
        vault,
        stop: tasks.stop(),
    };
    let service = ProvisioningServiceServer::new(api.clone())
        .max_decoding_message_size(server::MAX_MESSAGE)
        .max_encoding_message_size(server::MAX_MESSAGE);
    let routes = server::routes()?.add_service(service);
    let listener = server::bind(config.listen).await?;
    let identity = platform.identity.clone();
    let serve = server::serve(listener, identity, Trust::Services, routes, tasks.stop());
    tasks.spawn("provisioning", serve);

    // Nothing else is open to machines, reflection least of all.
    let service = PlacementServiceServer::new(api).max_decoding_message_size(MAX_REQUEST);
    let routes = Routes::new(service);
    let listener = server::bind(config.placement_listen).await?;
    let identity = platform.identity.clone();
    let serve = server::serve(listener, identity, Trust::Placements, routes, tasks.stop());
    tasks.spawn("provisioning placements", serve);
    Ok(())
}
