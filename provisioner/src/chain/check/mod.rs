//! What may stand in an entry: limits, names, and rules between fields.
//!
//! Every rule that is broken is reported, not only the first.

mod components;
mod mounts;
mod network;
mod observed;
mod upgrade;
mod words;

use std::collections::BTreeSet;

use super::SCHEMA;
use super::entry::{ChainEntry, Role, Source};
use super::error::{Path, Report};
use super::pinned;
use super::template::{self, is_safe};
use words::{is_absolute_path, is_file_name, is_identifier};

/// Most elements of a list in an entry, unless it has a limit of its own.
const MAX_LIST: usize = 64;
/// Longest template, in bytes.
const MAX_TEMPLATE: usize = 64 * 1024;
/// Longest text for people, in bytes.
const MAX_PROSE: usize = 500;

/// Checks the whole entry.
pub(super) fn check(entry: &ChainEntry) -> Report {
    let mut report = Report::default();
    identity(entry, &mut report);
    components::check(entry, &mut report);
    roles(entry, &mut report);
    network::ports(entry, &mut report);
    network::api(entry, &mut report);
    network::bootstrap(entry, &mut report);
    files(entry, &mut report);
    secrets(entry, &mut report);
    observed::probes(entry, &mut report);
    observed::health(entry, &mut report);
    observed::duty(entry, &mut report);
    upgrade::check(entry, &mut report);
    settings(entry, &mut report);
    report
}

/// Whether a text can be the version of an entry.
fn is_version(text: &str) -> bool {
    !text.is_empty() && text.len() <= 80 && is_safe(text)
}

fn identity(entry: &ChainEntry, report: &mut Report) {
    if entry.schema != SCHEMA {
        report.add(
            &Path::field("schema"),
            format!("version {} is not known here", entry.schema),
            format!("this Berth reads version {SCHEMA}"),
        );
    }
    report.ensure(
        is_identifier(&entry.name, 40),
        &Path::field("name"),
        "not a name of a chain",
        "up to 40 of `a-z`, `0-9`, `-`, the first a letter",
    );
    for (field, text, max) in [
        ("display_name", &entry.display_name, 80),
        ("chain_id", &entry.chain_id, 80),
        ("version", &entry.version, 80),
        ("licence", &entry.licence, MAX_PROSE),
    ] {
        report.ensure(
            !text.is_empty() && text.len() <= max && is_safe(text),
            &Path::field(field),
            "empty, too long, or with quotes, braces, `$` or line breaks",
            "write one plain line",
        );
    }
    report.ensure(
        entry.notice.len() <= MAX_PROSE && !entry.notice.chars().any(char::is_control),
        &Path::field("notice"),
        "too long, or more than one line",
        "write one plain line of at most 500 bytes",
    );
}

