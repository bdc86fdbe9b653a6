//! The shape of every container: what it may not do, decided in one place.
//!
//! There is no way around these limits: no option makes a container
//! privileged, root, writable, or a sharer of the machine's namespaces.

use crate::docker;
use crate::error::{Error, Result};
use crate::files;
use crate::spec::{
    ContainerSpec, Deployment, Exposure, LABEL_COMPONENT, LABEL_IMAGE, LABEL_SPEC, Mount,
    MountSource, PlacementRef, Port, Protocol,
};
use bollard::models::{
    ContainerCreateBody, DeviceRequest, EndpointSettings, HostConfig, HostConfigLogConfig,
    Mount as DockerMount, MountType, MountVolumeOptions, NetworkingConfig, PortBinding, PortMap,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};

/// Size and number of a container's log files on the machine.
const LOG_SIZE: &str = "10m";
const LOG_FILES: &str = "3";
/// Longest name of an object on a machine.
const MAX_NAME: usize = 128;

/// Hash of all that a container is made from, as its label holds it.
#[must_use]
pub fn spec_hash(spec: &ContainerSpec, network: &str) -> String {
    // Maps are ordered and nothing in it can fail to be written.
    let json = serde_json::to_vec(&(spec, network)).unwrap_or_default();
    hex::encode(Sha256::digest(json))
}

/// Checks a deployment without a machine: names, users, digests, paths, ports.
///
/// # Errors
///
/// [`Error::Invalid`], naming what is wrong.
pub fn check(deployment: &Deployment) -> Result<()> {
    check_name("the network's name", &deployment.network)?;
    let mut names = BTreeSet::new();
    let mut ports = BTreeSet::new();
    for spec in &deployment.containers {
        check_container(&deployment.placement, spec)?;
        if !names.insert(&spec.name) {
            return Err(Error::invalid("a container's name", "it is used twice"));
        }
        for port in published(spec) {
            if !ports.insert((port.protocol, port.host)) {
                let why = format!("{} is published twice", port.host);
                return Err(Error::invalid("a port", why));
            }
        }
        for mount in &spec.mounts {
            if let MountSource::Volume(volume) = &mount.source
                && !deployment.volumes.contains(volume)
            {
                let why = format!("{volume} is not one of the deployment's");
                return Err(Error::invalid("a volume", why));
            }
        }
    }
    Ok(())
}

/// Checks one container of a placement.
pub(crate) fn check_container(placement: &PlacementRef, spec: &ContainerSpec) -> Result<()> {
    check_name("the container's name", &spec.name)?;
    check_name("the component", &spec.component)?;
    check_digest(&spec.image.digest)?;
    check_user(&spec.user)?;
    if spec.memory_bytes == 0 || spec.cpu_millis == 0 || spec.pids == 0 || spec.nofile == 0 {
        return Err(Error::invalid(
            "a limit",
            "memory, CPU, pids and nofile must be set",
        ));
    }
    for cap in &spec.cap_add {
        let named = !cap.is_empty() && cap.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        if !named || cap == "ALL" {
            return Err(Error::invalid("a capability", format!("{cap} is none")));
        }
    }
    for mount in &spec.mounts {
        match &mount.source {
            MountSource::Volume(name) => check_name("the volume's name", name)?,
            MountSource::Path(path) => files::check_path(placement, path)?,
        }
    }
    for port in published(spec) {
        if port.host == 0 || port.container == 0 {
            return Err(Error::invalid(
                "a port",
                format!("{} has no number", port.name),
            ));
        }
    }
    Ok(())
}

/// A name that Docker takes and that needs no quoting anywhere.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let starts = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if starts && name.len() <= MAX_NAME && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(Error::invalid(
            what,
            "use letters, digits, `-`, `_` and `.`",
        ))
    }
}

/// `sha256:` and 64 lower-case hex digits.
pub(crate) fn check_digest(digest: &str) -> Result<()> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(())
    } else {
        Err(Error::invalid(
            "the digest",
            "expected `sha256:` and 64 hex digits",
        ))
    }
}

/// `uid:gid`, in numbers, and not root's.
fn check_user(user: &str) -> Result<()> {
    let ids = user.split_once(':').map(|(u, g)| (u.parse(), g.parse()));
    match ids {
        Some((Ok(1u32..), Ok(1u32..))) => Ok(()),
        _ => Err(Error::invalid(
            "the user",
            "expected `uid:gid` in numbers, neither of them 0",
        )),
    }
}

