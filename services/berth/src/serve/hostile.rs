//! Configurations that cannot be meant: each key of the printed defaults with each
//! wrong value, and files that are none. A new key is in the table by itself.

use super::config::{Config, DEFAULTS};
use super::{Role, check};
use std::path::Path;
use tempfile::TempDir;

/// What comes of a file with this text, for a role.
fn read(role: Role, text: &[u8]) -> Result<(), String> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("berth.toml");
    std::fs::write(&path, text).unwrap();
    read_at(role, &path)
}

fn read_at(role: Role, path: &Path) -> Result<(), String> {
    let loaded = berth_runtime::config::read(DEFAULTS, Some(path)).map_err(|e| e.to_string())?;
    let _: Config = loaded.whole().map_err(|e| e.to_string())?;
    check(role, &loaded).map_err(|e| e.to_string())
}

/// The keys of the defaults: section, then path in it, and the default.
fn keys() -> Vec<(String, String, toml::Value)> {
    fn walk(
        section: &str,
        path: &str,
        value: &toml::Value,
        out: &mut Vec<(String, String, toml::Value)>,
    ) {
        if let toml::Value::Table(table) = value {
            for (key, value) in table {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                walk(section, &path, value, out);
            }
        } else {
            out.push((section.to_owned(), path.to_owned(), value.clone()));
        }
    }
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    let mut out = Vec::new();
    for (section, value) in &defaults {
        walk(section, "", value, &mut out);
    }
    out
}

/// Roles that read a section: its own, or all.
fn readers(section: &str) -> Vec<Role> {
    let own = Role::ALL.into_iter().filter(|role| role.name() == section);
    let own: Vec<_> = own.collect();
    if own.is_empty() {
        Role::ALL.to_vec()
    } else {
        own
    }
}

/// The problem of a configuration, which is one short line.
fn problem(role: Role, text: &str) -> String {
    let Err(problem) = read(role, text.as_bytes()) else {
        panic!("{role} takes {text}");
    };
    assert!(!problem.contains(char::is_control), "{problem:?}");
    assert!(
        problem.starts_with("configuration: ") && problem.len() < 2048,
        "{problem}"
    );
    problem
}

#[test]
fn the_defaults_are_taken_by_every_role() {
    for role in Role::ALL {
        assert_eq!(read(role, b""), Ok(()), "{role}");
        let at_once = b"[vault]\nconnect_wait_seconds = 0";
        assert_eq!(read(role, at_once), Ok(()), "{role}");
    }
}

#[test]
fn a_key_with_a_value_of_another_type_is_named() {
    let keys = keys();
    assert!(keys.len() > 40, "{} keys", keys.len());
    for (section, path, _) in &keys {
        let last = path.rsplit('.').next().unwrap();
        for value in ["{ x = 1 }", "[[[]]]"] {
            for role in readers(section) {
                let problem = problem(role, &format!("{section}.{path} = {value}"));
                assert!(
                    problem.contains(last),
                    "{section}.{path} = {value}: {problem}"
                );
            }
        }
    }
}

#[test]
fn a_number_that_cannot_be_meant_is_named_with_what_it_may_be() {
    let numbers = keys()
        .into_iter()
        .filter(|(_, _, value)| value.is_integer());
    let mut seen = 0;
    for (section, path, _) in numbers {
        let last = path.rsplit('.').next().unwrap();
        let own = Role::ALL.iter().any(|role| role.name() == section);
        for value in [
            "-1",
            "99999999999",
            "9223372036854775807",
            "0.5",
            "nan",
            "\"\\u001b[2J\"",
        ] {
            // The common sections are checked by whoever uses them.
            if !own && !value.starts_with(['-', '"', 'n']) {
                continue;
            }
            for role in readers(&section) {
                let problem = problem(role, &format!("{section}.{path} = {value}"));
                assert!(
                    problem.contains(last),
                    "{section}.{path} = {value}: {problem}"
                );
            }
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen} numbers");
}

#[test]
fn an_unknown_key_is_named_with_those_that_there_are() {
    for (section, _, _) in keys() {
        for role in readers(&section) {
            let problem = problem(role, &format!("{section}.wish = 1"));
            assert!(
                problem.contains("wish") && problem.contains("expected"),
                "{section}: {problem}"
            );
        }
    }
    let section = problem(Role::Leasing, "[leesing]\nlisten = 1");
    assert!(
        section.contains("leesing") && section.contains("leasing"),
        "{section}"
    );
}

#[test]
fn a_file_that_is_none_is_named_with_the_line_where_it_breaks_off() {
    for (text, says) in [
        ("[leasing]\nlisten = ", "line 2"),
        (
            "[leasing]\ncharge_seconds = 1\ncharge_seconds = 2",
            "line 3",
        ),
        ("[leasing]\nlisten = \"a\0b\"", "line 2"),
        (&format!("x = {}", "[".repeat(100_000)), "line 1"),
        (
            &format!("# {}", "x".repeat(2 << 20)),
            "at most 1048576 bytes",
        ),
    ] {
        let problem = problem(Role::Leasing, text);
        assert!(
            problem.contains(says) && problem.contains("berth.toml"),
            "{problem}"
        );
    }
    let dir = TempDir::new().unwrap();
    for path in [
        dir.path().to_owned(),
        "/dev/zero".into(),
        dir.path().join("none.toml"),
    ] {
        let problem = read_at(Role::Leasing, &path).unwrap_err();
        assert!(problem.contains(&*path.to_string_lossy()), "{problem}");
    }
    assert!(read(Role::Leasing, b"\xff\xfe").is_err());
}
