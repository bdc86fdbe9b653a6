//! Small files that hold secrets: read with care, written whole or not at all.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use secrecy::{ExposeSecret as _, SecretString};

use crate::{Error, Result};

/// More than any secret id, token or certificate bundle needs.
const MAX_BYTES: usize = 1 << 20;

/// The file's text without surrounding white space.
///
/// # Errors
/// [`Error::File`] when it cannot be read, is empty, or can be read by
/// everybody on the machine.
pub(crate) fn read_secret(path: &Path) -> Result<SecretString> {
    let mode = fs::metadata(path)
        .map_err(problem(path))?
        .permissions()
        .mode();
    if mode & 0o007 != 0 {
        return Err(Error::File {
            path: path.to_owned(),
            problem: "everybody on this machine can read or change it; run `chmod 600` on it"
                .into(),
        });
    }
    let text = read(path)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::File {
            path: path.to_owned(),
            problem: "is empty".into(),
        });
    }
    Ok(text.into())
}

/// The file's text, up to a limit.
pub(crate) fn read(path: &Path) -> Result<String> {
    berth_input::file::text(path, MAX_BYTES).map_err(problem(path))
}

/// Writes `text` to a file that only its owner can read, in one step: a crash
/// leaves the old content or the new.
pub(crate) fn write_secret(path: &Path, text: &SecretString) -> Result<()> {
    write(path, text.expose_secret(), 0o600)
}

/// Writes `text` in one step, with `mode`.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", uuid::Uuid::new_v4().simple()));
    let beside = Path::new(&beside);
    let written = write_new(beside, text, mode).and_then(|()| fs::rename(beside, path));
    if let Err(error) = written {
        fs::remove_file(beside).ok();
        return Err(problem(path)(error));
    }
    Ok(())
}

/// A folder that only its owner can enter, made where it is not there.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(problem(path))?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(problem(path))
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn problem(path: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::File {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_that_everybody_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret-id");
        write(&path, "s3cret", 0o644).unwrap();
        let refused = read_secret(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        assert!(!refused.contains("s3cret"), "{refused}");
    }

    #[test]
    fn a_secret_is_written_for_its_owner_only_and_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret-id");
        for text in ["one\n", "two"] {
            write_secret(&path, &text.into()).unwrap();
            assert_eq!(read_secret(&path).unwrap().expose_secret(), text.trim());
        }
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
