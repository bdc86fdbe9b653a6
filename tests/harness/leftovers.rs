//! What a control plane that ended must not leave, and what it said last.

use std::fs;
use std::path::Path;

/// Lines of each log that a failure shows.
const TAIL: usize = 15;

/// Everything that is left of a data folder and its rig: processes, mounts,
/// namespaces and control groups.
pub(crate) fn find(dir: &Path, rig: &str) -> Vec<String> {
    let mut left = processes(dir, rig);
    let dir = dir.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    left.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&dir))
            .map(|line| format!("mount {line}")),
    );
    left.extend(names("/run/netns", &format!("{rig}-")).map(|name| format!("namespace {name}")));
    let group = format!("berth-rig-{rig}");
    left.extend(names("/sys/fs/cgroup", &group).map(|name| format!("control group {name}")));
    for controller in names("/sys/fs/cgroup", "") {
        let below = names(format!("/sys/fs/cgroup/{controller}"), &group);
        left.extend(below.map(|name| format!("control group {controller}/{name}")));
    }
    left
}

/// Processes that were started with the folder, work in it, or belong to a
/// machine.
fn processes(dir: &Path, rig: &str) -> Vec<String> {
    let text = dir.display().to_string();
    let group = format!("/berth-rig-{rig}/");
    let mut left = Vec::new();
    for id in names("/proc", "").filter(|name| name.parse::<u32>().is_ok()) {
        let proc = Path::new("/proc").join(&id);
        // It may end at any moment.
        let command = fs::read(proc.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let works_here = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let groups = fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
        if command.contains(&text) || works_here || groups.contains(&group) {
            left.push(format!("process {id}: {command}"));
        }
    }
    left
}

/// Entries of a folder whose names begin like this; none when it is not there.
fn names(dir: impl AsRef<Path>, start: &str) -> impl Iterator<Item = String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(move |name| name.starts_with(start))
}

/// The end of every log of a data folder, and its warnings and errors.
pub(crate) fn last_words(dir: &Path) -> String {
    let mut logs: Vec<_> = ["logs", "openbao", "postgres"]
        .iter()
        .flat_map(|folder| {
            fs::read_dir(dir.join(folder))
                .into_iter()
                .flatten()
                .flatten()
        })
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter(|path| !path.ends_with("audit.log"))
        .collect();
    logs.sort();
    logs.push(dir.join("dev.log"));
    let mut words = String::new();
    for path in logs {
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        let (before, end) = all.split_at(all.len().saturating_sub(TAIL));
        let worse = |line: &&&str| line.contains(" ERROR ") || line.contains(" WARN ");
        let mut shown: Vec<&str> = before
            .iter()
            .rev()
            .filter(worse)
            .take(TAIL)
            .copied()
            .collect();
        shown.reverse();
        shown.extend(end);
        words += &format!("== {}\n{}\n", path.display(), shown.join("\n"));
    }
    words
}
