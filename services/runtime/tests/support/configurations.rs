//! Configurations that cannot be meant, for whichever executable reads them: each
//! key of its defaults with each wrong value, and files that are none. Shared by the
//! tests of several crates with `#[path]`.

use serde_json::Value;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use tempfile::TempDir;

/// Reads the file of an executable and says what is wrong with it.
pub(crate) type Read<'a> = &'a dyn Fn(&Path) -> Result<(), String>;

/// A key of the defaults.
pub(crate) struct Key {
    pub(crate) section: String,
    /// Such as `database.max_connections`.
    path: String,
    number: bool,
}

impl Key {
    /// The line that sets it.
    fn line(&self, value: &str) -> String {
        format!("{}.{} = {value}", self.section, self.path)
    }

    /// Sees that a value is refused, and the key named.
    fn refuses(&self, read: Read<'_>, value: &str) {
        let line = self.line(value);
        let problem = problem(read, &line);
        let last = self.path.rsplit('.').next().unwrap();
        assert!(problem.contains(last), "{line}: {problem}");
    }

    pub(crate) fn refuses_another_type(&self, read: Read<'_>) {
        for value in ["{ x = 1 }", "[[[]]]"] {
            self.refuses(read, value);
        }
    }

    /// For a key that is a number; one of a common section has limits of its own
    /// where it is used.
    pub(crate) fn refuses_numbers(&self, read: Read<'_>, own: bool) {
        for value in ["-1", "nan", "\"\\u001b[2J\""] {
            self.refuses(read, value);
        }
        let beyond = ["99999999999", "9223372036854775807", "0.5"];
        for value in beyond.iter().filter(|_| own) {
            self.refuses(read, value);
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        self.number
    }
}

/// The keys of the defaults.
pub(crate) fn keys(defaults: &str) -> Vec<Key> {
    let loaded = berth_runtime::config::load(defaults, None);
    let sections: serde_json::Map<String, Value> = loaded.unwrap();
    let mut keys = Vec::new();
    for (section, value) in &sections {
        walk(section, "", value, &mut keys);
    }
    keys
}

fn walk(section: &str, path: &str, value: &Value, keys: &mut Vec<Key>) {
    if let Value::Object(table) = value {
        for (key, value) in table {
            let path = format!("{path}.{key}");
            walk(section, path.trim_start_matches('.'), value, keys);
        }
    } else {
        keys.push(Key {
            section: section.to_owned(),
            path: path.to_owned(),
            number: value.is_number(),
        });
    }
}

/// What comes of a file with this content.
pub(crate) fn given(read: Read<'_>, content: &[u8]) -> Result<(), String> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("given.toml");
    std::fs::write(&path, content).unwrap();
    read(&path)
}

/// The problem of a configuration, which is one short line.
pub(crate) fn problem(read: Read<'_>, text: &str) -> String {
    let Err(problem) = given(read, text.as_bytes()) else {
        panic!("taken: {text}");
    };
    assert!(!problem.contains(char::is_control), "{problem:?}");
    assert!(
        problem.starts_with("configuration: ") && problem.len() < 2048,
        "{problem}"
    );
    problem
}

/// Sees that a key which is none is named, with those that there are.
pub(crate) fn an_unknown_key_is_named(read: Read<'_>, section: &str) {
    let problem = problem(read, &format!("{section}.wish = 1"));
    assert!(
        problem.contains("wish") && problem.contains("expected"),
        "{section}: {problem}"
    );
}

/// Sees that a file which is none is named, and the line where it breaks off.
pub(crate) fn a_file_that_is_none_is_named(read: Read<'_>) {
    for (text, says) in [
        ("[telemetry]\nlevel = ", "line 2"),
        ("[telemetry]\notlp = true\notlp = false", "line 3"),
        ("[telemetry]\nlevel = \"a\0b\"", "line 2"),
        (&format!("x = {}", "[".repeat(100_000)), "line 1"),
        (
            &format!("# {}", "x".repeat(2 << 20)),
            "longer than 1048576 bytes",
        ),
    ] {
        let problem = problem(read, text);
        assert!(
            problem.contains(says) && problem.contains("given.toml"),
            "{problem}"
        );
    }
    let dir = TempDir::new().unwrap();
    for path in [
        dir.path().to_owned(),
        "/dev/zero".into(),
        dir.path().join("none.toml"),
    ] {
        let problem = read(&path).unwrap_err();
        assert!(problem.contains(&*path.to_string_lossy()), "{problem}");
    }
    let problem = given(read, b"\xff\xfe").unwrap_err();
    assert!(
        problem.contains("given.toml") && problem.contains("not UTF-8"),
        "{problem}"
    );
}

/// Sees that a file may come through a pipe, with the same limit.
pub(crate) fn a_pipe_is_a_file(read: Read<'_>) {
    let through = |text: &str| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        std::thread::scope(|scope| {
            // It ends early where less is read than it has.
            scope.spawn(move || writer.write_all(text.as_bytes()).ok());
            let said = read(Path::new(&path));
            drop(reader);
            said
        })
    };
    assert_eq!(through("[telemetry]\nlevel = \"info\""), Ok(()));
    for (text, says) in [
        ("[telemetry]\nlevel = ", "line 2"),
        (&"# x\n".repeat(1 << 20), "longer than 1048576 bytes"),
        ("", "nothing came through this pipe"),
    ] {
        let problem = through(text).unwrap_err();
        assert!(problem.contains(says), "{problem}");
    }
}

/// Sees that the URL of another database is refused, by its key and without it.
pub(crate) fn another_database_is_refused(read: Read<'_>, key: &str) {
    for url in [
        "",
        "berth",
        "mysql://a:hunter2@db/b",
        "postgres:a:hunter2@db/b",
        "postgres://a:hunter2@db:port/b",
    ] {
        let problem = problem(read, &format!("{key} = \"{url}\""));
        assert!(
            problem.contains(key) && problem.contains("postgres://user@host/name"),
            "{url}: {problem}"
        );
        assert!(!problem.contains("hunter2"), "{problem}");
    }
    let table = key.trim_end_matches(".url");
    for value in ["", ".max_connections"] {
        let problem = problem(
            read,
            &format!("{table}{value} = \"a:hunter2@\\\", expected\""),
        );
        assert!(
            problem.contains("a text, expected") && !problem.contains("hunter2"),
            "{problem}"
        );
    }
}
