//! Size and free space of a volume, by `statvfs`.

use std::path::Path;

use nix::sys::statvfs::statvfs;

use super::ProbeError;
use crate::sample::Sample;

/// Measures the file system that holds `volume` below `volumes`.
///
/// # Errors
/// When the volume is not mounted into the agent's container.
pub async fn measure(volumes: &Path, volume: &str) -> Result<Vec<Sample>, ProbeError> {
    let path = volumes.join(volume);
    // A file system that hangs holds a thread of the pool, not the agent.
    let found = tokio::task::spawn_blocking(move || statvfs(&path))
        .await
        .map_err(|error| ProbeError::Local(error.to_string()))?
        .map_err(|error| ProbeError::Local(format!("volume {volume}: {}", error.desc())))?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size()) as f64;
    Ok(vec![
        Sample::gauge("berth.disk.size", bytes(found.blocks())).with("volume", volume),
        Sample::gauge("berth.disk.free", bytes(found.blocks_available())).with("volume", volume),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_volume_has_a_size_and_no_more_free_than_that() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let samples = measure(folder.path(), "data").await.unwrap();
        assert_eq!(samples[0].metric, "berth.disk.size");
        assert_eq!(samples[0].attributes["volume"], "data");
        assert!(samples[0].value > 0.0 && samples[1].value <= samples[0].value);
    }

    #[tokio::test]
    async fn a_volume_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = measure(folder.path(), "data").await.unwrap_err();
        assert!(error.to_string().contains("volume data"), "{error}");
    }
}
