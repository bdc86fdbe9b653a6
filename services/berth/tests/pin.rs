//! `berth chain pin` as a user types it, against a real registry with TLS and
//! an authority of its own. 127.0.0.2 is an address of this computer that the
//! client takes for any other host: only TLS will do.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]

use berth_rig::Registry;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// An entry of the catalogue that names its image by a tag, and that image.
const ENTRY: &str = include_str!("../../../images/cosmoshub/chain.toml");
const IMAGE: (&str, &str) = ("cosmos/gaia", "v27.6.0");

/// A registry that holds the image, and an entry that points there.
struct World {
    registry: Registry,
    /// Of the image.
    digest: String,
    file: PathBuf,
    /// Holds all of it.
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = IpAddr::from([127, 0, 0, 2]);
        let registry = Registry::start(&dir.path().join("registry"), address).unwrap();
        let layout = dir.path().join("layout");
        let digest = make_layout(&layout);
        registry.push(&layout, IMAGE.0, IMAGE.1).unwrap();
        let file = dir.path().join("chain.toml");
        let world = Self {
            registry,
            digest,
            file,
            _dir: dir,
        };
        fs::write(&world.file, world.entry()).unwrap();
        world
    }

    /// The entry, not pinned.
    fn entry(&self) -> String {
        let entry = ENTRY.replace("ghcr.io", self.registry.host());
        assert_ne!(entry, ENTRY);
        entry
    }

    /// Runs `berth chain pin FILE` as somebody who trusts the registry.
    fn pin(&self, more: &[&str]) -> Output {
        pin(&self.file, more, &[("SSL_CERT_FILE", self.registry.ca())])
    }
}

fn pin(file: &Path, more: &[&str], environment: &[(&str, PathBuf)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(["chain", "pin"])
        .arg(file)
        .args(more)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap()
}

/// Runs it, sees it fail without a change to the file, and returns why.
fn refused(file: &Path, environment: &[(&str, PathBuf)]) -> String {
    let before = fs::read(file).unwrap();
    let ended = pin(file, &[], environment);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stdout.is_empty(), "{ended:?}");
    assert_eq!(fs::read(file).unwrap(), before);
    String::from_utf8(ended.stderr).unwrap()
}

/// Makes an OCI layout with the smallest image there is; returns its digest.
fn make_layout(dir: &Path) -> String {
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let add = |kind: &str, bytes: &[u8]| {
        let hex = hex::encode(Sha256::digest(bytes));
        fs::write(dir.join("blobs/sha256").join(&hex), bytes).unwrap();
        let kind = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": kind, "digest": format!("sha256:{hex}"), "size": bytes.len() })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": add("config.v1+json", b"{}"),
        "layers": [add("layer.v1.tar", &[0; 1024])],
    });
    let manifest = add("manifest.v1+json", manifest.to_string().as_bytes());
    let digest = manifest["digest"].as_str().unwrap().to_owned();
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    digest
}

#[test]
fn the_digest_of_a_tag_is_written_once_and_nothing_else_changes() {
    let world = World::new();
    let shown = world.pin(&["--dry-run"]);
    assert!(shown.status.success(), "{shown:?}");
    let said = String::from_utf8(shown.stdout).unwrap();
    assert!(said.contains(&world.digest), "{said}");
    assert_eq!(fs::read_to_string(&world.file).unwrap(), world.entry());

    let pinned = world.pin(&[]);
    assert!(pinned.status.success(), "{pinned:?}");
    let tag = format!("tag = \"{}\"", IMAGE.1);
    let expected = world
        .entry()
        .replace(&tag, &format!("{tag}, digest = \"{}\"", world.digest));
    assert_eq!(fs::read_to_string(&world.file).unwrap(), expected);

    let again = world.pin(&[]);
    assert_eq!(again.stdout, b"nothing to pin\n", "{again:?}");
    assert_eq!(fs::read_to_string(&world.file).unwrap(), expected);
}

#[test]
fn a_tag_a_registry_or_an_authority_that_is_unknown_is_named() {
    let world = World::new();
    let trusted = [("SSL_CERT_FILE", world.registry.ca())];
    let image = format!("{}/{}", world.registry.host(), IMAGE.0);

    // Without its authority, or with another one.
    let said = refused(&world.file, &[]);
    assert!(
        said.contains(&image) && said.contains("UnknownIssuer"),
        "{said}"
    );

    let entry = world.entry();
    fs::write(&world.file, entry.replace(IMAGE.1, "v0")).unwrap();
    let said = refused(&world.file, &trusted);
    let expected = format!("berth: {image}:v0: the registry has no such image\n");
    assert_eq!(said, expected);

    // Whoever gets the port next is another registry.
    drop(world.registry);
    fs::write(&world.file, entry).unwrap();
    let said = refused(&world.file, &trusted);
    let expected = format!("berth: {image}:{}: the registry cannot be reached", IMAGE.1);
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn a_registry_that_sends_something_else_than_it_says_is_not_believed() {
    let world = World::new();
    world.registry.falsify(&world.digest).unwrap();
    let trusted = [("SSL_CERT_FILE", world.registry.ca())];
    let said = refused(&world.file, &trusted);
    assert!(said.contains("do not trust it"), "{said}");
    assert!(said.contains(&format!("says {}", world.digest)), "{said}");
}
