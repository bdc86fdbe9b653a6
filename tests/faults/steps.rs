//! Provisioning that is killed at each step that it tells of.
//!
//! The steps are those of a launch, a stop, a start and a retirement that nobody
//! disturbs, on a real machine. `make test` kills at every twelfth of them, `make soak`
//! at each (`BERTH_STEPS`). Faults of single effects, before and after, are broken in
//! `services/provisioning/tests`, on a scripted machine.

use crate::{LAUNCH, launch, runs_once};
use berth_tests::{Berth, Event, Shape, Sight, eventually};
use std::time::Duration;

/// How long a retirement may take in spite of everything.
const RETIREMENT: Duration = Duration::from_mins(2);

/// What a node's events say of what provisioning does, without what every life
/// has of its own.
type Told = (String, String);

fn told(event: &Event) -> Told {
    // A state comes with the step before it.
    (
        event.step.clone(),
        event.message.split(' ').next().unwrap().to_owned(),
    )
}

#[test]
fn provisioning_killed_at_any_step_of_a_nodes_life_does_no_harm() {
    let every = std::env::var_os("BERTH_STEPS");
    let every = every.map_or(12, |every| every.to_str().unwrap().parse().unwrap());
    let mut berth = Berth::start(Shape {
        machines: 2,
        replicas: 1,
    });
    berth.register(Berth::COSMOS);
    let undisturbed = life(&berth, "undisturbed", None);
    assert!(undisturbed.len() > 25, "{undisturbed:?}");
    for number in (0..undisturbed.len()).step_by(every) {
        let told = &undisturbed[number];
        berth.note(&format!("killed at step {number}, that of {told:?}"));
        life(&berth, &format!("killed-{number}"), Some(number));
    }
    berth.stop();
}

/// What is asked of a node, one after the other, and what it becomes.
const WISHES: [(&str, &str); 4] = [
    ("launch", "STATE_RUNNING"),
    ("stop", "STATE_STOPPED"),
    ("start", "STATE_RUNNING"),
    ("retire", "STATE_RETIRED"),
];

/// Launches a node, stops and starts it, and retires it; its steps. With the number
/// of the step at which provisioning is killed.
fn life(berth: &Berth, name: &str, number: Option<usize>) -> Vec<Told> {
    launch(berth, name);
    let watch = berth.watch(name);
    let mut number = number;
    let mut machine = None;
    for (wish, becomes) in WISHES {
        let before = watch.events().len();
        if wish != "launch" {
            berth.run(&["node", wish, name]);
        }
        eventually("the step to kill provisioning at", LAUNCH, || {
            let events = watch.events();
            if number.is_some_and(|number| steps(&events).len() > number) {
                number = None;
                berth.kill("provisioning");
                return Ok(());
            }
            let over = |event: &Event| event.step == "state" && event.state == becomes;
            let over = events[before..].iter().any(over);
            over.then_some(()).ok_or(format!("{:?}", events.last()))
        });
        berth.node_becomes(name, becomes, LAUNCH);
        if wish == "launch" {
            machine = Some(runs_once(berth, name));
        }
    }
    assert_eq!(number, None, "it never came to it");
    let machine = machine.unwrap();
    eventually("nothing is left on its machine", RETIREMENT, || {
        let sight = Sight::of(&machine);
        if sight.containers.is_empty() && sight.volumes.is_empty() && sight.networks.is_empty() {
            Ok(())
        } else {
            Err(format!("{sight:?}"))
        }
    });
    let open = "select count(*) from lease where state in ('pending', 'active')";
    assert_eq!(
        berth.sql("berth_leasing", open),
        "0",
        "no lease is left over"
    );
    steps(&watch.finish())
}

/// What is told of each step. How far an image or the chain is comes at another moment
/// each time.
fn steps(events: &[Event]) -> Vec<Told> {
    let steady = |event: &&Event| event.percent <= 0 && event.step != "sync";
    let mut steps: Vec<Told> = events.iter().filter(steady).map(told).collect();
    steps.dedup();
    steps
}
