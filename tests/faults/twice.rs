//! Two control planes on one database by mistake.

use berth_tests::{Berth, Shape, eventually, program};
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest time until it has found out.
const NOTICED: Duration = Duration::from_mins(1);

#[test]
fn a_control_plane_with_another_vault_ends_before_it_touches_anything() {
    let shape = Shape {
        machines: 1,
        replicas: 1,
    };
    let (mut first, mut other) = (Berth::start(shape), Berth::start(shape));
    for role in ["provisioning", "leasing"] {
        let said = mistaken(&first, &other, role);
        assert!(
            said.contains("a control plane with another Vault"),
            "{role}: {said}"
        );
    }
    first.run(&["machine", "verify", "m1", "--wait"]);
    first.run(&["lease", "list"]);
    other.stop();
    first.stop();
    first.assert_no_errors();
}

/// Serves a role of a control plane on the database of another, and waits until that
/// ends badly by itself. What it said.
fn mistaken(first: &Berth, other: &Berth, role: &str) -> String {
    let config = |berth: &Berth| -> toml::Table {
        let text = fs::read_to_string(berth.dir().join("berth.toml")).unwrap();
        text.parse().unwrap()
    };
    let database = config(first)[role]["database"].clone();
    let mut config = config(other);
    let section = config[role].as_table_mut().unwrap();
    section.insert("database".to_owned(), database);
    for listener in ["listen", "placement_listen"] {
        if let Some(address) = section.get_mut(listener) {
            *address = "127.0.0.1:0".into();
        }
    }
    let file = other.dir().join("mistaken.toml");
    fs::write(&file, toml::to_string(&config).unwrap()).unwrap();
    let said = other.dir().join("mistaken.log");
    let log = File::create(&said).unwrap();
    let mut serve = Command::new(program("berth"));
    serve
        .args(["serve", role, "--end-with-parent", "--config"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let ended = other.rig().in_fabric(|| {
        let mut process = serve.spawn().unwrap();
        eventually("it ends by itself", NOTICED, || {
            let status = process.try_wait().unwrap();
            status.ok_or_else(|| fs::read_to_string(&said).unwrap())
        })
    });
    let said = fs::read_to_string(&said).unwrap();
    assert!(!ended.unwrap().success(), "{said}");
    said
}
