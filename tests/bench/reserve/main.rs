//! Reservations: the cheapest of many machines that fits, through the handler of
//! the rpc, on a Postgres that flushes. The peers are the query that one writes
//! first and what `pgbench -N` commits on the same database.
//!
//! Deliberately absent: limits. A slow run fails nothing; its ratio is read. A
//! machine that two leases got fails it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run must fail"
)]

#[path = "../../../services/runtime/tests/support/eventually.rs"]
mod eventually;
mod market;
#[expect(dead_code, reason = "tests use the rest")]
#[path = "../../../services/signer/tests/process/postgres.rs"]
mod postgres;
#[path = "../row.rs"]
mod row;

use crate::market::{Market, Taken};
use crate::postgres::Postgres;
use crate::row::{Row, Step, load_average};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How many reserve at once, and what their rows are called. A replica of leasing
/// reserves for sixteen at most.
const CLIENTS: [(usize, [&str; 3]); 3] = [
    (
        8,
        [
            "reservations, 100,000 machines, 8 clients",
            "beside the naive query, 8 clients",
            "request to answer, 8 clients, p99",
        ],
    ),
    (
        32,
        [
            "reservations, 100,000 machines, 32 clients",
            "beside the naive query, 32 clients",
            "request to answer, 32 clients, p99",
        ],
    ),
    (
        64,
        [
            "reservations, 100,000 machines, 64 clients",
            "beside the naive query, 64 clients",
            "request to answer, 64 clients, p99",
        ],
    ),
];
/// How long each of the three has the server, in turn.
const SPAN: Duration = Duration::from_secs(4);
/// How often they come in turn; the median counts.
const ROUNDS: usize = 3;
/// How many machines the rates are measured with.
const MACHINES: usize = 100_000;
/// How many reservations one client makes for the growth with the fleet.
const LONE: usize = 100;

fn main() {
    Runtime::new().unwrap().block_on(async {
        let mut postgres = Postgres::start().await;
        postgres.stop();
        postgres
            .run(&["shared_buffers=1GB", "max_wal_size=4GB"])
            .await;
        let market = Market::open(&postgres, "rates", MACHINES).await;
        let naive = Market::open(&postgres, "naive", MACHINES).await;
        naive.index_the_price().await;
        market.prepare_pgbench(&postgres);
        for (clients, names) in CLIENTS {
            rates(&postgres, [&market, &naive], clients, names).await;
        }
        growth(&postgres).await;
    });
}

/// Reservations a second, in turn with the peers.
async fn rates(
    postgres: &Postgres,
    [market, naive]: [&Market; 2],
    clients: usize,
    names: [&'static str; 3],
) {
    let load_average = load_average();
    let (mut ours, mut first, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        commits.push(market.pgbench(postgres, clients, SPAN));
        ours.push(market.reserve(clients, SPAN).await);
        market.put_back().await;
        first.push(naive.reserve_naively(clients, SPAN).await);
        naive.put_back().await;
    }
    let each = |taken: &[Taken], of: fn(&Taken) -> f64| taken.iter().map(of).collect::<Vec<_>>();
    let value = median(each(&ours, Taken::rate));
    let commits = median(commits);
    let naive = median(each(&first, Taken::rate));
    let p99 = median(each(&ours, |taken| taken.wait(99)));
    let row = |name, value, unit, floor, floor_name, aim, steps| Row {
        name,
        value,
        unit,
        floor,
        floor_name,
        ratio: value / floor,
        aim: Some(aim),
        load_average,
        steps,
    };
    let waits = vec![
        step(
            "request to answer, p50",
            median(each(&ours, |taken| taken.wait(50))),
        ),
        step("request to answer, p99", p99),
    ];
    row(
        names[0],
        value,
        "/s",
        commits,
        "pgbench -N, as many clients",
        0.5 * commits,
        waits,
    )
    .show();
    let waits = vec![
        step("naive, p50", median(each(&first, |taken| taken.wait(50)))),
        step("naive, p99", median(each(&first, |taken| taken.wait(99)))),
    ];
    row(
        names[1],
        value,
        "/s",
        naive,
        "naive query with an index on the price",
        2.0 * naive,
        waits,
    )
    .show();
    row(
        names[2],
        p99,
        "ms",
        f64::from(u32::try_from(clients).unwrap()) * 1e3 / commits,
        "pgbench -N, mean",
        20.0,
        Vec::new(),
    )
    .show();
}

/// What one reservation takes, by the size of the fleet.
async fn growth(postgres: &Postgres) {
    let mut floor = None;
    for (name, machines) in [
        ("one client, 1,000 machines, p50", 1_000),
        ("one client, 10,000 machines, p50", 10_000),
        ("one client, 100,000 machines, p50", 100_000),
        ("one client, 1,000,000 machines, p50", 1_000_000),
    ] {
        let market = Market::open(postgres, &format!("m{machines}"), machines).await;
        let load_average = load_average();
        let taken = market.reserve_some(LONE).await;
        let value = taken.wait(50);
        let floor = *floor.get_or_insert(value);
        Row {
            name,
            value,
            unit: "ms",
            floor,
            floor_name: "the same among 1,000 machines",
            ratio: value / floor,
            aim: None,
            load_average,
            steps: vec![step("p99", taken.wait(99))],
        }
        .show();
        market.close(postgres).await;
    }
}

fn step(name: &str, value: f64) -> Step {
    Step {
        name: name.to_owned(),
        value,
        unit: "ms",
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
