//! Configuration: the commented defaults, then the operator's file, then the
//! environment (`BERTH__LEASING__LISTEN=…`), each over the one before.

use ::config::{Config, Environment, File, FileFormat, Format as _, Map, Source};
use berth_core::report;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

/// The configuration cannot be used; says which file or key and why.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// A key whose value is of the right type and yet cannot be meant.
    #[must_use]
    pub fn key(key: &str, problem: &str) -> Self {
        Self(format!("{key}: {}", one_line(problem)))
    }
}

/// Longest configuration file, in bytes.
pub const MAX_FILE: usize = 1 << 20;
/// Largest number of any key; a year, where it is of seconds.
const MOST: u64 = 366 * 24 * 3600;
/// Where zero means something.
const MAY_BE_ZERO: [&str; 2] = ["grace_seconds", "connect_wait_seconds"];
/// Longest text of a problem, in characters.
const MAX_PROBLEM: usize = 1024;

/// What was read; a process takes what is its own.
#[derive(Debug, Clone)]
pub struct Loaded(Config);

impl Loaded {
    /// All of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key that is missing, unknown or wrong.
    pub fn whole<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let read = self.0.clone().try_deserialize();
        read.map_err(|error| ConfigError(one_line(&without_text(&report(&error)))))
    }

    /// One section.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the section, and the key that is missing, unknown or
    /// wrong.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        let section = self.0.get::<::config::Value>(name);
        let read = section.and_then(T::deserialize);
        read.map_err(|error| {
            let problem = one_line(&without_text(&report(&error)));
            ConfigError(format!("section [{name}]: {problem}"))
        })
    }

    /// Refuses numbers of sections that can be meant by nobody.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key, and what it may be.
    pub fn check_numbers(&self, sections: &[&str]) -> Result<(), ConfigError> {
        for section in sections {
            check_number(section, "", &self.section(section)?)?;
        }
        Ok(())
    }
}

fn check_number(path: &str, key: &str, value: &Value) -> Result<(), ConfigError> {
    if let Value::Object(table) = value {
        let mut values = table.iter();
        return values
            .try_for_each(|(key, value)| check_number(&format!("{path}.{key}"), key, value));
    }
    // A number that is none is read as nothing.
    if !value.is_number() && !value.is_null() {
        return Ok(());
    }
    let least = u64::from(!MAY_BE_ZERO.contains(&key));
    match value.as_u64() {
        Some(number) if (least..=MOST).contains(&number) => Ok(()),
        _ => {
            let problem =
                format!("expected a whole number from {least} to {MOST}, this is {value}");
            Err(ConfigError::key(path, &problem))
        }
    }
}

/// Reads the configuration.
///
/// # Errors
///
/// [`ConfigError`] naming the key that is missing, unknown or wrong.
pub fn load<T: DeserializeOwned>(defaults: &str, file: Option<&Path>) -> Result<T, ConfigError> {
    read(defaults, file)?.whole()
}

/// Reads the sources, without a look at what is in them. The file may be a pipe.
///
/// # Errors
///
/// [`ConfigError`] naming the file that is none, and the line where it breaks off.
pub fn read(defaults: &str, file: Option<&Path>) -> Result<Loaded, ConfigError> {
    let file = file.map(Text::read).transpose()?;
    parse(defaults, file)
}

/// The operator's file: its name, and what is in it.
#[derive(Clone)]
pub struct Text {
    /// What it is called in an error.
    pub name: String,
    /// TOML.
    pub text: String,
}

/// Its name only, since passwords may stand in it.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({:?})", self.name)
    }
}

impl Text {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let read = berth_input::file::text(path, MAX_FILE);
        let text = read.map_err(|error| {
            ConfigError(one_line(&if error.kind() == ErrorKind::NotFound {
                format!("there is no file {name}; --print-config prints one to begin with")
            } else {
                format!("cannot read {name}: {error}")
            }))
        })?;
        Ok(Self { name, text })
    }
}

impl Source for Text {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, ::config::Value>, ::config::ConfigError> {
        let read = FileFormat::Toml.parse(Some(&self.name), &self.text);
        read.map_err(|cause| ::config::ConfigError::FileParse {
            uri: Some(self.name.clone()),
            cause,
        })
    }
}

/// Reads the sources where the file was read already.
///
/// # Errors
///
/// [`ConfigError`] naming the line where it breaks off.
pub fn parse(defaults: &str, file: Option<Text>) -> Result<Loaded, ConfigError> {
    let mut builder = Config::builder().add_source(File::from_str(defaults, FileFormat::Toml));
    if let Some(text) = file {
        builder = builder.add_source(text);
    }
    let environment = Environment::with_prefix("BERTH")
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true);
    builder
        .add_source(environment)
        .build()
        .map(Loaded)
        .map_err(|error| ConfigError(one_line(&report(&error))))
}

/// A problem on one line: what is drawn below a place in a file is left out.
fn one_line(problem: &str) -> String {
    let lines = problem.lines().map(str::trim);
    let said: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !is_drawn(line))
        .collect();
    let line = said.join(": ");
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_PROBLEM)
        .collect()
}

/// A problem without the text that stands where another type is expected: it may
/// be an address with a password in it.
fn without_text(problem: &str) -> String {
    let (start, end) = ("string \"", "\", expected");
    match (problem.find(start), problem.rfind(end)) {
        (Some(first), Some(last)) if first < last => {
            let rest = &problem[last + 1..];
            format!("{}a text{rest}", &problem[..first])
        }
        _ => problem.to_owned(),
    }
}

/// `12 | key = value`, or `  |  ^^^`.
fn is_drawn(line: &str) -> bool {
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    line.starts_with('|')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_bar_is_told() {
        assert_eq!(
            one_line("bad\n  |\n3 | a = 1\n  | ^\nvalue `5|10`"),
            "bad: value `5|10`"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_what_to_do() {
        let absent = Path::new("/nowhere/signer.toml");
        let loaded = load::<std::collections::BTreeMap<String, String>>("", Some(absent));
        let said = loaded.unwrap_err().to_string();
        assert!(said.contains("/nowhere/signer.toml"), "{said}");
        assert!(said.contains("--print-config"), "{said}");
    }
}
