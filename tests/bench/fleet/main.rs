//! 5,000 machines held open by one process: what a machine takes of its memory,
//! how long it takes to sign in to all anew, and what keepalives take of the
//! processors in a minute. The machines are fake and stand in another process.
//!
//! The pool of sessions is that of the provisioning service, which holds a
//! session with each machine that it ever worked on. Deliberately absent: the
//! rest of the service, and Vault, for which this process signs certificates.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run must fail"
)]

mod eventually;
mod holder;
mod machines;
mod peer;
#[path = "../row.rs"]
mod row;
#[path = "../usage.rs"]
mod usage;

use crate::eventually::{all_lost, none_lost};
use crate::holder::Holder;
use crate::machines::{MACHINES, Machines};
use crate::peer::{CLIENTS, Clients};
use crate::row::{Row, Step, load_average};
use crate::usage::{memory, processor_seconds};
use std::process;
use std::time::{Duration, Instant};

/// How long nobody does anything but keep alive: four keepalives.
const REST: Duration = Duration::from_secs(60);

/// A stretch of time.
struct Took {
    load_average: f64,
    seconds: f64,
    /// Seconds of processors: of this process, and of the machines.
    holder: f64,
    machines: f64,
}

fn main() {
    if machines::asked() {
        return machines::main();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let fleet = Machines::start(0);
    let port = fleet.port();
    let holder = Holder::new(port);
    let memories = [memory(process::id())];
    let (first, sessions) = timed(&fleet, holder.open()).await;
    let memories = [memories[0], memory(process::id())];
    // The first look finds Docker and keeps a connection with it.
    let (_, ()) = timed(&fleet, holder.look()).await;
    let (look, ()) = timed(&fleet, holder.look()).await;

    let (signing_in, clients) = timed(&fleet, async { Clients::open(port) }).await;
    let before = clients.processor_seconds();
    let (rest, ()) = timed(&fleet, none_lost(&sessions, REST)).await;
    let kept_alive = clients.processor_seconds() - before;
    show_memory(memories, rest.load_average, &clients);
    show_keepalives(&rest, kept_alive);
    drop(clients);

    drop(fleet);
    all_lost(&sessions).await;
    let fleet = Machines::start(port);
    let (again, _) = timed(&fleet, holder.open()).await;
    show_reconnect(&again, [&first, &look], signing_in.seconds);
}

/// How long something takes, and of whose processors.
async fn timed<T>(fleet: &Machines, work: impl Future<Output = T>) -> (Took, T) {
    let load_average = load_average();
    let used = || [process::id(), fleet.id()].map(processor_seconds);
    let ([holder, machines], begun) = (used(), Instant::now());
    let done = work.await;
    let seconds = begun.elapsed().as_secs_f64();
    let after = used();
    let took = Took {
        load_average,
        seconds,
        holder: after[0] - holder,
        machines: after[1] - machines,
    };
    (took, done)
}

/// Memory of a machine that was looked at; `before` there were sessions, and
/// when there were.
fn show_memory([before, signed_in]: [f64; 2], load_average: f64, clients: &Clients) {
    let a_machine = |kib: f64| (kib - before) / f64::from(MACHINES);
    let value = a_machine(memory(process::id()));
    let floor = clients.memory() / f64::from(CLIENTS);
    Row {
        name: "memory of a held machine, of 5,000",
        value,
        unit: "KiBy",
        floor,
        floor_name: "one OpenSSH client",
        ratio: value / floor,
        aim: None,
        load_average,
        steps: vec![
            step(
                "signed in, Docker not asked yet",
                a_machine(signed_in),
                "KiBy",
            ),
            step("this process before", before, "KiBy"),
        ],
    }
    .show();
}

/// Share of a core.
fn show_keepalives(rest: &Took, clients: f64) {
    let share = |seconds: f64| 100.0 * seconds / rest.seconds;
    let value = share(rest.holder);
    let floor = share(clients) * f64::from(MACHINES) / f64::from(CLIENTS);
    Row {
        name: "keepalives of 5,000 machines, of a core",
        value,
        unit: "%",
        floor,
        floor_name: "OpenSSH clients, 250 times 20",
        ratio: value / floor,
        aim: None,
        load_average: rest.load_average,
        steps: vec![step("the machines' side", share(rest.machines), "%")],
    }
    .show();
}

/// Seconds until all sessions are there again.
fn show_reconnect(again: &Took, [first, look]: [&Took; 2], clients: f64) {
    let floor = clients * f64::from(MACHINES) / f64::from(CLIENTS);
    Row {
        name: "5,000 machines signed in to again",
        value: again.seconds,
        unit: "s",
        floor,
        floor_name: "OpenSSH clients, 250 times 20",
        ratio: again.seconds / floor,
        aim: None,
        load_average: again.load_average,
        steps: vec![
            step("processor: this side", again.holder, "s"),
            step("processor: the machines", again.machines, "s"),
            step("for the first time", first.seconds, "s"),
            step("a look at all", look.seconds, "s"),
            step("a look at all, processor: this side", look.holder, "s"),
            step("a look at all, processor: the machines", look.machines, "s"),
        ],
    }
    .show();
}

fn step(name: &str, value: f64, unit: &'static str) -> Step {
    Step {
        name: name.to_owned(),
        value,
        unit,
    }
}
