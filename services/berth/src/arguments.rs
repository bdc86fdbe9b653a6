//! Every argument of `berth`, and which of them take any text. What no word may
//! hold, whatever it means, is refused before (`berth_input::arguments`).

use crate::Cli;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory as _};
use std::any::TypeId;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What may be any text to the parser: names and ids, which services look up
/// and check, and texts that mean nothing to Berth. A new argument that takes
/// any text needs a row, or better a parser of its own.
const FREE: &[&str] = &[
    "account",
    "address",
    "chain",
    "claim_gpu_model",
    "component",
    "display_name",
    "endpoint",
    "events",
    "fingerprint",
    "graffiti",
    "host_key",
    "incident",
    "lease",
    "listen",
    "machine",
    "memo",
    "mount_prefix",
    "name",
    "node",
    "offer",
    "peers",
    "public_key",
    "public_keys",
    "region",
    "seeds",
    "settings",
    "supplier",
    "to",
    "token",
    "unset",
    "url",
    "user",
    "validators",
    "webhook",
];

/// Calls back for each argument that takes a value, with the words before it.
fn walk(command: &Command, words: &mut Vec<String>, seen: &mut impl FnMut(&[String], &Arg)) {
    for argument in command.get_arguments() {
        if argument.get_action().takes_values() {
            seen(words, argument);
        }
    }
    for below in command.get_subcommands() {
        words.push(below.get_name().to_owned());
        walk(below, words, seen);
        words.pop();
    }
}

/// A command line with a value for an argument, and whatever stands before it.
fn line(words: &[String], argument: &Arg, value: &str) -> Vec<String> {
    let mut line = vec!["berth".to_owned()];
    line.extend_from_slice(words);
    match argument.get_long() {
        Some(long) => line.push(format!("--{long}={value}")),
        None => {
            line.push("--".to_owned());
            let before = argument.get_index().unwrap_or(1) - 1;
            line.resize(line.len() + before, "x".to_owned());
            line.push(value.to_owned());
        }
    }
    line
}

/// Whether the parser itself refuses a value and names its argument, whatever
/// else is missing.
fn refused(line: &[String], argument: &Arg) -> bool {
    let Err(error) = Cli::command().try_get_matches_from(line) else {
        return false;
    };
    let kinds = [ErrorKind::ValueValidation, ErrorKind::InvalidValue];
    let name = argument.get_id().as_str().replace('_', "-");
    let text = error.to_string().to_lowercase();
    kinds.contains(&error.kind()) && text.contains(&name) && error.exit_code() == 2
}

#[test]
fn every_argument_that_means_something_refuses_what_does_not() {
    let (mut free, mut count) = (BTreeSet::new(), 0);
    walk(&Cli::command(), &mut Vec::new(), &mut |words, argument| {
        if argument.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
            return;
        }
        count += 1;
        let id = argument.get_id().as_str();
        if !refused(&line(words, argument, "no such thing"), argument) {
            free.insert(id.to_owned());
            return;
        }
        for value in ["", "-1", "NaN", "1e400", "99999999999999999999999"] {
            let line = line(words, argument, value);
            assert!(refused(&line, argument), "{id} = {value:?}: {line:?}");
        }
    });
    assert!(count > 100, "{count} arguments");
    let listed: BTreeSet<String> = FREE.iter().map(|&id| id.to_owned()).collect();
    let taken: Vec<_> = free.difference(&listed).collect();
    assert!(taken.is_empty(), "taken as they are: {taken:?}");
    let gone: Vec<_> = listed.difference(&free).collect();
    assert!(gone.is_empty(), "listed for nothing: {gone:?}");
}
