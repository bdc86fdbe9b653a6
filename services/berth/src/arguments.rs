//! What no word of a command line may hold, whatever it means, refused before it
//! is looked at: characters that move a terminal, and texts that nobody types.

use std::ffi::OsString;

/// Longest word, in bytes.
const MOST: usize = 4096;

/// Looks at every word behind the name of the program.
///
/// # Errors
///
/// Names the argument and says what is wrong with it.
pub(crate) fn check(words: impl Iterator<Item = OsString>) -> Result<(), String> {
    let mut before = String::new();
    for (place, word) in words.skip(1).enumerate() {
        let text = word.to_str();
        let Some(problem) = problem(text) else {
            text.unwrap_or_default().clone_into(&mut before);
            continue;
        };
        let option = text
            .and_then(|text| text.split_once('='))
            .map_or(before.as_str(), |(option, _)| option);
        let named = option.starts_with('-') && self::problem(Some(option)).is_none();
        let place = place + 1;
        return Err(if named {
            format!("the value of {option} {problem}")
        } else {
            format!("word {place} of the command line {problem}")
        });
    }
    Ok(())
}

fn problem(text: Option<&str>) -> Option<&'static str> {
    // They turn the direction of writing, so that a text reads as another.
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let Some(text) = text else {
        return Some("is not UTF-8");
    };
    if text.len() > MOST {
        Some("is longer than 4096 bytes")
    } else if text.chars().any(|c| c.is_control() || turns(c)) {
        Some("holds control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;
    use clap::error::ErrorKind;
    use clap::{Arg, Command, CommandFactory as _};
    use std::any::TypeId;
    use std::collections::BTreeSet;
    use std::os::unix::ffi::OsStringExt as _;
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

    fn checked(words: &[&str]) -> Result<(), String> {
        check(words.iter().map(OsString::from))
    }

    #[test]
    fn what_no_argument_may_hold_is_refused_and_its_argument_named() {
        let long = "x".repeat(MOST + 1);
        for bad in ["a\u{1b}[2J", "a\nb", "a\0b", "a\u{7f}", "\u{202e}a", &long] {
            for (words, named) in [
                (vec!["berth", "--name", bad], "--name"),
                (vec!["berth", &format!("--name={bad}")], "--name"),
                (vec!["berth", "node", "show", bad], "word 3"),
                (vec!["berth", bad], "word 1"),
                (vec!["berth", &format!("--{bad}=x")], "word 1"),
            ] {
                let said = checked(&words).unwrap_err();
                assert!(said.contains(named) && said.len() < 100, "{said}");
                assert!(!said.contains(char::is_control), "{said:?}");
            }
        }
        let raw = [b"berth".to_vec(), b"--name".to_vec(), vec![0xff]];
        let said = check(raw.into_iter().map(OsString::from_vec)).unwrap_err();
        assert_eq!(said, "the value of --name is not UTF-8");
        assert_eq!(
            checked(&["berth", "node", "show", "Grün-1", "--wait"]),
            Ok(())
        );
    }

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
}