/// Every role has components and requirements.
fn roles(entry: &ChainEntry, report: &mut Report) {
    let path = Path::field("requirements");
    let run: BTreeSet<Role> = entry
        .components
        .iter()
        .flat_map(|c| c.roles.iter().copied())
        .collect();
    for role in run.difference(&entry.roles()) {
        report.add(
            &path,
            format!("nothing for the role `{role}`"),
            format!("add `[requirements.{role}]`; it may be empty"),
        );
    }
    for role in entry.roles().difference(&run) {
        report.add(
            &path.key(&role.to_string()),
            "no component runs this role",
            "name the role in a component's `roles`, or remove this table",
        );
    }
    for (role, wanted) in &entry.requirements {
        let path = path.key(&role.to_string());
        let flag = |f: &String| {
            !f.is_empty()
                && f.len() <= 32
                && f.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        report.ensure(
            wanted.cpu_flags.len() <= MAX_LIST && wanted.cpu_flags.iter().all(flag),
            &path.key("cpu_flags"),
            "not a list of CPU flags",
            "write them as `/proc/cpuinfo` does, such as `avx2`",
        );
        let driver = &wanted.gpu_driver;
        report.ensure(
            driver.len() <= 20 && driver.chars().all(|c| c.is_ascii_digit() || c == '.'),
            &path.key("gpu_driver"),
            "not a driver version",
            "such as `555` or `555.42.02`",
        );
        report.ensure(
            wanted.gpu_count >= entry.gpus(*role),
            &path.key("gpu_count"),
            "fewer GPUs than the components of the role use",
            "ask for at least as many as the sum of their `gpus`",
        );
    }
}

fn files(entry: &ChainEntry, report: &mut Report) {
    let list = Path::field("files");
    report.ensure(entry.files.len() <= MAX_LIST, &list, "too many files", "");
    let mut seen = BTreeSet::new();
    for (i, file) in entry.files.iter().enumerate().take(MAX_LIST) {
        let path = list.at(i);
        report.ensure(
            is_absolute_path(&file.path),
            &path.key("path"),
            "not an absolute path in a container",
            mounts::PATH,
        );
        report.ensure(
            seen.insert((&file.component, &file.path)),
            &path.key("path"),
            "the component has another file there",
            "",
        );
        let component = components::find(entry, &file.component, &path.key("component"), report);
        match (&file.template, file.source) {
            (Some(template), None) => {
                report.ensure(
                    template.len() <= MAX_TEMPLATE && is_text(template),
                    &path.key("template"),
                    "longer than 64 KiB, or with control characters",
                    "",
                );
                if let Some(component) = component {
                    placeholders(entry, component, template, &path.key("template"), report);
                }
            }
            (None, Some(Source::Genesis)) => report.ensure(
                entry.bootstrap.genesis.is_some(),
                &path.key("source"),
                "the entry has no genesis",
                "add `genesis = { file = \"genesis.json\" }` below `[bootstrap]`",
            ),
            (Some(_), Some(_)) | (None, None) => report.add(
                &path,
                "needs either `template` or `source`",
                "`template` is rendered, `source` is delivered as it is",
            ),
        }
    }
}

/// Text with line breaks and tabs, and no other control characters.
fn is_text(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// Every placeholder of a text has a value in that component.
fn placeholders(
    entry: &ChainEntry,
    component: &super::entry::Component,
    text: &str,
    path: &Path,
    report: &mut Report,
) {
    let known = template::known(entry, component);
    for name in template::names(text).filter(|name| !known.contains(*name)) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        report.add(
            path,
            format!("no placeholder `{{{name}}}`"),
            format!("component `{}` has {}", component.name, known.join(", ")),
        );
    }
}

fn secrets(entry: &ChainEntry, report: &mut Report) {
    let list = Path::field("secrets");
    report.ensure(
        entry.secrets.len() <= MAX_LIST,
        &list,
        "too many secrets",
        "",
    );
    let (mut names, mut files) = (BTreeSet::new(), BTreeSet::new());
    for (i, secret) in entry.secrets.iter().enumerate().take(MAX_LIST) {
        let path = list.at(i);
        report.ensure(
            is_identifier(&secret.name, 32) && names.insert(&secret.name),
            &path.key("name"),
            "not a name, or used before",
            "up to 32 of `a-z`, `0-9`, `-`",
        );
        report.ensure(
            is_file_name(&secret.file),
            &path.key("file"),
            "not a file name",
            "up to 64 letters, digits, `.`, `_`, `-`, the first no `.`",
        );
        report.ensure(
            !secret.components.is_empty() && secret.components.len() <= MAX_LIST,
            &path.key("components"),
            "nobody reads it",
            "name at least one component",
        );
        for (j, name) in secret.components.iter().enumerate().take(MAX_LIST) {
            let path = path.key("components").at(j);
            components::find(entry, name, &path, report);
            report.ensure(
                files.insert((name, &secret.file)),
                &path,
                "the component has another secret in a file of that name",
                "",
            );
        }
    }
}

fn settings(entry: &ChainEntry, report: &mut Report) {
    const KEY: &str = "up to 32 of `a-z`, `0-9`, `_`, the first a letter";
    for (table, len) in [
        ("settings", entry.settings.len()),
        ("pinned", entry.pinned.len()),
    ] {
        report.ensure(len <= MAX_LIST, &Path::field(table), "too many values", "");
    }
    for (name, setting) in &entry.settings {
        let path = Path::field("settings").key(name);
        report.ensure(is_setting_name(name), &path, "not a name of a setting", KEY);
        report.ensure(
            !setting.help.is_empty() && setting.help.len() <= MAX_PROSE && is_text(&setting.help),
            &path.key("help"),
            "empty, too long or not plain",
            "say in one line what the setting does",
        );
        report.ensure(
            setting.values.len() <= MAX_LIST,
            &path.key("values"),
            "too many values",
            "",
        );
        if let Some((field, why)) = setting.problem() {
            report.add(&path.key(field), why, "");
        }
    }
    for (name, value) in &entry.pinned {
        let path = Path::field("pinned").key(name);
        report.ensure(is_setting_name(name), &path, "not a name of a value", KEY);
        report.ensure(
            value.len() <= super::MAX_VALUE && is_safe(value),
            &path,
            "too long, or with quotes, backslashes, braces, `$` or line breaks",
            "write at most 256 plain bytes",
        );
        if let Some(why) = pinned::problem(name, value) {
            report.add(&path, "not what the signer reads", why);
        }
    }
}

fn is_setting_name(name: &str) -> bool {
    is_identifier(&name.replace('_', "-"), 32) && !name.contains('-')
}
