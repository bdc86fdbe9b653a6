//! Configurations that cannot be meant, for each role. A new key is in the table by
//! itself.

#[path = "../../../runtime/tests/support/configurations.rs"]
mod configurations;

use super::config::{Config, DEFAULTS};
use super::{Role, check};
use configurations::{
    a_file_that_is_none_is_named, a_pipe_is_a_file, an_unknown_key_is_named,
    another_database_is_refused, given, keys, problem,
};
use std::path::Path;

/// How a role reads its file.
fn read(role: Role) -> impl Fn(&Path) -> Result<(), String> {
    move |path| {
        let loaded =
            berth_runtime::config::read(DEFAULTS, Some(path)).map_err(|e| e.to_string())?;
        let _: Config = loaded.whole().map_err(|e| e.to_string())?;
        check(role, &loaded).map_err(|e| e.to_string())
    }
}

/// The role whose own a section is.
fn owner(section: &str) -> Option<Role> {
    Role::ALL.into_iter().find(|role| role.name() == section)
}

/// Roles that read a section: its own, or all.
fn readers(section: &str) -> Vec<Role> {
    owner(section).map_or_else(|| Role::ALL.to_vec(), |role| vec![role])
}

#[test]
fn the_defaults_are_taken_by_every_role() {
    for role in Role::ALL {
        assert_eq!(given(&read(role), b""), Ok(()), "{role}");
        let at_once = b"[vault]\nconnect_wait_seconds = 0";
        assert_eq!(given(&read(role), at_once), Ok(()), "{role}");
    }
}

#[test]
fn a_key_with_a_value_of_another_type_is_named() {
    let keys = keys(DEFAULTS);
    assert!(keys.len() > 40, "{} keys", keys.len());
    for key in &keys {
        for role in readers(&key.section) {
            key.refuses_another_type(&read(role));
        }
    }
}

#[test]
fn a_number_that_cannot_be_meant_is_named_with_what_it_may_be() {
    let mut seen = 0;
    for key in keys(DEFAULTS).iter().filter(|key| key.is_number()) {
        for role in readers(&key.section) {
            key.refuses_numbers(&read(role), owner(&key.section).is_some());
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen} numbers");
}

#[test]
fn an_unknown_key_is_named_with_those_that_there_are() {
    for key in keys(DEFAULTS) {
        for role in readers(&key.section) {
            an_unknown_key_is_named(&read(role), &key.section);
        }
    }
    let section = problem(&read(Role::Leasing), "[leesing]\nlisten = 1");
    assert!(
        section.contains("leesing") && section.contains("leasing"),
        "{section}"
    );
}

#[test]
fn a_database_that_is_no_postgres_is_named_and_no_password_told() {
    for role in Role::ALL {
        let read = read(role);
        let key = format!("{role}.database.url");
        for url in ["postgres:///b", "postgresql://a:hunter2@db:5432/b"] {
            let line = format!("{key} = \"{url}\"");
            assert_eq!(given(&read, line.as_bytes()), Ok(()), "{line}");
        }
        another_database_is_refused(&read, &key);
    }
}

#[test]
fn a_file_that_is_none_is_named_with_the_line_where_it_breaks_off() {
    a_file_that_is_none_is_named(&read(Role::Leasing));
    a_pipe_is_a_file(&read(Role::Leasing));
}
