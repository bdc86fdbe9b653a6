//! The catalogue, rendered to text and compared with `images/*/golden/`, and one
//! more entry that signs.
//!
//! `UPDATE=1` rewrites the files; look at the difference before you commit it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use berth_provisioner::chain::{self, BootstrapChange, ChainEntry, Role};
use berth_provisioner::render::agent::{Control, Signer};
use berth_provisioner::render::{AgentLaunch, Launch, RenderError, render};
use berth_provisioner::spec::{Deployment, DirSpec, ImageRef, PlacementRef, SecretSpec};
use sha2::{Digest as _, Sha256};

const GENESIS: &[u8] = b"{\"chain_id\":\"an example\"}\n";

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../images")
}

fn small() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn entry_text(folder: &Path) -> String {
    fs::read_to_string(folder.join("chain.toml")).unwrap()
}

/// The entry as it stands after `pin` and `register`.
fn complete(folder: &Path) -> ChainEntry {
    let mut text = entry_text(folder);
    let entry = ChainEntry::parse(&text).unwrap_or_else(|e| panic!("{}:\n{e}", folder.display()));
    for (component, fill) in entry
        .components
        .iter()
        .zip(["aa", "bb", "cc", "dd", "ee", "ff"])
    {
        let digest = format!("sha256:{}", fill.repeat(32));
        text = chain::pin(&text, &component.name, &digest).unwrap();
    }
    if entry.bootstrap.genesis.is_some() {
        let peers = vec![
            format!("{}@203.0.113.20:26656", "1f".repeat(20)),
            format!("{}@203.0.113.20:26666", "2e".repeat(20)),
        ];
        let change = BootstrapChange {
            genesis_sha256: Some(hex::encode(Sha256::digest(GENESIS))),
            peers: Some(peers),
            seeds: None,
        };
        text = chain::with_bootstrap(&text, &change).unwrap();
    }
    ChainEntry::parse(&text).unwrap()
}

fn rendered(entry: &ChainEntry, role: Role) -> Result<Deployment, RenderError> {
    let placement = PlacementRef {
        node_id: "node-0198c0de-0000-7000-8000-0123456789ab".to_owned(),
        placement_id: "placement-0198c0de-0000-7000-8000-000000000002".to_owned(),
        fence: 3,
    };
    let image = ImageRef {
        repository: "berth/agent".to_owned(),
        tag: "0.1.0".to_owned(),
        digest: format!("sha256:{}", "99".repeat(32)),
    };
    let control = Control {
        otlp_endpoint: "https://203.0.113.9:4317".to_owned(),
        otlp_server_name: "monitoring.berth.internal".to_owned(),
        renew_endpoint: "https://203.0.113.9:4443".to_owned(),
        renew_server_name: "provisioning.berth.internal".to_owned(),
    };
    let signer = Signer::at("203.0.113.9:7208,203.0.113.10:7208");
    // What has no default is an execution address.
    let required = entry.settings.iter().filter(|(_, s)| s.default.is_none());
    let settings = required.map(|(name, _)| (name.clone(), format!("0x{}", "ab".repeat(20))));
    let settings: BTreeMap<String, String> = settings.collect();
    let genesis = entry.bootstrap.genesis.as_ref();
    let files: BTreeMap<String, Vec<u8>> = genesis
        .map(|g| (g.file.clone(), GENESIS.to_vec()))
        .into_iter()
        .collect();
    render(&Launch {
        entry,
        role,
        node_name: "my-node",
        settings: &settings,
        files: &files,
        placement: &placement,
        machine_address: "203.0.113.7",
        port_offset: 100,
        agent: AgentLaunch {
            image: &image,
            control: &control,
            signer: signer.as_ref(),
            ca_pem: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
            interval_s: 10,
        },
    })
}

fn text_of(deployment: &Deployment) -> String {
    let mut text = String::new();
    let mut rest = deployment.clone();
    let files = std::mem::take(&mut rest.files);
    let dirs = std::mem::take(&mut rest.dirs);
    let secrets = std::mem::take(&mut rest.secrets);
    writeln!(text, "{rest:#?}").unwrap();
    for dir in dirs {
        let DirSpec {
            path,
            mode,
            uid,
            gid,
        } = dir;
        writeln!(text, "\n===== {path}/ {mode:o} {uid}:{gid}").unwrap();
    }
    for secret in secrets {
        let SecretSpec {
            name,
            path,
            mode,
            uid,
            gid,
        } = secret;
        writeln!(
            text,
            "\n===== {path} {mode:o} {uid}:{gid}\nthe secret `{name}`"
        )
        .unwrap();
    }
    for file in files {
        let contents = String::from_utf8(file.contents).unwrap();
        write!(
            text,
            "\n===== {} {:o} {}:{}\n{contents}",
            file.path, file.mode, file.uid, file.gid
        )
        .unwrap();
    }
    text
}

#[test]
fn every_chain_renders_as_its_golden_file_says() {
    let update = std::env::vars_os().any(|(name, value)| name == "UPDATE" && value == "1");
    let mut chains = 0;
    let folders = [images(), small()].map(|folder| fs::read_dir(folder).unwrap());
    for folder in folders.into_iter().flatten() {
        let folder = folder.unwrap().path();
        if !folder.join("chain.toml").exists() {
            continue;
        }
        chains += 1;
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let entry = complete(&folder);
        assert_eq!(entry.name, name, "the folder has the name of the chain");
        for role in entry.roles() {
            let text = match rendered(&entry, role) {
                Ok(deployment) => text_of(&deployment),
                Err(refused) => format!("{refused}\n"),
            };
            let golden = folder.join("golden").join(format!("{role}.txt"));
            if update {
                fs::create_dir_all(golden.parent().unwrap()).unwrap();
                fs::write(&golden, &text).unwrap();
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            assert!(
                text == expected,
                "{} differs; run with UPDATE=1 and look at the difference",
                golden.display()
            );
        }
    }
    assert!(chains >= 9, "the catalogue has {chains} chains");
}

#[test]
fn no_entry_carries_a_digest_or_a_checksum_that_was_not_fetched() {
    for folder in fs::read_dir(images()).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.join("chain.toml").exists() {
            continue;
        }
        let entry = ChainEntry::parse(&entry_text(&folder)).unwrap();
        assert!(entry.components.iter().all(|c| c.image.digest.is_none()));
        let why = entry.launchable().unwrap_err();
        assert!(why.contains("has no digest"), "{why}");
    }
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    let entry = complete(&images().join("cosmos-devnet"));
    let (one, two) = (rendered(&entry, Role::Full), rendered(&entry, Role::Full));
    assert_eq!(one.unwrap(), two.unwrap());
}