/// Ports that leave the bridge.
fn published(spec: &ContainerSpec) -> impl Iterator<Item = &Port> {
    spec.ports
        .iter()
        .filter(|port| port.exposure != Exposure::Private)
}

/// What Docker is asked to make. `image` is Docker's id of the checked image.
pub(crate) fn container(
    placement: &PlacementRef,
    spec: &ContainerSpec,
    network: &str,
    image: &str,
) -> ContainerCreateBody {
    let mut aliases = spec.aliases.clone();
    aliases.push(spec.component.clone());
    let endpoint = EndpointSettings {
        aliases: Some(aliases),
        ..EndpointSettings::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        hostname: Some(spec.component.clone()),
        user: Some(spec.user.clone()),
        entrypoint: (!spec.entrypoint.is_empty()).then(|| spec.entrypoint.clone()),
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect()),
        exposed_ports: Some(published(spec).map(port_key).collect()),
        labels: Some(labels(placement, spec, network)),
        stop_timeout: Some(i64::from(spec.stop_timeout_s)),
        host_config: Some(host_config(spec, network)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}

fn labels(
    placement: &PlacementRef,
    spec: &ContainerSpec,
    network: &str,
) -> HashMap<String, String> {
    let mut labels = docker::labels(placement);
    labels.insert(LABEL_COMPONENT.to_owned(), spec.component.clone());
    labels.insert(LABEL_IMAGE.to_owned(), spec.image.to_string());
    labels.insert(LABEL_SPEC.to_owned(), spec_hash(spec, network));
    labels
}

pub(crate) fn host_config(spec: &ContainerSpec, network: &str) -> HostConfig {
    let memory = i64::try_from(spec.memory_bytes).unwrap_or(i64::MAX);
    let nofile = i64::from(spec.nofile);
    HostConfig {
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(spec.cap_add.clone()),
        readonly_rootfs: Some(true),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        network_mode: Some(network.to_owned()),
        ipc_mode: Some("private".to_owned()),
        memory: Some(memory),
        // Equal to the memory: nothing of a container is swapped to disk.
        memory_swap: Some(memory),
        nano_cpus: Some(
            i64::try_from(spec.cpu_millis.saturating_mul(1_000_000)).unwrap_or(i64::MAX),
        ),
        pids_limit: Some(i64::from(spec.pids)),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("nofile".to_owned()),
            soft: Some(nofile),
            hard: Some(nofile),
        }]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), LOG_SIZE.to_owned()),
                ("max-file".to_owned(), LOG_FILES.to_owned()),
            ])),
        }),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        }),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        tmpfs: Some(
            spec.tmpfs
                .iter()
                .map(|(p, s)| (p.clone(), tmpfs(spec, *s)))
                .collect(),
        ),
        port_bindings: Some(port_bindings(spec)),
        device_requests: (spec.gpus > 0).then(|| vec![gpus(spec.gpus)]),
        ..HostConfig::default()
    }
}

