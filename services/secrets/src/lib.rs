//! Everything Berth asks of Vault, or of OpenBao, which speaks the same API.
//!
//! [`Vault`] is what a service holds: it logs in by AppRole, keeps its token
//! alive and reads, creates and signs what its role permits. [`bootstrap`]
//! prepares a server, [`check`] says what one lacks, and [`dev`] runs a real
//! OpenBao for development and tests.
//!
//! Deliberately absent: what the signer's records mean, which is the signer's
//! own, and any copy of a secret on disk but a service's own secret id. No
//! error and no `Debug` of this crate shows a secret.

pub mod bootstrap;
pub mod check;
pub mod dev;

mod config;
mod connection;
mod error;
mod file;
mod kv;
mod name;
mod pki;
mod secret_id;
mod signer;
mod ssh;
mod transit;
mod vault;

pub use config::{AdminVault, VaultConfig};
pub use error::{Error, Result};
pub use kv::SecretMap;
pub use name::SecretPath;
pub use pki::{Identity, check_csr};
pub use secret_id::{deliver_secret_id, unwrap_secret_id, wrapped_secret_id};
pub use signer::{Record, SignerPath};
pub use vault::Vault;
