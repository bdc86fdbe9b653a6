//! What no word of a command line may hold, whatever it means, refused before it
//! is looked at: characters that move a terminal, and texts that nobody types.

use berth_core::is_control;
use std::ffi::OsString;

/// Longest word, in bytes.
const MOST: usize = 64 << 10;

/// Looks at every word behind the name of the program.
///
/// # Errors
///
/// Names the argument and says what is wrong with it.
pub fn check(words: impl Iterator<Item = OsString>) -> Result<(), String> {
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
    let Some(text) = text else {
        return Some("is not UTF-8");
    };
    if text.len() > MOST {
        Some("is longer than 65,536 bytes")
    } else if text.chars().any(is_control) {
        Some("holds control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

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
}
