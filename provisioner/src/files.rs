//! Files on a machine: written whole or not at all, over standard input.
//!
//! A secret never stands in a command line, an environment or on a disk: it is
//! read from standard input into the machine's memory-backed `/run`.

use crate::error::{Error, Result};
use crate::harden::check_name;
use crate::spec::{DirSpec, FileSpec, PlacementRef};
use crate::ssh::{Exec, Session, quote};
use futures::{StreamExt, TryStreamExt, stream};
use std::time::Duration;

/// Folder of what is not secret; below it one folder a node.
pub const DATA_DIR: &str = "/var/lib/berth";
/// Folder of secrets, in memory; below it one folder a placement, mode 0700.
pub const SECRETS_DIR: &str = "/run/berth";

/// File in a folder of secrets that names its node; a wipe looks for it.
pub(crate) const OWNER: &str = ".node";
/// Files written at once.
const AT_ONCE: usize = 4;
/// Longest path.
const MAX_PATH: usize = 512;

impl Session {
    /// Makes folders below those of the placement, parents first. One that
    /// stands there gets mode and owner.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a path outside of the placement's folders.
    pub async fn make_dirs(&self, placement: &PlacementRef, dirs: &[DirSpec]) -> Result<()> {
        let mut script = folders(placement)?;
        for dir in dirs {
            check_path(placement, &dir.path)?;
            let path = quote(&dir.path);
            let DirSpec { mode, uid, gid, .. } = dir;
            script +=
                &format!("mkdir -p {path} && chown {uid}:{gid} {path} && chmod {mode:o} {path}\n");
        }
        self.effect("make folders")?;
        self.root(Exec::new("making folders", &script)).await?;
        Ok(())
    }

    /// Writes files below the node's folder of [`DATA_DIR`] and the
    /// placement's folder of [`SECRETS_DIR`]; one that stands there with the
    /// same contents, mode and owner is left alone.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a path outside of these folders,
    /// [`Error::NoSpace`].
    pub async fn put_files(&self, placement: &PlacementRef, files: &[FileSpec]) -> Result<()> {
        for file in files {
            check_path(placement, &file.path)?;
        }
        self.make_dirs(placement, &[]).await?;
        // A list first: a lazy `map` is not `Send` for every lifetime.
        let writes: Vec<_> = files.iter().map(|file| self.put_file(file)).collect();
        stream::iter(writes)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// The length is checked before the file gets its name: a session that is
    /// lost half-way ends the input too.
    async fn put_file(&self, file: &FileSpec) -> Result<()> {
        let FileSpec {
            mode,
            uid,
            gid,
            contents,
            ..
        } = file;
        let path = quote(&file.path);
        let length = contents.len();
        let script = format!(
            r#"set -e; umask 077; path={path}; dir=$(dirname "$path")
(umask 022; mkdir -p "$dir")
new=$(mktemp "$dir/.berth.XXXXXXXX"); trap 'rm -f "$new"' EXIT
cat > "$new"
[ "$(wc -c < "$new")" -eq {length} ] || {{ echo 'the input was cut short' >&2; exit 1; }}
chown {uid}:{gid} "$new"; chmod {mode:o} "$new"
if [ "$(stat -c %f:%u:%g "$path" 2>/dev/null)" = "$(stat -c %f:%u:%g "$new")" ] && cmp -s "$new" "$path"
then exit 0; fi
mv -fT "$new" "$path""#
        );
        self.effect("put file")?;
        self.root(Exec {
            stdin: contents,
            timeout: Duration::from_secs(300),
            ..Exec::new("writing a file", &script)
        })
        .await?;
        Ok(())
    }

    /// Paths of delivered files: the node's and the placement's.
    pub(crate) async fn delivered(&self, placement: &PlacementRef) -> Result<Vec<String>> {
        let (node, secrets) = (node_dir(placement)?, secrets_dir(placement)?);
        let script = format!(
            "find {node} {secrets} -type f ! -name '.*' -print 2>/dev/null | head -n 10000; true"
        );
        let listed = self.root(Exec::new("listing files", &script)).await?;
        let mut files: Vec<String> = String::from_utf8_lossy(&listed)
            .lines()
            .map(str::to_owned)
            .collect();
        files.sort();
        Ok(files)
    }
}

/// Folder of a node's files that are not secret.
pub(crate) fn node_dir(placement: &PlacementRef) -> Result<String> {
    check_name("the node", &placement.node_id)?;
    Ok(format!("{DATA_DIR}/{}", placement.node_id))
}

/// Folder of a placement's secrets.
pub(crate) fn secrets_dir(placement: &PlacementRef) -> Result<String> {
    check_name("the placement", &placement.placement_id)?;
    Ok(format!("{SECRETS_DIR}/{}", placement.placement_id))
}

/// A path that belongs to a placement: in one of its folders, and no way out.
pub(crate) fn check_path(placement: &PlacementRef, path: &str) -> Result<()> {
    let folders = [node_dir(placement)?, secrets_dir(placement)?];
    let inside = folders.iter().any(|folder| {
        path.strip_prefix(folder.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    let plain = path.len() <= MAX_PATH
        && !path.contains(char::is_control)
        && path.split('/').all(|part| part != ".." && part != ".");
    if inside && plain {
        return Ok(());
    }
    let why = format!("it is not below {} or {}", folders[0], folders[1]);
    Err(Error::invalid("a path", why))
}

/// Makes the two folders of a placement. `/run` is in memory on a machine with
/// systemd; where it is not, `prepare` made this part of it so.
fn folders(placement: &PlacementRef) -> Result<String> {
    let (node, secrets) = (node_dir(placement)?, secrets_dir(placement)?);
    let id = &placement.node_id;
    Ok(format!(
        "set -e; umask 077
mkdir -p {node} {secrets}
echo {id} > {secrets}/{OWNER}
chmod 755 {DATA_DIR} {node}; chmod 700 {SECRETS_DIR} {secrets}
case $(stat -f -c %T {SECRETS_DIR}) in tmpfs|ramfs) ;; *) echo '{SECRETS_DIR} is not in memory' >&2; exit 1;; esac
"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_placement_are_written() {
        let placement = PlacementRef {
            node_id: "node-1".to_owned(),
            placement_id: "placement-1".to_owned(),
            fence: 1,
        };
        for good in [
            "/var/lib/berth/node-1/genesis.json",
            "/run/berth/placement-1/keys/a",
        ] {
            check_path(&placement, good).unwrap();
        }
        for bad in [
            "/etc/passwd",
            "/run/berth/placement-1/../placement-2/key",
            "/run/berth/placement-10/key",
            "/var/lib/berth/node-1/a\nb",
            "run/berth/placement-1/key",
        ] {
            assert!(check_path(&placement, bad).is_err(), "{bad}");
        }
    }
}
