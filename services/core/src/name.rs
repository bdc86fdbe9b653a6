//! Names and free text that people choose, within limits.

use std::fmt;
use std::str::FromStr;

/// Longest name.
const MAX: usize = 63;

/// The text was not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 63 letters, digits, `-`, `_` or `.`, beginning with a letter or digit")]
pub struct ParseNameError;

/// A name such as `eth-1`: safe in a path, a label and a command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
pub struct Name(String);

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let first = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if first && text.len() <= MAX && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseNameError)
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a character moves what is shown around it: control characters, and
/// those that turn the direction of writing.
#[must_use]
pub fn is_control(c: char) -> bool {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}');
    let embeds = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns(c) || embeds(c)
}

/// Free text of at most `max` characters without control characters.
///
/// # Errors
///
/// What is wrong, for a field violation.
pub fn text(value: &str, max: usize) -> Result<String, String> {
    if value.chars().count() > max {
        Err(format!("longer than {max} characters"))
    } else if value.chars().any(is_control) {
        Err("holds control characters".to_owned())
    } else {
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shows_what_it_says() {
        assert!(text("Zürich, 東京", 20).is_ok());
        for bad in ["a\0", "a\u{1b}[31m", "a\nb", "gpu\u{202e}xof", "a\u{2066}b"] {
            assert!(text(bad, 20).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_safe_in_paths_and_labels() {
        for good in ["a", "eth-1", "Node.2_b", &"x".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "..", "a/b", "a b", "a\n", "é", &"x".repeat(64)] {
            assert_eq!(bad.parse::<Name>(), Err(ParseNameError), "{bad}");
        }
    }
}
