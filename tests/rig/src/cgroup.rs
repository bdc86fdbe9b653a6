//! Control groups that dockerd leaves behind. Version 1 (a hierarchy a controller) was tried; version 2 is
//! handled in the same way but was not.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Context;
use crate::{Result, shell};

/// Removes a group and all below it, in every hierarchy. Its processes must be ending.
pub(crate) fn remove(group: &str) -> Result<()> {
    for dir in hierarchies()?
        .into_iter()
        .map(|root| root.join(group))
        .filter(|dir| dir.is_dir())
    {
        shell::wait_until(
            &format!("removing {}", dir.display()),
            shell::PATIENCE,
            || remove_tree(&dir),
        )?;
    }
    Ok(())
}

/// The roots in which a group may stand: the unified one and those of the controllers.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    let entries = fs::read_dir(root).during(|| "list /sys/fs/cgroup".into())?;
    let dirs = entries
        .filter_map(|entry| entry.ok())
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    Ok(std::iter::once(root.to_path_buf()).chain(dirs).collect())
}

/// Whether the group is gone. A group with an ending process is busy for a moment.
fn remove_tree(dir: &Path) -> Result<bool> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
        Err(e) => return Err(e).during(|| format!("list {}", dir.display())),
    };
    let mut gone = true;
    for path in entries
        .filter_map(|entry| entry.ok())
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
    {
        gone &= remove_tree(&path)?;
    }
    match fs::remove_dir(dir) {
        Ok(()) => Ok(gone),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(gone),
        Err(e) if e.kind() == ErrorKind::ResourceBusy => Ok(false),
        Err(e) => Err(e).during(|| format!("remove {}", dir.display())),
    }
}
