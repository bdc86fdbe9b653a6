//! Configuration files: every key is one that the executable knows, and of its
//! kind.

use berth_tests::{output, program};
use std::process::Command;
use toml::{Table, Value};

/// Executable of a role, and the words before `--config`.
pub(crate) fn command(role: &str) -> (&'static str, Vec<&str>) {
    if role == "signer" {
        ("berth-signer", vec!["serve"])
    } else {
        ("berth", vec!["serve", role])
    }
}

/// Every key with its default, as the executable prints it.
fn defaults(role: &str) -> Table {
    let mut print = match command(role).0 {
        "berth" => {
            let mut print = Command::new(program("berth"));
            print.arg("serve");
            print
        }
        signer => Command::new(program(signer)),
    };
    let printed = output(print.arg("--print-config"));
    String::from_utf8(printed).unwrap().parse().unwrap()
}

/// Keys of `given` that `known` lacks or has of another kind.
fn unknown(path: &str, given: &Table, known: &Table) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, value) in given {
        let path = format!("{path}{key}");
        match (value, known.get(key)) {
            (Value::Table(given), Some(Value::Table(known))) => {
                wrong.extend(unknown(&format!("{path}."), given, known));
            }
            (value, Some(known)) if value.same_type(known) => {}
            (_, Some(_)) => wrong.push(format!("{path} is of another kind")),
            (_, None) => wrong.push(format!("{path} is no key")),
        }
    }
    wrong
}

/// Reads the configuration of a role and sees that every key exists.
pub(crate) fn read(role: &str, text: &str) -> Table {
    let given: Table = text.parse().unwrap();
    let wrong = unknown("", &given, &defaults(role));
    assert!(wrong.is_empty(), "{role}: {wrong:?}");
    given
}

/// The port of an address.
pub(crate) fn port(address: &Value) -> u64 {
    let text = address.as_str().unwrap();
    text.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
#[should_panic(expected = "leasing.charge_second is no key")]
fn a_key_that_the_executable_does_not_know_is_found() {
    read("leasing", "[leasing]\ncharge_second = 1");
}

#[test]
#[should_panic(expected = "leasing.charge_seconds is of another kind")]
fn a_key_of_another_kind_is_found() {
    read("leasing", "[leasing]\ncharge_seconds = \"1\"");
}
