//! What a signature costs: the real `berth-signer`, on a Postgres that flushes and
//! a real Vault, is asked over mTLS connections that stay open. The floors are the
//! signature alone and the commit alone.
//!
//! Deliberately absent: limits. A slow run fails nothing; its ratio is read.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run must fail"
)]

#[path = "../../../services/signer/tests/compat/chain.rs"]
mod chain;
#[path = "../cpu.rs"]
mod cpu;
#[path = "../../../services/runtime/tests/support/eventually.rs"]
mod eventually;
mod fleet;
mod floor;
mod line;
mod load;
mod measure;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../../services/signer/tests/process/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../../services/signer/tests/compat/requests.rs"]
mod requests;
#[path = "../row.rs"]
mod row;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../../services/signer/tests/process/signer.rs"]
mod signer;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../../services/signer/tests/support/vault.rs"]
mod vault;

use tokio::runtime::Runtime;

fn main() {
    Runtime::new().unwrap().block_on(measure::all());
}
