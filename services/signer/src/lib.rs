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

pub mod batch;
pub mod domain;
pub mod keyring;
pub mod process;
pub mod roster;
pub mod sealing;
pub mod store;
pub mod web3signer;

use std::sync::Arc;

/// The present: Unix time in seconds, or why nothing may be signed now.
pub type Present = Arc<dyn Fn() -> Result<u64, domain::Refusal> + Send + Sync>;
