//! Monitoring: what the signals of a node add up to.
//!
//! # Invariants
//!
//! * What a machine says about itself never decides whose signals they are:
//!   its certificate does, and only the current fence of a node is heard.
//! * Health is a function of the newest samples, the expectation and the time.
//! * Receiving never waits for the operator's collector.
//! * Only the signer's own records make incidents, never what a machine sends.
//!
//! Deliberately absent: rules over samples.

pub mod api;
pub mod beacon;
pub mod domain;
pub mod forward;
pub mod otlp;
pub mod reconcile;
pub mod store;

mod config;

pub use config::{Config, ForwardConfig, ObserveConfig};

use api::Api;
use berth_core::Result;
use berth_proto::monitoring::v1::incident_service_server::IncidentServiceServer;
use berth_proto::monitoring::v1::monitoring_service_server::MonitoringServiceServer;
use berth_proto::monitoring::v1::target_service_server::TargetServiceServer;
use berth_runtime::identity::Trust;
use berth_runtime::notices::Notices;
use berth_runtime::platform::Platform;
use berth_runtime::tasks::Tasks;
use berth_runtime::{pg, server};
use forward::Forward;
use otlp::Receiver;
use reconcile::{Custody, Endpoints};

/// Starts monitoring's tasks.
///
/// # Errors
///
/// When the database does not answer or an address cannot be bound.
pub async fn start(config: &Config, platform: &Platform, tasks: &mut Tasks) -> Result<()> {
    let db = pg::connect(&config.database, &store::MIGRATIONS).await?;
    let stop = tasks.stop();
    let (notices, listen) = Notices::listen(
        db.clone(),
        &[store::CHANNEL, berth_runtime::reconcile::CHANNEL],
        stop.clone(),
    );
    tasks.spawn("notices", listen);
    let (forward, forwarding) = Forward::start(&config.forward, stop.clone())?;
    tasks.spawn("forward", forwarding);
    let sweep = reconcile::reconciler(db.clone());
    reconcile::wake(&db).await?;
    tasks.spawn("reconcile", sweep.run(notices.clone(), stop.clone()));
    let endpoints = Endpoints::new(&config.observe)?;
    if !config.observe.is_empty() {
        endpoints.wake(&db).await?;
        let custody = Custody::new(platform.signer());
        let observer = reconcile::observer(db.clone(), endpoints, custody);
        tasks.spawn("observe", observer.run(notices.clone(), stop.clone()));
    }

    let (receiver, keeping) = Receiver::new(db.clone(), forward);
    tasks.spawn("exports", keeping);
    let api = Api::new(db, notices, stop.clone());
    let main = server::bind(config.listen).await?;
    let machines = server::bind(config.otlp_listen).await?;
    tracing::info!(listen = %config.listen, otlp = %config.otlp_listen, "monitoring is ready");
    let routes = server::routes()?
        .add_service(MonitoringServiceServer::new(api.clone()))
        .add_service(IncidentServiceServer::new(api.clone()))
        .add_service(TargetServiceServer::new(api));
    tasks.spawn(
        "listener",
        server::serve(
            main,
            platform.identity.clone(),
            Trust::Services,
            receiver.routes(routes),
            stop.clone(),
        ),
    );
    tasks.spawn(
        "OTLP listener",
        server::serve(
            machines,
            platform.identity.clone(),
            Trust::Placements,
            receiver.routes(tonic::service::Routes::default()),
            stop,
        ),
    );
    Ok(())
}
