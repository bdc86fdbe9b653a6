//! Configurations of the signer that cannot be meant. A new key is in the table by
//! itself.

#[path = "../../../runtime/tests/support/configurations.rs"]
mod configurations;

use super::{DEFAULTS, load};
use configurations::{
    a_file_that_is_none_is_named, a_pipe_is_a_file, an_unknown_key_is_named,
    another_database_is_refused, given, keys, problem,
};
use std::path::Path;

fn read(path: &Path) -> Result<(), String> {
    load(Some(path)).map(drop).map_err(|e| e.to_string())
}

#[test]
fn the_defaults_are_complete() {
    let file = load(None).unwrap();
    assert_eq!(file.signer.listen.to_string(), "127.0.0.1:7205");
    for sound in [
        "",
        "vault.connect_wait_seconds = 0",
        "signer.database.url = \"postgresql://signer:p%2Fw@db:5432/berth_signer?sslmode=require\"",
        // Tests take whichever ports are free.
        "signer = { listen = \"127.0.0.1:0\", duty_listen = \"127.0.0.1:0\" }",
    ] {
        assert_eq!(given(&read, sound.as_bytes()), Ok(()), "{sound}");
    }
}

#[test]
fn a_key_with_a_value_of_another_type_is_named() {
    let keys = keys(DEFAULTS);
    assert!(keys.len() > 10, "{} keys", keys.len());
    for key in &keys {
        key.refuses_another_type(&read);
    }
}

#[test]
fn a_number_that_cannot_be_meant_is_named_with_what_it_may_be() {
    let mut seen = 0;
    for key in keys(DEFAULTS).iter().filter(|key| key.is_number()) {
        key.refuses_numbers(&read, key.section == "signer");
        seen += 1;
    }
    assert_eq!(seen, 3);
    for key in ["vault.timeout_seconds", "signer.database.max_connections"] {
        let problem = problem(&read, &format!("{key} = 0"));
        assert!(
            problem.contains(key) && problem.contains("from 1"),
            "{problem}"
        );
    }
}

#[test]
fn an_unknown_key_is_named_with_those_that_there_are() {
    for section in ["telemetry", "vault", "peers", "signer", "signer.database"] {
        an_unknown_key_is_named(&read, section);
    }
    let section = problem(&read, "[singer]\nlisten = 1");
    assert!(
        section.contains("singer") && section.contains("signer"),
        "{section}"
    );
}

#[test]
fn an_address_that_cannot_be_meant_is_named_and_no_password_told() {
    for (line, key) in [
        ("signer.duty_listen = \"127.0.0.1:7205\"", "duty_listen"),
        ("signer.listen = \"nowhere\"", "listen"),
        ("signer.listen = \"127.0.0.1:65536\"", "listen"),
    ] {
        let problem = problem(&read, line);
        assert!(problem.contains(key), "{line}: {problem}");
    }
    another_database_is_refused(&read, "signer.database.url");
}

#[test]
fn a_file_that_is_none_is_named_with_the_line_where_it_breaks_off() {
    a_file_that_is_none_is_named(&read);
    a_pipe_is_a_file(&read);
}