fn mount(mount: &Mount) -> DockerMount {
    let (typ, source, volume_options) = match &mount.source {
        // Contents of the image would bring the image's owner with them.
        MountSource::Volume(name) => {
            let options = MountVolumeOptions {
                no_copy: Some(true),
                ..MountVolumeOptions::default()
            };
            (MountType::VOLUME, name, Some(options))
        }
        MountSource::Path(path) => (MountType::BIND, path, None),
    };
    DockerMount {
        typ: Some(typ),
        source: Some(source.clone()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        volume_options,
        ..DockerMount::default()
    }
}

fn tmpfs(spec: &ContainerSpec, size: u64) -> String {
    let (uid, gid) = spec.user.split_once(':').unwrap_or_default();
    format!("rw,noexec,nosuid,nodev,size={size},mode=0700,uid={uid},gid={gid}")
}

fn port_key(port: &Port) -> String {
    format!("{}/{}", port.container, port.protocol.name())
}

fn port_bindings(spec: &ContainerSpec) -> PortMap {
    let mut bindings = PortMap::new();
    for port in published(spec) {
        let host_ip = match port.exposure {
            Exposure::Public | Exposure::Peer | Exposure::Private => None,
            Exposure::Loopback => Some("127.0.0.1".to_owned()),
        };
        let binding = PortBinding {
            host_ip,
            host_port: Some(port.host.to_string()),
        };
        bindings
            .entry(port_key(port))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    bindings
}

fn gpus(count: u32) -> DeviceRequest {
    DeviceRequest {
        driver: Some("nvidia".to_owned()),
        count: Some(i64::from(count)),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    }
}

impl Protocol {
    /// `tcp` or `udp`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ImageRef;
    use std::collections::BTreeMap;

    fn placement() -> PlacementRef {
        PlacementRef {
            node_id: "node-1".to_owned(),
            placement_id: "placement-1".to_owned(),
            fence: 3,
        }
    }

    fn spec() -> ContainerSpec {
        let port = |name: &str, number, exposure| Port {
            name: name.to_owned(),
            container: number,
            host: number,
            protocol: Protocol::Tcp,
            exposure,
        };
        ContainerSpec {
            name: "berth-1-node".to_owned(),
            component: "node".to_owned(),
            image: ImageRef {
                repository: "example.com/node".to_owned(),
                tag: "v1".to_owned(),
                digest: format!("sha256:{}", "a".repeat(64)),
            },
            entrypoint: vec![],
            command: vec!["start".to_owned()],
            env: BTreeMap::new(),
            user: "1000:1000".to_owned(),
            mounts: vec![],
            tmpfs: BTreeMap::from([("/tmp".to_owned(), 1024)]),
            ports: vec![
                port("p2p", 26656, Exposure::Peer),
                port("rpc", 26657, Exposure::Loopback),
                port("engine", 8551, Exposure::Private),
            ],
            aliases: vec![],
            cap_add: vec![],
            memory_bytes: 1 << 30,
            cpu_millis: 1500,
            pids: 100,
            nofile: 1024,
            stop_timeout_s: 30,
            gpus: 0,
            files_digest: String::new(),
        }
    }

    #[test]
    fn a_private_port_is_not_published_and_a_loopback_port_only_on_loopback() {
        let bindings = port_bindings(&spec());
        let ip = |key: &str| bindings[key].as_ref().unwrap()[0].host_ip.clone();
        assert_eq!(ip("26656/tcp"), None);
        assert_eq!(ip("26657/tcp"), Some("127.0.0.1".to_owned()));
        assert!(!bindings.contains_key("8551/tcp"));
    }

    #[test]
    fn what_would_loosen_a_container_is_refused() {
        type Spoil = fn(&mut ContainerSpec);
        let spoil: [(&str, Spoil); 8] = [
            ("root", |s| s.user = "0:0".to_owned()),
            ("root's group", |s| s.user = "1000:0".to_owned()),
            ("a user by name", |s| s.user = "node".to_owned()),
            ("a tag for a digest", |s| {
                s.image.digest = "latest".to_owned()
            }),
            ("no memory limit", |s| s.memory_bytes = 0),
            ("all capabilities", |s| s.cap_add = vec!["ALL".to_owned()]),
            ("an option for a name", |s| {
                s.name = "--privileged".to_owned()
            }),
            ("Docker's socket", |s| {
                s.mounts = vec![Mount {
                    source: MountSource::Path("/var/run/docker.sock".to_owned()),
                    target: "/docker.sock".to_owned(),
                    read_only: true,
                }];
            }),
        ];
        check_container(&placement(), &spec()).unwrap();
        for (what, spoil) in spoil {
            let mut spec = spec();
            spoil(&mut spec);
            let refused = check_container(&placement(), &spec);
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{what}");
        }
    }

    #[test]
    fn a_container_gets_the_graphics_processors_that_it_asks_for_and_no_other_device() {
        let mut spec = spec();
        let host = |spec: &ContainerSpec| host_config(spec, "net");
        assert_eq!(host(&spec).device_requests, None);
        spec.gpus = 2;
        let wanted = DeviceRequest {
            driver: Some("nvidia".to_owned()),
            count: Some(2),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        };
        assert_eq!(host(&spec).device_requests, Some(vec![wanted]));
        assert_eq!(host(&spec).devices, None);
    }

    #[test]
    fn any_change_of_a_container_changes_its_hash() {
        let mut changed = spec();
        changed.env.insert("LOG".to_owned(), "debug".to_owned());
        assert_ne!(spec_hash(&spec(), "net"), spec_hash(&changed, "net"));
        assert_ne!(spec_hash(&spec(), "net"), spec_hash(&spec(), "other"));
        assert_eq!(spec_hash(&spec(), "net"), spec_hash(&spec(), "net"));
    }
}
