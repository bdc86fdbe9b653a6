//! An OCI image layout in a folder: `oci-layout`, `index.json`, `blobs/sha256/`.

use super::registry::{Blob, Offer};
use crate::error::{Error, Result};
use crate::harden::check_digest;
use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Longest index or manifest.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Most entries of an index or manifest.
const MAX_ENTRIES: usize = 512;
/// What a manifest is when it does not say.
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A layout on our disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    dir: PathBuf,
}

/// An image that a layout names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutImage {
    /// `sha256:…` of its manifest or index.
    pub digest: String,
    /// `org.opencontainers.image.ref.name`, such as a tag.
    pub name: Option<String>,
}

/// Index and manifest at once: each has its own lists.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    ref_name: Option<String>,
}

impl Layout {
    /// A layout in this folder.
    ///
    /// # Errors
    ///
    /// [`Error::NoImage`] when the folder holds none.
    pub fn open(dir: &Path) -> Result<Self> {
        let layout = Self {
            dir: dir.to_owned(),
        };
        let marker = layout.read("oci-layout", "oci-layout")?;
        let version: serde_json::Value = parse(&marker, "oci-layout")?;
        if version["imageLayoutVersion"] == "1.0.0" {
            Ok(layout)
        } else {
            Err(no_image(
                &layout.dir.display(),
                "not an OCI layout of version 1.0.0",
            ))
        }
    }

    /// The images that its index names.
    ///
    /// # Errors
    ///
    /// [`Error::NoImage`] when the index cannot be read.
    pub fn images(&self) -> Result<Vec<LayoutImage>> {
        let index: Document = parse(&self.read("index.json", "index.json")?, "index.json")?;
        let image = |entry: Descriptor| LayoutImage {
            digest: entry.digest,
            name: entry.annotations.ref_name,
        };
        Ok(index.manifests.into_iter().map(image).collect())
    }

    /// All that one image is made of, and nothing else. Documents are read and
    /// their digests checked; layers are checked for their size here and for
    /// their digest by whoever pulls them.
    pub(crate) async fn offer(&self, digest: &str) -> Result<Offer> {
        let (layout, digest) = (self.clone(), digest.to_owned());
        let read = tokio::task::spawn_blocking(move || {
            let mut offer = Offer::default();
            layout.add_manifest(&mut offer, &digest, true)?;
            Ok(offer)
        });
        read.await.map_err(|e| no_image(&"the layout", e))?
    }

    fn add_manifest(&self, offer: &mut Offer, digest: &str, top: bool) -> Result<()> {
        let text = self.document(digest)?;
        let document: Document = parse(&text, digest)?;
        let parts = document.manifests.len() + document.layers.len();
        if parts > MAX_ENTRIES || (!top && !document.manifests.is_empty()) {
            return Err(no_image(&digest, "too many or too deep entries"));
        }
        for child in &document.manifests {
            // An index may name platforms that were not fetched.
            if self.blob(&child.digest)?.exists() {
                self.add_manifest(offer, &child.digest, false)?;
            }
        }
        for part in document.config.iter().chain(&document.layers) {
            let path = self.blob(&part.digest)?;
            let size = fs::metadata(&path)
                .map_err(|e| no_image(&part.digest, e))?
                .len();
            if size != part.size {
                return Err(Error::DigestMismatch {
                    what: format!("{} in {}", part.digest, self.dir.display()),
                    expected: format!("{} bytes", part.size),
                    seen: format!("{size} bytes"),
                });
            }
            offer.blobs.insert(part.digest.clone(), Blob { path, size });
        }
        let kind = match (document.media_type, document.manifests.is_empty()) {
            (Some(kind), _) => kind,
            (None, true) => OCI_MANIFEST.to_owned(),
            (None, false) => OCI_INDEX.to_owned(),
        };
        offer.manifests.insert(digest.to_owned(), (kind, text));
        Ok(())
    }

    /// A document by its digest, which its contents must have.
    fn document(&self, digest: &str) -> Result<Bytes> {
        check_digest(digest)?;
        let text = self.read(&format!("blobs/{}", digest.replace(':', "/")), digest)?;
        let seen = format!("sha256:{}", hex::encode(Sha256::digest(&text)));
        if seen == digest {
            Ok(text)
        } else {
            Err(Error::DigestMismatch {
                what: format!("a manifest in {}", self.dir.display()),
                expected: digest.to_owned(),
                seen,
            })
        }
    }

    fn blob(&self, digest: &str) -> Result<PathBuf> {
        check_digest(digest)?;
        Ok(self.dir.join("blobs").join(digest.replace(':', "/")))
    }

    fn read(&self, path: &str, what: &str) -> Result<Bytes> {
        let read = || -> io::Result<Vec<u8>> {
            let path = self.dir.join(path);
            if fs::metadata(&path)?.len() > MAX_DOCUMENT {
                return Err(io::Error::other("it is too long"));
            }
            fs::read(path)
        };
        let place = self.dir.display();
        let read = read().map_err(|e| no_image(&what, format!("{e} in {place}")))?;
        Ok(read.into())
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(text).map_err(|e| no_image(&what, e))
}

fn no_image(image: &dyn std::fmt::Display, why: impl std::fmt::Display) -> Error {
    Error::NoImage {
        image: image.to_string(),
        why: why.to_string(),
    }
}
