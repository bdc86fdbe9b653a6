//! Changes to the text of an entry that keep its comments and its order.

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use super::{ChainEntry, Invalid};

/// An entry could not be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text is not an entry, before or after the change.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The entry has no such component.
    #[error("the entry has no component `{0}`")]
    NoComponent(String),
}

/// What a registration adds to an entry. `None` leaves what stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootstrapChange {
    /// SHA-256 in hex of the genesis.
    pub genesis_sha256: Option<String>,
    /// Nodes to stay connected to.
    pub peers: Option<Vec<String>>,
    /// Nodes to ask for others.
    pub seeds: Option<Vec<String>>,
}

/// Writes the digest of a component's image.
///
/// # Errors
///
/// When the text is not an entry, has no such component, or the digest is none.
pub fn pin(text: &str, component: &str, digest: &str) -> Result<String, EditError> {
    let index = ChainEntry::parse(text)?
        .components
        .iter()
        .position(|c| c.name == component)
        .ok_or_else(|| EditError::NoComponent(component.to_owned()))?;
    change(text, |document| {
        let image = &mut document["components"][index]["image"];
        if image.get("digest").is_none()
            && let Some(table) = image.as_inline_table_mut()
            && let Some((_, last)) = table.iter_mut().last()
            && last.decor().suffix().and_then(|s| s.as_str()) == Some(" ")
        {
            // The space before the brace would stand before a comma.
            last.decor_mut().set_suffix("");
        }
        image["digest"] = value(digest);
    })
}

/// Writes what a registration knows of the network.
///
/// # Errors
///
/// When the text is not an entry, or is none with the change.
pub fn with_bootstrap(text: &str, new: &BootstrapChange) -> Result<String, EditError> {
    let entry = ChainEntry::parse(text)?;
    change(text, |document| {
        let bootstrap = document
            .entry("bootstrap")
            .or_insert_with(|| Item::Table(Table::new()));
        if let Some(sha256) = &new.genesis_sha256 {
            if entry.bootstrap.genesis.is_none() {
                bootstrap["genesis"]["file"] = value("genesis.json");
            }
            bootstrap["genesis"]["sha256"] = value(sha256);
        }
        for (key, nodes) in [("peers", &new.peers), ("seeds", &new.seeds)] {
            if let Some(nodes) = nodes {
                bootstrap[key] = Item::Value(Value::Array(Array::from_iter(nodes)));
            }
        }
    })
}

fn change(text: &str, edit: impl FnOnce(&mut DocumentMut)) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse().map_err(|_| {
        // The same text was parsed a moment ago.
        super::error::whole("not TOML", "")
    })?;
    edit(&mut document);
    let changed = document.to_string();
    ChainEntry::parse(&changed)?;
    Ok(changed)
}
