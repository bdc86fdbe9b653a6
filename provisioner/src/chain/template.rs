//! Placeholders such as `{settings.moniker}` in templates, arguments and
//! environment.
//!
//! One pass of plain substitution: no conditions, no loops, and a value that is
//! put in is never looked at again. A brace that does not open a placeholder is
//! text, so JSON and TOML need no escapes.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{ChainEntry, Component, Custody, Role};
use crate::spec::Exposure;

/// Characters of a value that would mean something in a configuration file.
const UNSAFE: &[char] = &['"', '\'', '\\', '`', '$', '{', '}'];

/// Where a validator client asks for signatures.
pub(crate) const SIGNER_URL: &str = "signer.url";

/// Piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

fn parts(mut text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(open) = text.get(from..).and_then(|rest| rest.find('{')) {
        let open = from + open;
        let Some(name) = placeholder(&text[open + 1..]) else {
            from = open + 1;
            continue;
        };
        parts.push(Part::Text(&text[..open]));
        parts.push(Part::Placeholder(name));
        text = &text[open + name.len() + 2..];
        from = 0;
    }
    parts.push(Part::Text(text));
    parts
}

/// The name when the text goes on as `group.name}`.
fn placeholder(text: &str) -> Option<&str> {
    let (name, _) = text.split_once('}')?;
    let (group, rest) = name.split_once('.')?;
    let word = |word: &str, more: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
    };
    (word(group, "_") && word(rest, "_-")).then_some(name)
}

/// Names of the placeholders that stand in a text.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    parts(text).into_iter().filter_map(|part| match part {
        Part::Placeholder(name) => Some(name),
        Part::Text(_) => None,
    })
}

/// Puts the values in.
///
/// # Errors
///
/// The first name that has no value.
pub(crate) fn fill(text: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        out.push_str(match part {
            Part::Text(text) => text,
            Part::Placeholder(name) => values.get(name).ok_or_else(|| name.to_owned())?,
        });
    }
    Ok(out)
}

/// Names that a component's templates, arguments and environment may use.
pub(crate) fn known(entry: &ChainEntry, component: &Component) -> BTreeSet<String> {
    let fixed = [
        "chain.name",
        "chain.id",
        "node.name",
        "node.id",
        "machine.address",
        "bootstrap.peers",
        "bootstrap.seeds",
    ];
    let mut names: BTreeSet<String> = fixed.map(str::to_owned).into();
    names.extend(entry.settings.keys().map(|k| format!("settings.{k}")));
    names.extend(entry.pinned.keys().map(|k| format!("pinned.{k}")));
    for port in &entry.ports {
        names.insert(format!("port.{}", port.name));
        if port.exposure != Exposure::Private {
            names.insert(format!("host_port.{}", port.name));
        }
    }
    if signs(entry, component) {
        names.insert(SIGNER_URL.to_owned());
    }
    names.extend(component.volumes.keys().map(|v| format!("volume.{v}")));
    names.extend(
        entry
            .secrets
            .iter()
            .filter(|secret| secret.components.contains(&component.name))
            .map(|secret| format!("secret.{}", secret.name)),
    );
    names
}

/// Whether a component may ask the signer: nodes of other roles have none.
pub(crate) fn signs(entry: &ChainEntry, component: &Component) -> bool {
    entry.custody == Custody::RemoteSigner && component.roles == [Role::Validator]
}

/// Whether a value may be put into any configuration file: one line, without
/// quotes, backslashes, braces and `$`.
pub(crate) fn is_safe(value: &str) -> bool {
    !value.contains(UNSAFE) && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn placeholders_are_filled_once_and_other_braces_stay() {
        let values = values(&[("node.name", "{node.id}"), ("port.p2p-udp", "7")]);
        assert_eq!(
            fill(r#"{"a": {node.name}, {x} {{port.p2p-udp}} {"#, &values),
            Ok(r#"{"a": {node.id}, {x} {7} {"#.to_owned())
        );
        assert_eq!(fill("{node.colour}", &values), Err("node.colour".into()));
    }

    #[test]
    fn a_safe_value_cannot_leave_its_quotes_or_its_line() {
        assert!(is_safe("My node №1, eu-west"));
        for value in ["a\"b", "a'b", "a\nb", "a\\", "$(x)", "`x`", "{a.b}", "\0"] {
            assert!(!is_safe(value), "{value:?}");
        }
    }
}
