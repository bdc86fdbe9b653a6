//! Components: images, arguments, mounts and limits.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::words::{is_digest, is_identifier, is_repository, is_tag};
use super::{MAX_LIST, mounts, placeholders};
use crate::chain::entry::{ChainEntry, Component, Image};
use crate::chain::error::{Path, Report};

/// Longest argument or value of an environment variable, before values are put in.
const MAX_ARGUMENT: usize = 1024;
/// Names that Berth needs for itself.
const RESERVED: &[&str] = &["agent", "berth-signer", "localhost"];
/// Programs that would read an argument as more than an argument.
const SHELLS: &[&str] = &[
    "sh", "ash", "bash", "busybox", "csh", "dash", "env", "ksh", "sudo", "xargs", "zsh",
];
/// Capabilities that let a container do nothing to its machine.
const CAPABILITIES: &[&str] = &["IPC_LOCK", "NET_BIND_SERVICE", "SYS_NICE"];
/// Parts of a variable's name that announce a secret.
const SECRET_WORDS: &[&str] = &["PASSWORD", "SECRET", "TOKEN", "PRIVATE_KEY", "MNEMONIC"];

/// The component of that name, or a problem.
pub(super) fn find<'a>(
    entry: &'a ChainEntry,
    name: &str,
    path: &Path,
    report: &mut Report,
) -> Option<&'a Component> {
    let found = entry.components.iter().find(|c| c.name == name);
    if found.is_none() {
        let names: Vec<&str> = entry.components.iter().map(|c| c.name.as_str()).collect();
        report.add(
            path,
            "no such component",
            format!("the entry has {}", names.join(", ")),
        );
    }
    found
}

pub(super) fn check(entry: &ChainEntry, report: &mut Report) {
    let list = Path::field("components");
    report.ensure(
        (1..=8).contains(&entry.components.len()),
        &list,
        "needs 1 to 8 components",
        "",
    );
    let mut names = BTreeSet::new();
    for (i, component) in entry.components.iter().enumerate().take(MAX_LIST) {
        let path = list.at(i);
        report.ensure(
            is_identifier(&component.name, 20) && !RESERVED.contains(&component.name.as_str()),
            &path.key("name"),
            "not a name of a component",
            "up to 20 of `a-z`, `0-9`, `-`; `agent` is Berth's own",
        );
        report.ensure(
            names.insert(&component.name),
            &path.key("name"),
            "another component has that name",
            "",
        );
        let roles: BTreeSet<_> = component.roles.iter().collect();
        report.ensure(
            !roles.is_empty() && roles.len() == component.roles.len(),
            &path.key("roles"),
            "empty, or a role twice",
            "name the roles that run this component",
        );
        image(&component.image, &path.key("image"), report);
        program(entry, component, &path, report);
        mounts::check(entry, component, &path, report);
        limits(component, &path, report);
    }
}

fn image(image: &Image, path: &Path, report: &mut Report) {
    report.ensure(
        is_repository(&image.repository),
        &path.key("repository"),
        "not a repository",
        "such as `ghcr.io/cosmos/gaia`, without tag or digest",
    );
    report.ensure(
        is_tag(&image.tag),
        &path.key("tag"),
        "not a tag",
        "such as `v27.6.0`",
    );
    if let Some(digest) = &image.digest {
        report.ensure(
            is_digest(digest),
            &path.key("digest"),
            "not a digest",
            "`sha256:` and 64 of `0-9`, `a-f`; leave it out, `berth chain pin` fetches it",
        );
    }
    if let Some(recipe) = &image.build {
        report.ensure(
            is_identifier(recipe, 40),
            &path.key("build"),
            "not a name of a recipe",
            "the name of its folder below `images/`",
        );
    }
}

fn program(entry: &ChainEntry, component: &Component, path: &Path, report: &mut Report) {
    let plain = |text: &str| text.len() <= MAX_ARGUMENT && !text.chars().any(char::is_control);
    for (field, list) in [
        ("entrypoint", &component.entrypoint),
        ("command", &component.command),
    ] {
        let path = path.key(field);
        report.ensure(list.len() <= 128, &path, "more than 128 arguments", "");
        for (i, argument) in list.iter().enumerate().take(128) {
            report.ensure(
                plain(argument),
                &path.at(i),
                "longer than 1024 bytes, or with control characters",
                "long or structured values go into `[[files]]`",
            );
            placeholders(entry, component, argument, &path.at(i), report);
        }
    }
    let (field, first) = match component.entrypoint.first() {
        Some(first) => ("entrypoint", Some(first)),
        None => ("command", component.command.first()),
    };
    let program = first.map(|first| first.rsplit('/').next().unwrap_or_default());
    report.ensure(
        !program.is_some_and(|program| SHELLS.contains(&program)),
        &path.key(field).at(0),
        "a shell",
        "name the program itself; what a shell would do belongs into the image",
    );
    environment(entry, component, &path.key("env"), report);
}

fn environment(entry: &ChainEntry, component: &Component, path: &Path, report: &mut Report) {
    report.ensure(
        component.env.len() <= MAX_LIST,
        path,
        "too many variables",
        "",
    );
    for (name, value) in component.env.iter().take(MAX_LIST) {
        let path = path.key(name);
        let word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.len() <= 64
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        report.ensure(
            word,
            &path,
            "not a name of a variable",
            "such as `LOG_LEVEL`",
        );
        let upper = name.to_ascii_uppercase();
        report.ensure(
            upper.ends_with("_FILE") || !SECRET_WORDS.iter().any(|w| upper.contains(w)),
            &path,
            "looks like a secret",
            "the environment is readable on the machine: use `[[secrets]]` and a file",
        );
        report.ensure(
            value.len() <= MAX_ARGUMENT && !value.chars().any(char::is_control),
            &path,
            "longer than 1024 bytes, or with control characters",
            "long or structured values go into `[[files]]`",
        );
        placeholders(entry, component, value, &path, report);
    }
}

fn limits(component: &Component, path: &Path, report: &mut Report) {
    let user = component.user.split_once(':');
    let ordinary = |id: &str| {
        id.len() <= 5
            && !id.starts_with('0')
            && id.bytes().all(|b| b.is_ascii_digit())
            && id.parse::<u16>().is_ok_and(|id| id >= 1)
    };
    report.ensure(
        user.is_some_and(|(uid, gid)| ordinary(uid) && ordinary(gid)),
        &path.key("user"),
        "not an ordinary user",
        "two numbers from 1 to 65535 such as `10001:10001`; root is not allowed",
    );
    let mut within = |field: &str, value: u64, range: RangeInclusive<u64>| {
        if !range.contains(&value) {
            let (low, high) = (range.start(), range.end());
            report.add(
                &path.key(field),
                format!("{value} is out of range"),
                format!("from {low} to {high}"),
            );
        }
    };
    within("memory", component.memory.0, 16 << 20..=8 << 40);
    within("cpu_millis", component.cpu_millis.into(), 10..=1_024_000);
    within("pids", component.pids.into(), 1..=1 << 20);
    within("nofile", component.nofile.into(), 64..=1 << 20);
    within("stop_timeout_s", component.stop_timeout_s.into(), 1..=600);
    within("gpus", component.gpus.into(), 0..=16);
    for (i, capability) in component.cap_add.iter().enumerate().take(MAX_LIST) {
        report.ensure(
            CAPABILITIES.contains(&capability.as_str()),
            &path.key("cap_add").at(i),
            "not allowed",
            &format!("allowed are {}", CAPABILITIES.join(", ")),
        );
    }
}
