//! Passwords of keystores, as they lie in files.

use anyhow::{Context as _, ensure};
use secrecy::SecretString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest password.
const MAX_PASSWORD: usize = 1024;

/// Where passwords are.
pub(super) enum Passwords {
    /// One for all.
    One(SecretString),
    /// A file each.
    Folder(PathBuf),
}

impl Passwords {
    /// Those that a path names.
    pub(super) fn at(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        Ok(Self::One(password(path)?))
    }

    /// The password of a keystore: `a.txt` for `a.json`, or a file that is
    /// named after the public key, as some clients do it.
    pub(super) fn of(
        &self,
        keystore: &Path,
        public_key: Option<&str>,
    ) -> anyhow::Result<SecretString> {
        let folder = match self {
            Self::One(password) => return Ok(password.clone()),
            Self::Folder(folder) => folder,
        };
        let stem = keystore.file_stem().unwrap_or_default();
        let first = folder.join(stem).with_added_extension("txt");
        let by_key = public_key.map(|key| folder.join(key));
        let candidates = [Some(first.clone()), by_key];
        let found = candidates.iter().flatten().find(|path| path.exists());
        password(found.with_context(|| format!("no password: {} is not there", first.display()))?)
    }
}

/// A password: the text of a file without the end of its line.
fn password(path: &Path) -> anyhow::Result<SecretString> {
    let cannot = || format!("cannot read the password {}", path.display());
    let text = text(path, MAX_PASSWORD).with_context(cannot)?;
    let text = text.with_context(|| format!("{} is longer than 1 KiB", path.display()))?;
    let text = std::str::from_utf8(&text).map_err(|_| {
        anyhow::anyhow!(
            "the password {} is not UTF-8, as it must be",
            path.display()
        )
    })?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    ensure!(!line.is_empty(), "the password {} is empty", path.display());
    Ok(line.to_owned().into())
}

/// What is in a file, or nothing where it is longer.
pub(super) fn text(path: &Path, most: usize) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    // Sized beforehand, as a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(most + 1));
    match berth_input::file::append(path, most, &mut text) {
        Ok(()) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    #[test]
    fn a_password_is_one_line_of_text() {
        let dir = tempfile::tempdir().unwrap();
        let written = |text: &[u8]| {
            let path = dir.path().join("password");
            std::fs::write(&path, text).unwrap();
            password(&path)
        };
        for (text, expected) in [
            ("a b", "a b"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
        ] {
            assert_eq!(written(text.as_bytes()).unwrap().expose_secret(), expected);
        }
        for (text, what) in [
            (&b"\n"[..], "is empty"),
            (&[b'x'; MAX_PASSWORD + 1], "longer than 1 KiB"),
            (b"p\xe4ss", "not UTF-8"),
        ] {
            let why = written(text).unwrap_err().to_string();
            assert!(why.contains(what), "{why}");
        }
        let absent = dir.path().join("absent");
        assert!(password(&absent).is_err());
    }
}
