//! Keystores (EIP-2335) and their passwords, as they lie in files. What a
//! keystore says is judged by the signer, which opens it; here it is only told
//! from other files.
//!
//! Nothing is left out silently: whoever believes that all keys are with the
//! signer turns the old machine off.

use super::passwords::{Passwords, text};
use super::typed;
use anyhow::{bail, ensure};
use secrecy::SecretString;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest keystore that the signer reads; real ones have about 800 bytes.
const MAX_KEYSTORE: usize = 16 * 1024;
/// Most keystores at once.
const MAX_KEYSTORES: usize = 10_000;
/// How far below a folder is looked: some clients have a folder a key.
const MAX_DEPTH: usize = 3;

/// A keystore and its password.
#[derive(Debug)]
pub(super) struct Keystore {
    /// Its file.
    pub(super) path: PathBuf,
    /// What it says its public key is; not every keystore says it.
    pub(super) public_key: Option<String>,
    /// Length of the file.
    pub(super) size: usize,
    /// What is in the file.
    pub(super) json: Value,
    /// Opens it.
    pub(super) password: SecretString,
}

impl Keystore {
    /// The name of its file.
    pub(super) fn name(&self) -> String {
        self.path.file_name().map_or_else(
            || self.path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        )
    }
}

/// What lies in files.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The keystores, by path.
    pub(super) keystores: Vec<Keystore>,
    /// Files of folders that are no keystores, and why.
    pub(super) others: Vec<String>,
    problems: Vec<String>,
}

/// Reads keystores, and those in folders, with their passwords: either all of
/// them, or nothing and everything that is wrong.
pub(super) fn read(paths: &[PathBuf], passwords: &Path) -> anyhow::Result<Found> {
    let passwords = Passwords::at(passwords)?;
    let mut found = Found::default();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => found.folder(path, 1, &passwords)?,
            Ok(metadata) if metadata.is_file() => found.file(path, true, &passwords)?,
            Ok(_) => found.problem(path, "is neither a file nor a folder"),
            Err(error) => found.problem(path, &error.to_string()),
        }
    }
    if !found.problems.is_empty() {
        bail!(
            "nothing was sent, because of {}:\n  {}",
            if found.problems.len() == 1 {
                "this problem".to_owned()
            } else {
                format!("these {} problems", found.problems.len())
            },
            found.problems.join("\n  ")
        );
    }
    ensure!(
        !found.keystores.is_empty(),
        "no keystore (EIP-2335, `*.json`) in {}",
        paths
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    );
    Ok(found)
}

impl Found {
    fn problem(&mut self, path: &Path, what: &str) {
        self.problems.push(format!("{}: {what}", path.display()));
    }

    fn other(&mut self, path: &Path, what: &str) {
        self.others.push(format!("{}: {what}", path.display()));
    }

