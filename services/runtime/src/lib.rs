//! What every service needs and none should write twice: configuration,
//! telemetry, the database, the listener, who is calling, doing a request
//! once, many requests together, pages, reconcile loops and clients.
//!
//! Deliberately absent: Vault (`berth-secrets`) and anything that one service
//! alone knows.

pub mod auth;
pub mod clients;
pub mod config;
mod connection;
mod handshakes;
pub mod identity;
pub mod lanes;
pub mod metrics;
pub mod notices;
pub mod once;
pub mod page;
pub mod pg;
pub mod platform;
pub mod reconcile;
pub mod schema;
pub mod server;
pub mod status;
pub mod tasks;
pub mod telemetry;
pub mod wire;
