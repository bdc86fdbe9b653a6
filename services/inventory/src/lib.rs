//! Inventory: suppliers, their machines, what these were measured to have,
//! what they cost, and which lease holds which.
//!
//! It never reaches a machine: provisioning measures and wipes, and records
//! the result here.
//!
//! # Invariants
//!
//! * A machine changes its state only through [`domain::Machine::apply`];
//!   reserving, which picks among all machines at once, is one statement of
//!   [`store::reservations`], for one lease or for many.
//! * A machine that was used or is new is not free before it was wiped; the
//!   constraints `machine_free_is_wiped` and `machine_used_is_dirty` hold this,
//!   not code.
//! * A machine has at most one open offer (`offer_machine_open`) and a lease at
//!   most one machine (`machine_lease`).
//! * A lease that released its machine never gets one again, however late its
//!   reservation arrives.

pub mod api;
mod batch;
mod config;
pub mod domain;
pub mod store;

pub use config::Config;

use api::Api;
use berth_core::Result;
use berth_proto::inventory::v1::fleet_service_server::FleetServiceServer;
use berth_proto::inventory::v1::inventory_service_server::InventoryServiceServer;
use berth_runtime::identity::Trust;
use berth_runtime::platform::Platform;
use berth_runtime::tasks::Tasks;
use berth_runtime::{pg, server};
use tonic::service::Routes;

/// Starts the service: its database, then its listener.
///
/// # Errors
///
/// When the database or the address cannot be used.
pub async fn start(config: &Config, platform: &Platform, tasks: &mut Tasks) -> Result<()> {
    let db = pg::connect(&config.database, &store::MIGRATIONS).await?;
    let listener = server::bind(config.listen).await?;
    let (api, reserving) = Api::new(db);
    tasks.spawn("reservations", reserving);
    let serve = server::serve(
        listener,
        platform.identity.clone(),
        Trust::Services,
        routes(api)?,
        tasks.stop(),
    );
    tasks.spawn("inventory", serve);
    Ok(())
}

/// What the listener serves.
///
/// # Errors
///
/// Those of [`server::routes`].
pub fn routes(api: Api) -> Result<Routes> {
    Ok(server::routes()?
        .add_service(InventoryServiceServer::new(api.clone()))
        .add_service(FleetServiceServer::new(api)))
}
