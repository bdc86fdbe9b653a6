//! The rows.

use crate::cpu::{Processes, Used};
use crate::export::POINTS;
use crate::fleet::{Answers, Fleet, Lines, NODES};
use crate::memory::Memory;
use crate::postgres::ADMIN;
use crate::row::{Row, Step, load_average};
use crate::site::{DATABASE, Site};
use sqlx::{Connection as _, PgConnection};

/// Rounds before anything is measured, then with one node at a time, then with
/// many.
const WARM: usize = 3;
const LONE: usize = 1;
const MANY: usize = 20;
/// Nodes that send at the same time.
const AT_ONCE: usize = 256;
/// What a core should do.
const AIM: f64 = 20_000.0;

/// What was measured, and the processors' time that it took.
struct Run {
    answers: Answers,
    used: Used,
    /// Of what receives, after it.
    memory: Memory,
    load_average: f64,
}

/// Prints all rows.
pub(crate) async fn all() {
    let rounds = WARM + LONE + MANY;
    let fleet = Fleet::new(rounds.try_into().unwrap());
    let site = Site::start().await;
    let data = site.postgres.data();

    let rotel = site.rotel().await;
    let mut lines = fleet.connect(rotel.address, None).await;
    lines.send(WARM, AT_ONCE).await;
    let processes = Processes::new(("rotel", rotel.id()), &data);
    let lone = run(&mut lines, &processes, LONE, 1).await;
    let many = run(&mut lines, &processes, MANY, AT_ONCE).await;
    let peer = [lone, many];
    drop((lines, rotel));

    let (monitoring, services) = site.monitoring().await;
    fleet.put(&services).await;
    let mut lines = fleet.connect(monitoring.address, Some(&site.pki)).await;
    lines.send(WARM, AT_ONCE).await;
    let processes = Processes::new(("monitoring", monitoring.id()), &data);
    let lone = run(&mut lines, &processes, LONE, 1).await;
    let many = run(&mut lines, &processes, MANY, AT_ONCE).await;
    kept(&site, NODES * rounds * POINTS).await;
    for row in rows(&peer, &[lone, many]) {
        row.show();
    }
}

async fn run(lines: &mut Lines<'_>, processes: &Processes, rounds: usize, at_once: usize) -> Run {
    let load_average = load_average();
    let before = processes.used();
    let answers = lines.send(rounds, at_once).await;
    Run {
        answers,
        used: processes.used().since(before),
        memory: Memory::of(processes.measured).expect("it runs"),
        load_average,
    }
}

/// Fails unless every point is there.
async fn kept(site: &Site, expected: usize) {
    let url = site.postgres.url(ADMIN, DATABASE);
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let kept: i64 = sqlx::query_scalar("select count(*) from sample")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(usize::try_from(kept), Ok(expected));
}

fn rows([lone_peer, many_peer]: &[Run; 2], [lone, many]: &[Run; 2]) -> [Row; 4] {
    let points = count(POINTS);
    let row = |name, value: f64, floor: f64, aim, run: &Run| Row {
        name,
        value,
        unit: "/s",
        floor,
        floor_name: "rotel, which drops them, without TLS",
        ratio: value / floor,
        aim,
        load_average: run.load_average,
        steps: run.steps(),
    };
    let p50 = |run: &Run| quantile(&run.answers.waits, 50);
    [
        row(
            "exports a second a core, monitoring alone",
            many.a_core(many.used.measured),
            many_peer.a_core(many_peer.used.measured),
            Some(AIM),
            many,
        ),
        row(
            "exports a second a core, with Postgres",
            many.a_core(many.used.measured + many.used.postgres),
            many_peer.a_core(many_peer.used.measured),
            Some(AIM),
            many,
        ),
        row(
            "points a second a core, with Postgres",
            points * many.a_core(many.used.measured + many.used.postgres),
            points * many_peer.a_core(many_peer.used.measured),
            None,
            many,
        ),
        Row {
            name: "one export after the other, p50",
            value: p50(lone),
            unit: "ms",
            floor: p50(lone_peer),
            floor_name: "rotel, which drops them, without TLS",
            ratio: p50(lone) / p50(lone_peer),
            aim: None,
            load_average: lone.load_average,
            steps: lone.steps(),
        },
    ]
}

impl Run {
    /// Exports a second, if all the time of these processors were one core's.
    fn a_core(&self, seconds: f64) -> f64 {
        count(self.answers.waits.len()) / seconds
    }

    fn steps(&self) -> Vec<Step> {
        let waits = &self.answers.waits;
        let done = count(waits.len());
        let step = |name: &str, value, unit| Step {
            name: name.to_owned(),
            value,
            unit,
        };
        let mut steps = vec![
            step("exports", done / self.answers.took, "/s"),
            step("request to answer, p50", quantile(waits, 50), "ms"),
            step("request to answer, p99", quantile(waits, 99), "ms"),
        ];
        steps.push(step("memory, PSS", self.memory.proportional, "MBy"));
        steps.push(step("memory, RSS", self.memory.resident, "MBy"));
        steps.extend(self.used.steps(1e6 / done, "us"));
        steps
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// The value that so many percent do not exceed.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
