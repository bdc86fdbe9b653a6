//! The rows.

use crate::cpu::Processes;
use crate::fleet::{Fleet, VALIDATORS};
use crate::floor::{self, count};
use crate::load;
use crate::postgres::ADMIN;
use crate::row::{Row, Step, load_average};
use crate::signer::Site;
use std::sync::Arc;
use std::time::Duration;

/// How often the blocks of the steady load come: 200 a second.
const PERIOD: Duration = Duration::from_millis(5);
const BLOCKS: usize = 2000;
/// How long each of the other loads lasts, and each floor.
const SPAN: Duration = Duration::from_secs(5);
/// Signatures that a floor is measured on.
const SIGNATURES: u32 = 2000;
/// How often a burst is measured; the median counts.
const BURSTS: usize = 5;

/// What a burst should take at most: seconds, and times its floor.
const BURST: f64 = 1.5;
const BURST_BY_FLOOR: f64 = 1.3;

/// What is measured, and beside what.
struct Bench<'a> {
    site: &'a Site,
    fleet: Arc<Fleet>,
    processes: Processes,
    /// A database on the same Postgres.
    database: String,
}

/// Prints all rows.
pub(crate) async fn all() {
    let site = Site::start().await;
    let signer = site.serve().await;
    let fleet = Arc::new(Fleet::launch(&site).await);
    fleet.ready(&site).await;
    let bench = Bench {
        site: &site,
        fleet,
        processes: Processes::new(("signer", signer.id()), &site.postgres.data()),
        database: site.postgres.url(ADMIN, "postgres"),
    };
    // Everything is warm when it is measured.
    bench.fleet.connect(&site).await;
    load::sustained(&bench.fleet, 8, Duration::from_secs(2)).await;
    for row in bench.steady().await {
        row.show();
    }
    for (name, clients) in [
        ("signatures, 1 client", 1),
        ("signatures, 8 clients", 8),
        ("signatures, 32 clients", 32),
    ] {
        bench.sustained(name, clients).await.show();
    }
    for (name, distinct) in [
        ("3,125 votes at once, one root", false),
        ("3,125 votes at once, distinct roots", true),
    ] {
        bench.burst(name, distinct).await.show();
    }
}

impl Bench<'_> {
    async fn steady(&self) -> [Row; 2] {
        let load_average = load_average();
        let signatures = floor::signatures(SIGNATURES);
        let (commits, _) = floor::commits(&self.database, 1, SPAN).await;
        self.fleet.connect(self.site).await;
        let before = self.processes.used();
        let replies = load::steady(&self.fleet, BLOCKS, PERIOD).await;
        let used = self.processes.used().since(before);
        let row = |name, percent, aim, steps| {
            let value = quantile(&replies.waits, percent);
            let floor = quantile(&signatures, percent) + quantile(&commits, percent);
            Row {
                name,
                value,
                unit: "ms",
                floor,
                floor_name: "one signature, then one commit",
                ratio: value / floor,
                aim: Some(aim),
                load_average,
                steps,
            }
        };
        let each = used.steps(1e3 / count(BLOCKS), "ms");
        [
            row("request to reply at 200/s, p50", 50, 1.5, each),
            row("request to reply at 200/s, p99", 99, 10.0, Vec::new()),
        ]
    }

    async fn sustained(&self, name: &'static str, clients: i32) -> Row {
        let load_average = load_average();
        let seconds = floor::signatures_on_all_cores(SIGNATURES);
        let signatures = f64::from(SIGNATURES) / seconds;
        let (_, commits) = floor::commits(&self.database, clients, SPAN).await;
        self.fleet.connect(self.site).await;
        let before = self.processes.used();
        let replies = load::sustained(&self.fleet, clients, SPAN).await;
        let used = self.processes.used().since(before);
        let done = count(replies.waits.len());
        let value = done / replies.took;
        let (floor, floor_name) = if signatures < commits {
            (signatures, "signatures alone, all cores")
        } else {
            (commits, "commits alone, as many connections")
        };
        let step = |name: &str, value, unit| Step {
            name: name.to_owned(),
            value,
            unit,
        };
        let mut steps = vec![
            step("request to reply, p50", quantile(&replies.waits, 50), "ms"),
            step("request to reply, p99", quantile(&replies.waits, 99), "ms"),
            step("signatures alone", signatures, "/s"),
            step("commits alone", commits, "/s"),
        ];
        steps.extend(used.steps(1e3 / done, "ms"));
        Row {
            name,
            value,
            unit: "/s",
            floor,
            floor_name,
            ratio: value / floor,
            aim: None,
            load_average,
            steps,
        }
    }

    async fn burst(&self, name: &'static str, distinct: bool) -> Row {
        let load_average = load_average();
        let all = u32::try_from(VALIDATORS).unwrap();
        self.fleet.connect(self.site).await;
        let mut floors = Vec::new();
        let mut bursts = Vec::new();
        for _ in 0..BURSTS {
            floors.push(floor::signatures_on_all_cores(all));
            let votes = self.fleet.votes(distinct).await;
            let before = self.processes.used();
            let took = load::burst(&self.fleet, votes).await;
            bursts.push((took, self.processes.used().since(before)));
        }
        floors.sort_by(f64::total_cmp);
        bursts.sort_by(|one, other| one.0.total_cmp(&other.0));
        let ((value, used), floor) = (bursts[BURSTS / 2], floors[BURSTS / 2]);
        let mut steps = used.steps(1.0, "s");
        steps.push(Step {
            name: "slowest".to_owned(),
            value: bursts[BURSTS - 1].0,
            unit: "s",
        });
        Row {
            name,
            value,
            unit: "s",
            floor,
            floor_name: "as many signatures alone, all cores",
            ratio: value / floor,
            aim: Some(BURST.min(BURST_BY_FLOOR * floor)),
            load_average,
            steps,
        }
    }
}

/// The value that so many percent do not exceed.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
