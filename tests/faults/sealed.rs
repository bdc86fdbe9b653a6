//! A Vault that does not answer while a node is launched.

use crate::{LAUNCH, launch};
use berth_tests::{Berth, Shape, eventually};

#[test]
fn a_launch_waits_for_a_sealed_vault_and_goes_on_by_itself() {
    let mut berth = Berth::start(Shape {
        machines: 1,
        replicas: 1,
    });
    berth.register(Berth::COSMOS);
    berth.seal_vault();
    launch(&berth, "patient");
    eventually("the node says why it waits", LAUNCH, || {
        let status = berth.node("patient")["status"].take();
        let reason = status["statusReason"].as_str().unwrap_or_default();
        if reason.contains("is sealed") {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    // It is unsealed when it is started again.
    berth.kill_vault();
    berth.node_becomes("patient", "STATE_RUNNING", LAUNCH);
    berth.node_is_healthy("patient", LAUNCH);
    berth.stop();
}
