//! What an export of an agent costs: the real monitoring, in a process of its own
//! and on a Postgres that flushes, receives them over mutual TLS from many nodes.
//! The peer is a collector that receives the same exports and drops them.
//!
//! Deliberately absent: limits. A slow run fails nothing; its ratio is read. A
//! point that was accepted and is not there fails it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run must fail"
)]

#[path = "../../../services/runtime/tests/support/authority.rs"]
mod authority;
#[path = "../cpu.rs"]
mod cpu;
#[path = "../../../services/runtime/tests/support/eventually.rs"]
mod eventually;
mod export;
mod fleet;
#[path = "../../../services/runtime/tests/support/held.rs"]
mod held;
mod line;
mod measure;
#[path = "../memory.rs"]
mod memory;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../../services/signer/tests/process/postgres.rs"]
mod postgres;
#[path = "../row.rs"]
mod row;
mod site;

use std::env;
use std::path::Path;
use tokio::runtime::Runtime;

fn main() {
    let runtime = Runtime::new().unwrap();
    let arguments: Vec<_> = env::args().collect();
    match &arguments[1..] {
        [what, folder] if what == site::SERVE => {
            runtime.block_on(site::serve(Path::new(folder)));
        }
        _ => runtime.block_on(measure::all()),
    }
}
