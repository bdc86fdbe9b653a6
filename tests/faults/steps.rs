//! Provisioning that is killed at each step that it tells of.
//!
//! The steps are those of a launch and a retirement that nobody disturbs, on a
//! real machine. `make test` kills at every eighth of them, `make soak` at each
//! (`BERTH_STEPS`). Faults of single effects, before and after, are broken in
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
fn provisioning_killed_at_any_step_of_a_launch_or_a_retirement_does_no_harm() {
    let every = std::env::var_os("BERTH_STEPS");
    let every = every.map_or(8, |every| every.to_str().unwrap().parse().unwrap());
    let mut berth = Berth::start(Shape {
        machines: 2,
        replicas: 1,
    });
    berth.register(Berth::COSMOS);
    let undisturbed = life(&berth, "undisturbed", None);
    assert!(undisturbed.len() > 15, "{undisturbed:?}");
    for number in (0..undisturbed.len()).step_by(every) {
        let moment = &undisturbed[number];
        berth.note(&format!("killed at step {number}: {moment:?}"));
        life(&berth, &format!("killed-{number}"), Some(moment));
    }
    berth.stop();
}

/// Launches a node and retires it; its steps. With a moment at which provisioning
/// is killed.
fn life(berth: &Berth, name: &str, moment: Option<&Told>) -> Vec<Told> {
    launch(berth, name);
    let watch = berth.watch(name);
    let mut killed = false;
    let mut kill = |running: bool| {
        let Some(moment) = moment.filter(|_| !killed) else {
            return;
        };
        eventually("the moment to kill provisioning", LAUNCH, || {
            let events = watch.events();
            let over =
                |event: &Event| running && event.step == "state" && event.state == "STATE_RUNNING";
            if events.iter().any(|event| told(event) == *moment) {
                killed = true;
                berth.kill("provisioning");
                return Ok(());
            }
            events
                .iter()
                .any(over)
                .then_some(())
                .ok_or(format!("{:?}", events.last()))
        });
    };
    kill(true);
    let machine = runs_once(berth, name);
    berth.run(&["node", "retire", name]);
    kill(false);
    berth.node_becomes(name, "STATE_RETIRED", RETIREMENT);
    assert!(moment.is_none() || killed, "it never came to it");
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
    // How far an image or the chain is comes at another moment each time.
    let steady = |event: &&Event| event.percent <= 0 && event.step != "sync";
    let mut steps: Vec<Told> = watch.finish().iter().filter(steady).map(told).collect();
    steps.dedup();
    steps
}
