//! Everything that touches a leased machine: SSH, Docker, images, facts,
//! firewall, wipe; and the rendering of a chain's entry into what is to stand
//! on one.
//!
//! Nothing here knows a database or the API, and nothing decides by a clock:
//! the one reading of ours is the other side of a machine's clock offset.

pub mod chain;
pub mod docker;
pub mod drift;
pub mod error;
pub mod facts;
pub mod files;
pub mod firewall;
pub mod harden;
pub mod images;
pub mod prepare;
pub mod render;
pub mod setup;
pub mod spec;
pub mod ssh;
pub mod untrusted;
pub mod wipe;

pub use error::{BoxError, Error, Result};
pub use ssh::{Credentials, Exec, ExecOutput, HostKey, Machines, PoolConfig, Session, Target};
