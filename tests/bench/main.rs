//! Benchmarks: each value beside its floor or its peer, measured in the same
//! run on the same machine. Prints a table, and appends a JSON object a line to
//! `target/bench.jsonl`.
//!
//! Deliberately absent: limits. A slow run fails nothing; its ratio is read.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run must fail"
)]

mod launch;
mod row;

fn main() {
    let rows = [launch::row()];
    for row in &rows {
        print!("{row}");
        row.keep();
    }
}
