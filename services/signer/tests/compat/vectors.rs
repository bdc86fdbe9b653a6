//! Public vectors, which are not part of the repository.

use std::path::{Path, PathBuf};

/// The folder of some vectors; `None`, with a line that says so, where they are
/// not at hand.
pub(crate) fn folder(name: &str, from: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let vectors = std::env::var_os("BERTH_TEST_VECTORS").map_or_else(beside, PathBuf::from);
    let folder = vectors.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("not at hand, so only our own cases ran: {name} ({from}); see BERTH_TEST_VECTORS");
    None
}
