//! Leased machines on one Linux box: each is a set of namespaces with its own network card, sshd on port 22,
//! dockerd and disk, all on a private bridge from which no packet leaves. For tests, the demo and people.
//!
//! Deliberately absent: anything of Berth. A fresh machine is what a supplier owns on the first day, and it is
//! enrolled by the same command that a supplier runs.
//!
//! The library blocks; asynchronous callers use `spawn_blocking`. It needs root.

mod boot;
mod cgroup;
pub mod devnet;
mod error;
pub mod images;
mod machine;
mod registry;
mod rig;
mod search;
mod shell;
mod temporary;
mod wire;

pub use error::{Error, Result};
pub use machine::Machine;
pub use registry::Registry;
pub use rig::{Rig, RigConfig};
pub use search::Search;
pub use temporary::TemporaryRig;
