//! Configuration: the commented defaults, then the operator's file, then the
//! environment (`BERTH__LEASING__LISTEN=…`), each over the one before.

use ::config::{Config, Environment, File, FileFormat};
use berth_core::report;
use serde::de::DeserializeOwned;
use std::path::Path;

/// The configuration cannot be used; says which file or key and why.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(String);

/// Reads the configuration.
///
/// # Errors
///
/// [`ConfigError`] naming the key that is missing, unknown or wrong.
pub fn load<T: DeserializeOwned>(defaults: &str, file: Option<&Path>) -> Result<T, ConfigError> {
    let mut builder = Config::builder().add_source(File::from_str(defaults, FileFormat::Toml));
    if let Some(path) = file {
        if !path.exists() {
            let path = path.display();
            let problem =
                format!("there is no file {path}; --print-config prints one to begin with");
            return Err(ConfigError(problem));
        }
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    let environment = Environment::with_prefix("BERTH")
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true);
    builder
        .add_source(environment)
        .build()
        .and_then(Config::try_deserialize)
        .map_err(|error| ConfigError(report(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named_with_what_to_do() {
        let absent = Path::new("/nowhere/signer.toml");
        let loaded = load::<std::collections::BTreeMap<String, String>>("", Some(absent));
        let said = loaded.unwrap_err().to_string();
        assert!(said.contains("/nowhere/signer.toml"), "{said}");
        assert!(said.contains("--print-config"), "{said}");
    }
}
