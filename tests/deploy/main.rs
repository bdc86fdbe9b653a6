//! What `deploy/` holds fits what it is for: Kubernetes' published schemas, and
//! the commands, ports and keys that the executables really have.
//!
//! Deliberately absent: a cluster and a running systemd. Nothing is started
//! but the executables, to have them judge their arguments, alone and in their
//! images.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]

mod configuration;
mod images;
mod kubernetes;
mod rendered;
mod systemd;

use std::process::Command;

/// The roles of `berth serve`, and the signer.
const ROLES: [&str; 6] = [
    "gateway",
    "inventory",
    "leasing",
    "monitoring",
    "provisioning",
    "signer",
];

/// Sees that an executable understands these arguments: with a configuration
/// that is not there it complains of that, and not of them.
fn understands(executable: &str, arguments: &[&str]) {
    let missing = "/nowhere/at-all.toml";
    let mut words: Vec<&str> = arguments.to_vec();
    let config = words.iter().position(|word| *word == "--config").unwrap();
    words[config + 1] = missing;
    let ended = Command::new(berth_tests::program(executable))
        .args(&words)
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    let complains = ended.status.code() == Some(1) && said.contains(missing);
    assert!(complains, "{executable} {words:?}: {} {said}", ended.status);
}

#[test]
#[should_panic(expected = "unexpected argument")]
fn an_argument_that_no_executable_has_is_found() {
    understands("berth", &["serve", "leasing", "--config", "x", "--fast"]);
}