    /// Takes what is in a folder. Folders behind links are not entered, as they
    /// may lead in a circle.
    fn folder(&mut self, folder: &Path, depth: usize, passwords: &Passwords) -> anyhow::Result<()> {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.problem(folder, &error.to_string());
                return Ok(());
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for path in entries.iter().map(fs::DirEntry::path) {
            let is_json = path
                .extension()
                .is_some_and(|extension| extension == "json");
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() && path.is_symlink() => {
                    self.other(&path, "a link to a folder");
                }
                Ok(metadata) if metadata.is_dir() && depth < MAX_DEPTH => {
                    self.folder(&path, depth + 1, passwords)?;
                }
                Ok(metadata) if metadata.is_dir() => self.other(&path, "too deep below"),
                Ok(_) if !is_json => {}
                Ok(metadata) if metadata.is_file() => self.file(&path, false, passwords)?,
                Ok(_) => self.other(&path, "not a file"),
                Err(_) if !is_json => {}
                Err(error) => self.problem(&path, &error.to_string()),
            }
        }
        Ok(())
    }

    /// Takes a file. One that was not named itself may be something else.
    fn file(&mut self, path: &Path, named: bool, passwords: &Passwords) -> anyhow::Result<()> {
        let text = match text(path, MAX_KEYSTORE) {
            Ok(Some(text)) => text,
            Ok(None) if named => {
                self.problem(path, "longer than 16 KiB, which no keystore is");
                return Ok(());
            }
            Ok(None) => {
                self.other(path, "longer than 16 KiB, so no keystore");
                return Ok(());
            }
            Err(error) => {
                self.problem(path, &error.to_string());
                return Ok(());
            }
        };
        let Ok(json) = serde_json::from_slice::<Value>(&text) else {
            self.problem(path, "not JSON; copy it again, or move it elsewhere");
            return Ok(());
        };
        if !json.get("crypto").is_some_and(Value::is_object) {
            if named {
                self.problem(path, "not a keystore: it has no `crypto`");
            } else {
                self.other(path, "no keystore");
            }
            return Ok(());
        }
        let public_key = json.get("pubkey").and_then(Value::as_str);
        let public_key = public_key.and_then(|key| typed::public_key(key).ok());
        match passwords.of(path, public_key.as_deref()) {
            Ok(password) => self.keystores.push(Keystore {
                path: path.to_owned(),
                public_key,
                size: text.len(),
                json,
                password,
            }),
            Err(error) => self.problem(path, &format!("{error:#}")),
        }
        ensure!(
            self.keystores.len() <= MAX_KEYSTORES,
            "more than {MAX_KEYSTORES} keystores; import them in parts"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A folder with a password beside it.
    struct Files(TempDir);

    impl Files {
        fn new() -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            fs::create_dir(files.path("keys")).unwrap();
            files.write("password", "sesame\r\n");
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).unwrap();
        }

        fn keystore(&self, name: &str, digit: &str) {
            let key = digit.repeat(96);
            self.write(
                name,
                &format!(r#"{{"crypto": {{}}, "pubkey": "{key}", "version": 4}}"#),
            );
        }

        fn read(&self, paths: &[&str], passwords: &str) -> Result<Found, String> {
            let paths: Vec<_> = paths.iter().map(|path| self.path(path)).collect();
            read(&paths, &self.path(passwords)).map_err(|error| format!("{error:#}"))
        }
    }

    #[test]
    fn a_folder_gives_its_keystores_in_order_and_names_what_it_passes_over() {
        let files = Files::new();
        files.keystore("keys/b.json", "B");
        files.keystore("keys/a.json", "a");
        fs::create_dir(files.path("keys/0x01")).unwrap();
        files.keystore("keys/0x01/voting-keystore.json", "1");
        files.write("keys/deposit_data-1.json", "[]");
        files.write("keys/huge.json", &" ".repeat(MAX_KEYSTORE + 1));
        files.write("keys/readme.txt", "no keystore by its name");
        symlink(files.path("keys"), files.path("keys/again")).unwrap();
        let found = files.read(&["keys"], "password").unwrap();
        let keys: Vec<_> = found
            .keystores
            .iter()
            .map(|one| one.public_key.clone())
            .collect();
        let key = |digit: &str| Some(format!("0x{}", digit.repeat(96)));
        assert_eq!(keys, [key("1"), key("a"), key("b")]);
        for keystore in &found.keystores {
            assert_eq!(keystore.password.expose_secret(), "sesame");
        }
        assert_eq!(found.others.len(), 3, "{:?}", found.others);
        assert!(!format!("{found:?}").contains("sesame"));
    }

    #[test]
    fn a_password_a_keystore_is_found_by_its_name_or_its_key() {
        let files = Files::new();
        files.keystore("keys/a.b.json", "a");
        files.keystore("keys/c.json", "c");
        fs::create_dir(files.path("secrets")).unwrap();
        files.write("secrets/a.b.txt", "one");
        files.write(&format!("secrets/0x{}", "c".repeat(96)), "two\n");
        let found = files.read(&["keys"], "secrets").unwrap();
        let passwords = found
            .keystores
            .iter()
            .map(|one| one.password.expose_secret());
        assert_eq!(passwords.collect::<Vec<_>>(), ["one", "two"]);
        fs::remove_file(files.path("secrets/a.b.txt")).unwrap();
        let why = files.read(&["keys"], "secrets").unwrap_err();
        assert!(
            why.contains("no password: ") && why.contains("secrets/a.b.txt"),
            "{why}"
        );
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_nothing_is_taken() {
        let files = Files::new();
        files.keystore("keys/good.json", "a");
        files.write("keys/cut.json", r#"{"crypto": {"#);
        symlink("circle.json", files.path("keys/circle.json")).unwrap();
        symlink("nowhere", files.path("keys/dangling.json")).unwrap();
        files.write("named", &" ".repeat(MAX_KEYSTORE + 1));
        files.write("list", "[]");
        let why = files
            .read(
                &["keys", "named", "list", "absent", "/dev/null"],
                "password",
            )
            .unwrap_err();
        for (file, what) in [
            ("cut.json", "not JSON"),
            ("circle.json", "symbolic links"),
            ("dangling.json", "No such file"),
            ("named", "longer than 16 KiB"),
            ("list", "no `crypto`"),
            ("absent", "No such file"),
            ("/dev/null", "neither a file"),
        ] {
            let says = |line: &str| line.contains(&format!("{file}: ")) && line.contains(what);
            assert!(why.lines().any(says), "{file}: {why}");
        }
        assert!(
            why.starts_with("nothing was sent, because of these 7 problems"),
            "{why}"
        );
        fs::remove_dir_all(files.path("keys")).unwrap();
        fs::create_dir(files.path("keys")).unwrap();
        let why = files.read(&["keys"], "password").unwrap_err();
        assert!(why.contains("no keystore"), "{why}");
    }
}
