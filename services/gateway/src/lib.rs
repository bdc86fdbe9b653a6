//! The gateway: the one public endpoint. Terminates TLS, finds out who calls,
//! checks that they may, and passes the call to the service that answers it.
//!
//! # Invariants
//!
//! * The account of a call comes from its token; whatever a client sends under
//!   that name is dropped.
//! * A method that changes something is in the audit log before it is passed on.
//! * Only methods that name the gateway as a caller are passed on.
//! * Calls that only read do not need the database.
//!
//! Deliberately absent: messages of the services. The gateway forwards bytes.

pub mod audit;
pub mod proxy;
pub mod token;

mod config;
pub mod store;

pub use config::{Admin, Config};

use berth_core::{Error, Result};
use berth_runtime::identity::Trust;
use berth_runtime::platform::Platform;
use berth_runtime::tasks::Tasks;
use berth_runtime::{pg, server};
use proxy::Proxy;
use tonic::service::Routes;

/// Starts the gateway's tasks.
///
/// # Errors
///
/// When the database does not answer or the address cannot be bound.
pub async fn start(config: &Config, platform: &Platform, tasks: &mut Tasks) -> Result<()> {
    let db = pg::connect(&config.database, &store::MIGRATIONS).await?;
    let tokens = token::Tokens::new(&config.admin).map_err(Error::internal)?;
    let routes = routes(Proxy::new(platform, tokens, db))?;
    let listener = server::bind(config.listen).await?;
    tracing::info!(listen = %config.listen, "gateway is ready");
    let identity = platform.identity.clone();
    let stop = tasks.stop();
    tasks.spawn(
        "gateway listener",
        server::serve(listener, identity, Trust::Public, routes, stop),
    );
    Ok(())
}

/// What the public listener serves: health and reflection of the gateway
/// itself, and everything else through the proxy.
///
/// # Errors
///
/// [`Error::Internal`] when the descriptors cannot be read.
pub fn routes(proxy: Proxy) -> Result<Routes> {
    let own = server::routes()?.into_axum_router();
    Ok(Routes::from(own.fallback_service(proxy)))
}
