//! The agent: the one program of Berth that runs on a leased machine.
//!
//! It stands in a container on the node's bridge network, measures the node and
//! pushes what it measured to monitoring. For a node that signs it also carries
//! requests of the validator client to the signer. The machine is not trusted, and
//! neither is the node: whatever comes from them is bounded in time and size.
//!
//! Deliberately absent: Docker, SSH, a database, Vault, a port that is reached from
//! outside the bridge, and any decision about safety. Container state is read by
//! provisioning; whether a placement may act is decided by its fence.

pub mod backoff;
pub mod buffer;
pub mod clock;
pub mod config;
pub mod export;
pub mod heartbeat;
pub mod identity;
pub mod otlp;
pub mod peer;
pub mod probe;
pub mod renew;
pub mod run;
pub mod sample;
pub mod signer;
