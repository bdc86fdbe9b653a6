//! What the owner of a node chose, checked against what the entry offers.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use super::entry::{ChainEntry, Role, Setting, SettingKind};
use super::template::{self, is_safe};

/// Longest value of a setting, in bytes.
pub const MAX_VALUE: usize = 256;

/// The default that stands for the name of the node.
const NODE_NAME: &str = "{node.name}";

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("settings.{name}: {problem}")]
pub struct SettingProblem {
    /// Name of the setting, as the owner wrote it.
    pub name: String,
    /// What is wrong, and what is expected.
    pub problem: String,
}

impl ChainEntry {
    /// The value of every setting: what was chosen, else its default. One
    /// without a default has none where the role does not use it.
    ///
    /// # Errors
    ///
    /// Every setting that is unknown, is missing, or has a value that does not fit.
    pub fn settings(
        &self,
        role: Role,
        chosen: &BTreeMap<String, String>,
        node_name: &str,
    ) -> Result<BTreeMap<String, String>, Vec<SettingProblem>> {
        let mut problems = Vec::new();
        let mut values = BTreeMap::new();
        let mut problem = |name: &str, problem: String| {
            problems.push(SettingProblem {
                name: name.chars().filter(|c| !c.is_control()).take(64).collect(),
                problem,
            });
        };
        for name in chosen.keys().filter(|k| !self.settings.contains_key(*k)) {
            let known: Vec<&str> = self.settings.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "this chain has none".to_owned()
            } else {
                format!("known are {}", known.join(", "))
            };
            problem(name, format!("no such setting; {known}"));
        }
        for (name, setting) in &self.settings {
            let default = || Some(setting.default.as_ref()?.replace(NODE_NAME, node_name));
            let Some(value) = chosen.get(name).cloned().or_else(default) else {
                if self.uses(role, name) {
                    problem(name, format!("is required; {}", setting.help));
                }
                continue;
            };
            match setting.check(&value) {
                Ok(()) => {
                    values.insert(name.clone(), value);
                }
                Err(why) => problem(name, why),
            }
        }
        if problems.is_empty() {
            Ok(values)
        } else {
            Err(problems)
        }
    }

    /// Whether a component of a role uses a setting.
    fn uses(&self, role: Role, setting: &str) -> bool {
        let wanted = format!("settings.{setting}");
        self.components_of(role).any(|component| {
            let words = component.entrypoint.iter().chain(&component.command);
            let words = words.chain(component.env.values());
            let own = self.files.iter().filter(|f| f.component == component.name);
            words
                .chain(own.filter_map(|file| file.template.as_ref()))
                .any(|text| template::names(text).any(|name| name == wanted))
        })
    }
}

impl Setting {
    /// Says what is wrong with a value.
    fn check(&self, value: &str) -> Result<(), String> {
        if value.len() > MAX_VALUE {
            return Err(format!("longer than {MAX_VALUE} bytes"));
        }
        if !is_safe(value) {
            return Err("quotes, backslashes, braces, `$` and line breaks are not allowed".into());
        }
        match self.kind {
            SettingKind::Text => {
                let pattern = self.pattern.as_deref().unwrap_or_default();
                match compile(pattern) {
                    Ok(regex) if regex.is_match(value) => Ok(()),
                    Ok(_) => Err(format!("does not match `{pattern}`")),
                    Err(why) => Err(why),
                }
            }
            SettingKind::Integer => {
                let (min, max) = self.range();
                match value.parse::<i64>() {
                    Ok(number) if (min..=max).contains(&number) => Ok(()),
                    Ok(_) | Err(_) => Err(format!("expected a number from {min} to {max}")),
                }
            }
            SettingKind::Boolean if matches!(value, "true" | "false") => Ok(()),
            SettingKind::Boolean => Err("expected `true` or `false`".into()),
            SettingKind::Choice if self.values.iter().any(|v| v == value) => Ok(()),
            SettingKind::Choice => Err(format!("expected one of {}", self.values.join(", "))),
        }
    }

    fn range(&self) -> (i64, i64) {
        (self.min.unwrap_or(i64::MIN), self.max.unwrap_or(i64::MAX))
    }

    /// Says what is wrong with the declaration: the field and why.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let only = |field, kind, given: bool, wanted: SettingKind| {
            (given && self.kind != wanted).then(|| (field, format!("only for the type `{kind}`")))
        };
        only("pattern", "text", self.pattern.is_some(), SettingKind::Text)
            .or_else(|| only("min", "integer", self.min.is_some(), SettingKind::Integer))
            .or_else(|| only("max", "integer", self.max.is_some(), SettingKind::Integer))
            .or_else(|| {
                only(
                    "values",
                    "choice",
                    !self.values.is_empty(),
                    SettingKind::Choice,
                )
            })
            .or_else(|| self.incomplete())
            .or_else(|| self.bad_default())
    }

    fn incomplete(&self) -> Option<(&'static str, String)> {
        match self.kind {
            SettingKind::Text => match &self.pattern {
                None => Some(("pattern", "a text needs a pattern".into())),
                Some(pattern) => compile(pattern).err().map(|why| ("pattern", why)),
            },
            SettingKind::Choice if self.values.is_empty() => {
                Some(("values", "a choice needs values".into()))
            }
            SettingKind::Choice | SettingKind::Boolean | SettingKind::Integer => None,
        }
    }

    fn bad_default(&self) -> Option<(&'static str, String)> {
        let default = self.default.as_deref()?;
        if default == NODE_NAME && self.kind == SettingKind::Text {
            return None;
        }
        if template::names(default).next().is_some() {
            return Some((
                "default",
                format!("only `{NODE_NAME}` may stand here, alone"),
            ));
        }
        self.check(default).err().map(|why| ("default", why))
    }
}

/// A pattern that must match the whole text, with a bounded size.
fn compile(pattern: &str) -> Result<Regex, String> {
    const MAX_SIZE: usize = 1 << 18;
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(MAX_SIZE)
        .nest_limit(16)
        .build()
        .map_err(|_| "not a regular expression, or too large a one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_without_a_default_is_required_where_it_is_used() {
        let text = include_str!("../../tests/golden/validator/chain.toml");
        let entry = ChainEntry::parse(text).unwrap();
        let settings = |role, chosen: &[(&str, &str)]| {
            let chosen = chosen.iter();
            let chosen = chosen.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            entry.settings(role, &chosen.collect(), "mine")
        };
        let [missing] = settings(Role::Validator, &[])
            .unwrap_err()
            .try_into()
            .unwrap();
        assert_eq!(missing.name, "fee_recipient");
        assert!(missing.problem.starts_with("is required"), "{missing}");
        assert_eq!(settings(Role::Full, &[]).unwrap(), BTreeMap::new());

        let address = format!("0x{}", "aB".repeat(20));
        let chosen = settings(Role::Validator, &[("fee_recipient", &address)]).unwrap();
        assert_eq!(chosen["fee_recipient"], address);
        for wrong in ["", "0x", "aB", &address[2..], &format!("{address}0")] {
            let refused = settings(Role::Validator, &[("fee_recipient", wrong)]);
            assert!(refused.is_err(), "{wrong}");
        }
    }
}
