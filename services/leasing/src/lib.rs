//! Leasing: who may use which machine, until when, and what it costs; and
//! telling accounts what becomes of that.
//!
//! Which machine that is, inventory decides; what runs on it, provisioning.
//!
//! # Invariants
//!
//! * A lease changes its state only through [`domain::Lease::apply`].
//! * A machine has at most one lease that is not over; the unique index
//!   `lease_machine_busy` holds this, not code.
//! * A lease is ACTIVE only after inventory counts its machine as used, so a
//!   machine that anybody could use is wiped before the next lease.
//! * The ledger sums to zero, transfer by transfer (`entry_balances`), and is
//!   never changed (`entry_is_final`).
//! * What a lease costs is a function of its price and its whole seconds; what
//!   was charged advances in the transaction that writes the entries, so
//!   nothing is charged twice, whoever charges and however often.
//! * An event is written in the transaction that makes it true, once
//!   (`account_event_once`), and its deliveries with it.

pub mod api;
mod config;
pub mod domain;
mod inventory;
mod life;
pub mod outbox;
pub mod reconcile;
pub mod same_vault;
pub mod store;

pub use config::{Config, WebhookConfig};
pub use inventory::Inventory;
pub use outbox::Outbox;

use api::{Api, Webhooks};
use berth_core::Result;
use berth_proto::leasing::v1::leasing_service_server::LeasingServiceServer;
use berth_proto::leasing::v1::webhook_service_server::WebhookServiceServer;
use berth_runtime::identity::Trust;
use berth_runtime::notices::Notices;
use berth_runtime::platform::Platform;
use berth_runtime::tasks::Tasks;
use berth_runtime::{pg, server};
use berth_secrets::Vault;
use tonic::service::Routes;

/// Starts the service: its database, its reconcilers, then its listener.
///
/// # Errors
///
/// When the database or the address cannot be used.
pub async fn start(
    config: &Config,
    platform: &Platform,
    vault: Vault,
    tasks: &mut Tasks,
) -> Result<()> {
    let db = pg::connect(&config.database, &store::MIGRATIONS).await?;
    same_vault::check(&db, &vault).await?;
    let outbox = Outbox::new(vault, &config.webhooks)?;
    let listener = server::bind(config.listen).await?;
    let inventory = Inventory::new(platform.inventory());

    let channels = &[berth_runtime::reconcile::CHANNEL];
    let (notices, listen) = Notices::listen(db.clone(), channels, tasks.stop());
    tasks.spawn("leasing notices", listen);
    let reconciler = reconcile::reconciler(db.clone(), inventory.clone(), config.policy());
    tasks.spawn(
        "leasing reconciler",
        reconciler.run(notices.clone(), tasks.stop()),
    );
    // Apart from leases: a receiver that hangs must not keep one from ending.
    let webhooks = reconcile::webhooks(db.clone(), outbox.clone());
    tasks.spawn("leasing webhooks", webhooks.run(notices, tasks.stop()));

    let serve = server::serve(
        listener,
        platform.identity.clone(),
        Trust::Services,
        routes(Api::new(db.clone(), inventory))?
            .add_service(WebhookServiceServer::new(Webhooks::new(db, outbox))),
        tasks.stop(),
    );
    tasks.spawn("leasing", serve);
    Ok(())
}

/// What the listener serves beside webhooks.
///
/// # Errors
///
/// Those of [`server::routes`].
pub fn routes(api: Api) -> Result<Routes> {
    Ok(server::routes()?.add_service(LeasingServiceServer::new(api)))
}
