//! OCI image layouts: made from what `docker save` writes, with the layers as they are, uncompressed.
//!
//! Beside the files of the specification stands docker's own `manifest.json`, so that the same directory, packed by
//! tar, is food for `docker load`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::Context;
use crate::{Error, Result, shell};

/// The annotation that holds the hash of what an image was made of.
const INPUTS: &str = "dev.berth.inputs";

/// What is known of a layout.
pub(super) struct Present {
    pub(super) digest: String,
    pub(super) inputs: String,
}

/// Reads a layout's index; a layout that cannot be read is none.
pub(super) fn read(layout: &Path) -> Option<Present> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).ok()?).ok()?;
    let entry = &index["manifests"][0];
    let digest = entry["digest"].as_str()?.to_owned();
    let inputs = entry["annotations"][INPUTS].as_str()?.to_owned();
    Some(Present { digest, inputs })
}

/// An image in the file that `docker save` writes.
#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

/// Writes the layout `out/name` from an unpacked `docker save` and returns the digest of its manifest.
pub(super) fn write(archive: &Path, out: &Path, name: &str, inputs: &str) -> Result<String> {
    let malformed = |problem: &str| Error::Malformed {
        what: "what docker saved".into(),
        problem: problem.into(),
    };
    let list = fs::read(archive.join("manifest.json")).during(|| "read manifest.json".into())?;
    let list: Vec<Saved> = serde_json::from_slice(&list).map_err(|e| malformed(&e.to_string()))?;
    let saved = list.first().ok_or_else(|| malformed("it holds no image"))?;

    let fresh = out.join(format!(".{name}.new"));
    remove(&fresh)?;
    let blobs = fresh.join("blobs/sha256");
    fs::create_dir_all(&blobs).during(|| format!("create {}", blobs.display()))?;
    let config = Blob::link(&archive.join(&saved.config), &blobs, out)?;
    let layers = saved
        .layers
        .iter()
        .map(|layer| Blob::link(&archive.join(layer), &blobs, out));
    let layers = layers.collect::<Result<Vec<_>>>()?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": layers.iter().map(|layer| layer.descriptor(layer.layer_type())).collect::<Vec<_>>(),
    });
    let bytes = manifest.to_string();
    let digest = hex::encode(Sha256::digest(&bytes));
    shell::write(&blobs.join(&digest), &bytes)?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
            "annotations": { "org.opencontainers.image.ref.name": name, INPUTS: inputs },
        }],
    });
    shell::write(&fresh.join("index.json"), index.to_string())?;
    shell::write(
        &fresh.join("oci-layout"),
        json!({ "imageLayoutVersion": "1.0.0" }).to_string(),
    )?;
    let docker = json!([{
        "Config": config.path(),
        "RepoTags": [format!("berth/{name}:latest")],
        "Layers": layers.iter().map(Blob::path).collect::<Vec<_>>(),
    }]);
    shell::write(&fresh.join("manifest.json"), docker.to_string())?;

    let layout = out.join(name);
    remove(&layout)?;
    fs::rename(&fresh, &layout).during(|| format!("write {}", layout.display()))?;
    Ok(format!("sha256:{digest}"))
}

/// A file named by its own hash.
struct Blob {
    hex: String,
    size: u64,
    gzip: bool,
}

impl Blob {
    /// Puts a file among the blobs, or links the same blob of another layout, so that shared layers lie there once.
    fn link(file: &Path, blobs: &Path, out: &Path) -> Result<Self> {
        let file = file
            .canonicalize()
            .during(|| format!("open {}", file.display()))?;
        let blob = Self::of(&file)?;
        let target = blobs.join(&blob.hex);
        let twin = fs::read_dir(out).during(|| format!("list {}", out.display()))?;
        let twin = twin
            .filter_map(|entry| entry.ok())
            .map(|entry| entry.path().join(blob.path()));
        let source = twin.into_iter().find(|path| path.is_file()).unwrap_or(file);
        if source != target {
            fs::hard_link(&source, &target).during(|| format!("link {}", target.display()))?;
        }
        Ok(blob)
    }

    fn of(file: &Path) -> Result<Self> {
        let open = || File::open(file).during(|| format!("open {}", file.display()));
        let mut start = Vec::new();
        open()?
            .take(2)
            .read_to_end(&mut start)
            .during(|| format!("read {}", file.display()))?;
        let mut hash = Sha256::new();
        let size = std::io::copy(&mut open()?, &mut HashWriter(&mut hash));
        let size = size.during(|| format!("read {}", file.display()))?;
        Ok(Self {
            hex: hex::encode(hash.finalize()),
            size,
            gzip: start == [0x1f, 0x8b],
        })
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.hex)
    }

    fn layer_type(&self) -> &'static str {
        match self.gzip {
            true => "application/vnd.oci.image.layer.v1.tar+gzip",
            false => "application/vnd.oci.image.layer.v1.tar",
        }
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", self.hex), "size": self.size })
    }
}

/// Everything written goes into the hash.
struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn remove(dir: &Path) -> Result<()> {
    match dir.exists() {
        true => fs::remove_dir_all(dir).during(|| format!("remove {}", dir.display())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};

    #[test]
    fn a_layout_names_every_blob_by_its_hash_and_shares_layers_with_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, out) = (dir.path().join("archive"), dir.path().join("out"));
        fs::create_dir_all(&archive).unwrap();
        fs::create_dir_all(&out).unwrap();
        fs::write(archive.join("config.json"), "{}").unwrap();
        fs::write(archive.join("layer.tar"), "a layer").unwrap();
        let list = json!([{ "Config": "config.json", "RepoTags": null, "Layers": ["layer.tar"] }]);
        fs::write(archive.join("manifest.json"), list.to_string()).unwrap();

        let digest = super::write(&archive, &out, "first", "made of this").unwrap();
        assert_eq!(
            super::write(&archive, &out, "second", "made of that").unwrap(),
            digest
        );
        let present = super::read(&out.join("first")).unwrap();
        assert_eq!(
            (present.digest, present.inputs),
            (digest.clone(), "made of this".into())
        );

        let blobs = out.join("second/blobs/sha256");
        for blob in fs::read_dir(&blobs).unwrap().flatten() {
            let hash = hex::encode(Sha256::digest(fs::read(blob.path()).unwrap()));
            assert_eq!(blob.file_name().to_string_lossy(), hash);
        }
        let manifest = fs::read(blobs.join(digest.trim_start_matches("sha256:"))).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["layers"][0]["size"], "a layer".len());
        let layer = manifest["layers"][0]["digest"]
            .as_str()
            .unwrap()
            .replace(':', "/");
        let link = |name: &str| fs::metadata(out.join(name).join("blobs").join(&layer)).unwrap();
        assert_eq!(link("first").ino(), link("second").ino());
    }
}
