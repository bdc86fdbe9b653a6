//! What is mounted where in a component: volumes, temporary folders, secrets and
//! the folders of files.

use std::collections::BTreeMap;

use super::words::{is_absolute_path, is_identifier};
use crate::chain::entry::{ChainEntry, Component};
use crate::chain::error::{Path, Report};

/// Rule for every path in a container.
pub(super) const PATH: &str =
    "letters, digits, `.`, `_`, `-`, without `..`, outside `/proc`, `/sys` and `/dev`";
/// Folders of an image that a mount would hide, so that nothing could start.
const SYSTEM: &[&str] = &[
    "/bin",
    "/etc",
    "/lib",
    "/lib64",
    "/opt",
    "/root",
    "/run",
    "/sbin",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/sbin",
    "/var",
];

pub(super) fn check(entry: &ChainEntry, component: &Component, path: &Path, report: &mut Report) {
    let volumes = path.key("volumes");
    let few = component.volumes.len() <= 8;
    report.ensure(few, &volumes, "more than 8 volumes", "");
    let mut targets: BTreeMap<&str, Path> = BTreeMap::new();
    let mut taken = Vec::new();
    let mut mount = |target, at: Path| {
        if let Some(before) = targets.insert(target, at.clone()) {
            taken.push((at, before));
        }
    };
    for (name, target) in &component.volumes {
        let path = volumes.key(name);
        report.ensure(
            is_identifier(name, 20),
            &path,
            "not a name of a volume",
            "up to 20 of `a-z`, `0-9`, `-`",
        );
        mount(target, path);
    }
    let tmpfs = path.key("tmpfs");
    let few = component.tmpfs.len() <= 8;
    report.ensure(few, &tmpfs, "more than 8 folders", "");
    for (target, size) in &component.tmpfs {
        let path = tmpfs.key(target);
        report.ensure(
            (1 << 16..=1 << 40).contains(&size.0),
            &path,
            "not a size from 64KiB to 1TiB",
            "",
        );
        mount(target, path);
    }
    let secrets = path.key("secrets_dir");
    mount(&component.secrets_dir, secrets);
    let mut read_only = vec![component.secrets_dir.as_str()];
    for (i, file) in entry.files.iter().enumerate() {
        let folder = file.folder();
        if file.component == component.name && !read_only[1..].contains(&folder) {
            mount(folder, Path::field("files").at(i).key("path"));
            read_only.push(folder);
        }
    }
    for (at, before) in taken {
        report.add(
            &at,
            format!("{before} is mounted in the same folder"),
            "give each a folder of its own; the folder of a file is mounted as a whole",
        );
    }
    targets_are_sound(&targets, &read_only, report);
}

/// Every target is a path that hides nothing needed, and nothing is mounted below
/// a read-only folder, where Docker could not make the mount point.
fn targets_are_sound(targets: &BTreeMap<&str, Path>, read_only: &[&str], report: &mut Report) {
    for (target, at) in targets {
        report.ensure(
            is_absolute_path(target) || *target == "/dev/shm",
            at,
            "not an absolute path in a container",
            PATH,
        );
        report.ensure(
            !SYSTEM.contains(target),
            at,
            "would hide a folder of the image",
            "use a folder of its own, such as `/etc/chain`",
        );
        let below = |folder: &&&str| {
            target
                .strip_prefix(**folder)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some(folder) = read_only.iter().find(below) {
            report.add(
                at,
                format!("is below `{folder}`, which is mounted read-only"),
                "use a folder beside it",
            );
        }
    }
}
