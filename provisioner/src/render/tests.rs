//! Deployments rendered from small entries, and what no input may put into one.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::chain::{Invalid, pin};
use crate::spec::MountSource;

const ENTRY: &str = r#"schema = 1
name = "example"
display_name = "Example"
chain_id = "example-1"
version = "1"
custody = "remote-signer"
licence = "MIT"

[[components]]
name = "node"
roles = ["full"]
image = { repository = "example.com/node", tag = "v1" }
command = ["--name={settings.moniker}", "--at={machine.address}:{host_port.p2p}"]
env = { PEERS = "{bootstrap.peers}" }
user = "1000:1001"
volumes = { data = "/data" }
memory = "64MiB"
cpu_millis = 500

[[components]]
name = "helper"
roles = ["full", "light"]
image = { repository = "example.com/helper", tag = "v1" }
user = "1002:1002"
volumes = { data = "/shared" }
memory = "64MiB"
cpu_millis = 500
gpus = 1

[[ports]]
name = "p2p"
component = "node"
number = 65000
purpose = "p2p"
exposure = "peer"

[[ports]]
name = "rpc"
component = "helper"
number = 80
purpose = "rpc"
exposure = "private"

[[files]]
component = "node"
path = "/etc/node/config.json"
template = '{"key": "{secret.key}", "moniker": "{settings.moniker}"}'

[[secrets]]
name = "key"
kind = "hex32"
components = ["node", "helper"]
file = "key.hex"

[requirements.full]
gpu_count = 1

[requirements.light]
gpu_count = 1

[bootstrap]
peers = ["a@10.0.0.1:1", "b@10.0.0.2:2"]

[[probes]]
kind = "http-json"
name = "status"
url = "http://helper:80/"
liveness = true

[[probes]]
kind = "gpu"
name = "gpu"

[settings.moniker]
type = "text"
default = "{node.name}"
pattern = ".*"
help = "Name that peers see."
"#;

/// The entry with digests.
static COMPLETE: LazyLock<ChainEntry> = LazyLock::new(|| entry(ENTRY).unwrap());

/// An entry with digests.
fn entry(text: &str) -> Result<ChainEntry, Invalid> {
    let digest = format!("sha256:{}", "0".repeat(64));
    let text = pin(text, "node", &digest).and_then(|text| pin(&text, "helper", &digest));
    ChainEntry::parse(&text.unwrap_or_default())
}

/// What a test may vary.
struct Case<'a> {
    role: Role,
    name: &'a str,
    settings: BTreeMap<String, String>,
    node_id: &'a str,
    address: &'a str,
    offset: u16,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            role: Role::Full,
            name: "mine",
            settings: BTreeMap::new(),
            node_id: "node-0198c0de-0000-7000-8000-0123456789ab",
            address: "203.0.113.7",
            offset: 0,
        }
    }
}

impl Case<'_> {
    fn render(&self) -> Result<Deployment, RenderError> {
        self.with(&COMPLETE)
    }

    fn with(&self, entry: &ChainEntry) -> Result<Deployment, RenderError> {
        let placement = PlacementRef {
            node_id: self.node_id.to_owned(),
            placement_id: "placement-0198c0de-0000-7000-8000-000000000002".to_owned(),
            fence: 1,
        };
        let image = ImageRef {
            repository: "berth/agent".to_owned(),
            tag: "1".to_owned(),
            digest: format!("sha256:{}", "1".repeat(64)),
        };
        let control = Control {
            otlp_endpoint: "https://203.0.113.9:4317".to_owned(),
            otlp_server_name: "monitoring".to_owned(),
            renew_endpoint: "https://203.0.113.9:4443".to_owned(),
            renew_server_name: "provisioning".to_owned(),
        };
        render(&Launch {
            entry,
            role: self.role,
            node_name: self.name,
            settings: &self.settings,
            files: &BTreeMap::new(),
            placement: &placement,
            machine_address: self.address,
            port_offset: self.offset,
            agent: AgentLaunch {
                image: &image,
                control: &control,
                signer: None,
                ca_pem: "PEM",
                interval_s: 10,
            },
        })
    }
}

#[test]
fn values_are_put_into_arguments_environment_and_files() {
    let deployment = Case::default().render().unwrap();
    let node = &deployment.containers[0];
    assert_eq!(node.command, ["--name=mine", "--at=203.0.113.7:65000"]);
    assert_eq!(node.env["PEERS"], "a@10.0.0.1:1,b@10.0.0.2:2");
    let file = &deployment.files[0];
    assert_eq!(
        file.contents,
        br#"{"key": "/run/secrets/key.hex", "moniker": "mine"}"#
    );
    assert!(file.path.ends_with("/node/etc/node/config.json"));
}

#[test]
fn components_share_a_volume_and_a_secret_but_no_folder() {
    let deployment = Case::default().render().unwrap();
    assert_eq!(deployment.volumes, ["berth-0123456789ab-data"]);
    let owners: Vec<(&str, u32, u32)> = deployment
        .secrets
        .iter()
        .map(|s| (s.name.as_str(), s.uid, s.gid))
        .collect();
    assert_eq!(owners, [("key", 1000, 1001), ("key", 1002, 1002)]);
    assert_ne!(deployment.secrets[0].path, deployment.secrets[1].path);
}

