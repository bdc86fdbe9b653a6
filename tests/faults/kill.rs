//! Services that are killed while they work.

use crate::{LAUNCH, Moment, launch, runs_once};
use berth_tests::{Berth, Shape, eventually};

/// Each role, and when it is killed.
const KILLS: [(&str, Moment); 6] = [
    ("leasing", |event| event.step == "lease"),
    ("inventory", |event| event.step == "gates"),
    ("provisioning", |event| {
        event.step == "image" && event.percent > 0
    }),
    ("signer", |event| event.step == "secrets"),
    ("monitoring", |event| event.step == "containers"),
    ("gateway", |event| event.step == "answer"),
];

#[test]
fn a_service_killed_at_any_time_during_a_launch_does_no_harm() {
    // One to launch on, while the other is still being wiped.
    let mut berth = Berth::start(Shape {
        machines: 2,
        replicas: 1,
    });
    berth.register(Berth::COSMOS);
    for (role, when) in KILLS {
        let name = format!("without-{role}");
        launch(&berth, &name);
        let watch = berth.watch(&name);
        watch.wait_for(&format!("the moment to kill {role}"), LAUNCH, when);
        berth.kill(role);
        runs_once(&berth, &name);
        berth.run(&["node", "retire", &name, "--wait"]);
        let told: Vec<i64> = watch.finish().iter().map(|event| event.sequence).collect();
        let all: Vec<i64> = (1..).take(told.len()).collect();
        assert_eq!(
            told, all,
            "a watch lives on without {role} and misses nothing"
        );
    }
    // Nothing of these launches asked it.
    eventually("the signer answers again", LAUNCH, || {
        let answer = berth.ask(&["key", "list"]);
        answer.code.filter(|code| *code == 0).ok_or(answer.said)
    });
    berth.stop();
}