#[test]
fn another_role_gets_only_its_components_and_probes() {
    let case = Case {
        role: Role::Light,
        ..Case::default()
    };
    let deployment = case.render().unwrap();
    let names: Vec<&str> = deployment
        .containers
        .iter()
        .map(|c| c.component.as_str())
        .collect();
    assert_eq!(names, ["helper", "agent"]);
    assert_eq!(deployment.containers[1].gpus, 1);

    let case = Case {
        role: Role::Validator,
        ..case
    };
    assert_eq!(case.render(), Err(RenderError::NoRole(Role::Validator)));
}

#[test]
fn a_changed_file_changes_the_specification_of_its_container_only() {
    let one = Case::default().render().unwrap();
    let settings = BTreeMap::from([("moniker".to_owned(), "other".to_owned())]);
    let case = Case {
        settings,
        ..Case::default()
    };
    let two = case.render().unwrap();
    let digest = |d: &Deployment, i: usize| d.containers[i].files_digest.clone();
    assert_ne!(digest(&one, 0), digest(&two, 0));
    assert_eq!(digest(&one, 1), digest(&two, 1));
    assert_eq!(digest(&one, 2), digest(&two, 2));
}

#[test]
fn addresses_and_ports_that_do_not_fit_are_refused() {
    let six = Case {
        address: "2001:db8::1",
        ..Case::default()
    };
    let deployment = six.render().unwrap();
    assert_eq!(
        deployment.containers[0].command[1],
        "--at=[2001:db8::1]:65000"
    );
    for address in ["", "a b", "a\nb", "a\"", "x:1"] {
        let case = Case {
            address,
            ..Case::default()
        };
        let wrong = RenderError::Unusable("address of the machine");
        assert_eq!(case.render(), Err(wrong), "{address:?}");
    }
    let case = Case {
        offset: 600,
        ..Case::default()
    };
    let wrong = RenderError::Port {
        number: 65000,
        offset: 600,
    };
    assert_eq!(case.render(), Err(wrong));
}

#[test]
fn an_identifier_that_is_none_makes_no_path() {
    for node_id in ["", "node-1", "node-../../../../etc-aaaa-aaaa-aaaaaaaaaaaa"] {
        let case = Case {
            node_id,
            ..Case::default()
        };
        let wrong = RenderError::Unusable("identifier of the node");
        assert_eq!(case.render(), Err(wrong), "{node_id}");
    }
}

#[test]
fn an_entry_without_a_digest_is_not_rendered() {
    let entry = ChainEntry::parse(ENTRY).unwrap();
    let why = entry.launchable().unwrap_err();
    assert!(why.contains("`node` has no digest"), "{why}");
}

/// What must hold of anything that is rendered, whatever was put in.
fn sound(deployment: &Deployment) {
    let below = |path: &str, folder: &str| {
        path.starts_with(folder)
            && !path.split('/').any(|s| s == ".." || s == ".")
            && !path.contains("//")
            && !path.chars().any(char::is_control)
    };
    let data = format!("/var/lib/berth/{}/", deployment.placement.node_id);
    let run = format!("/run/berth/{}/", deployment.placement.placement_id);
    for file in &deployment.files {
        assert!(below(&file.path, &data), "{}", file.path);
        assert!(file.contents.len() <= MAX_FILE);
    }
    let secrets = deployment.secrets.iter().map(|s| &s.path);
    for path in deployment.dirs.iter().map(|d| &d.path).chain(secrets) {
        assert!(below(path, &run), "{path}");
    }
    for container in &deployment.containers {
        assert!(container.name.len() <= 63);
        for text in container.command.iter().chain(container.env.values()) {
            assert!(text.len() <= MAX_ARGUMENT);
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        for mount in &container.mounts {
            assert!(below(&mount.target, "/"), "{}", mount.target);
            match &mount.source {
                MountSource::Path(path) => assert!(below(path, &data) || below(path, &run)),
                MountSource::Volume(name) => assert!(deployment.volumes.contains(name)),
            }
        }
    }
}

proptest! {
    #[test]
    fn no_name_setting_or_address_leaves_its_place(
        name in "\\PC{0,80}|[\\x00-\\x7f]{0,80}",
        moniker in proptest::option::of("\\PC{0,300}|[\\x00-\\x7f]{0,300}"),
        address in "[a-z0-9.:-]{1,40}|\\PC{0,40}",
        offset in 0u16..600,
    ) {
        let settings = moniker.into_iter().map(|m| ("moniker".to_owned(), m)).collect();
        let case = Case { name: &name, settings, address: &address, offset, ..Case::default() };
        if let Ok(deployment) = case.render() {
            sound(&deployment);
            let config = String::from_utf8(deployment.files[0].contents.clone()).unwrap();
            let json: serde_json::Value = serde_json::from_str(&config).unwrap();
            assert_eq!(json["key"], "/run/secrets/key.hex");
        }
    }

    #[test]
    fn no_damage_to_an_entry_leaves_its_place(
        at in 0..ENTRY.len(),
        cut in 0usize..20,
        insert in "[\\[\\]{}=\"'.,#\n\\\\a-z0-9*/ -]{0,12}",
    ) {
        let end = (at + cut).min(ENTRY.len());
        let text = format!("{}{insert}{}", &ENTRY[..at], &ENTRY[end..]);
        if let Ok(entry) = entry(&text) {
            for role in entry.roles() {
                if let Ok(deployment) = (Case { role, ..Case::default() }).with(&entry) {
                    sound(&deployment);
                }
            }
        }
    }
}
