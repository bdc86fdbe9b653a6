//! What stands on a scripted machine, and what it refuses as a real one would:
//! to start what is not there, to make a container without its image, network or
//! volumes, to undo what a newer placement did. It is no real machine.

use crate::site::{Refuses, Speaks};
use berth_provisioner::docker::{ContainerState, Observed, ObservedContainer};
use berth_provisioner::drift::Difference;
use berth_provisioner::firewall::PortRule;
use berth_provisioner::harden::spec_hash;
use berth_provisioner::spec::{ContainerSpec, Deployment, FileSpec, MountSource, PlacementRef};
use berth_provisioner::wipe::WipeReport;
use berth_provisioner::{Error, Result};
use rcgen::PublicKeyData as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Folders as `berth_provisioner::files` has them.
const DATA: &str = "/var/lib/berth";
const SECRETS: &str = "/run/berth";

/// Processors and bytes of memory that the machine has.
pub(crate) const HARDWARE: (u32, u64) = (4, 8 << 30);

/// What stands on the machine, and what it does next.
#[derive(Default)]
pub(crate) struct Standing {
    pub(crate) containers: Vec<ObservedContainer>,
    pub(crate) volumes: BTreeSet<String>,
    pub(crate) networks: BTreeSet<String>,
    /// Path, mode and contents.
    pub(crate) files: Vec<(String, u32, Vec<u8>)>,
    /// Folders of secrets.
    pub(crate) dirs: BTreeSet<String>,
    /// Images by digest, each with the nodes that it was brought for.
    pub(crate) images: BTreeMap<String, BTreeSet<String>>,
    /// Ports that are open, by node.
    pub(crate) firewall: BTreeMap<String, Vec<u16>>,
    /// The node of each placement that secrets were brought for.
    owners: BTreeMap<String, String>,
    /// What each container needs of the machine, by name.
    needs: BTreeMap<String, Vec<MountSource>>,
    /// Everything that was done, a line each.
    pub(crate) log: Vec<String>,
    /// What the machine does next instead of what it is asked.
    pub(crate) fault: Option<fn() -> Error>,
    /// Holds up the next action until it is told to go on.
    pub(crate) gate: Option<Arc<Notify>>,
    /// What it does instead of every action whose line begins so.
    pub(crate) refuses: Option<Refuses>,
    /// How long a component got to stop.
    pub(crate) patience: BTreeMap<String, Duration>,
    /// Breaks the session before that action, counted from now, once.
    pub(crate) lost_before: Option<usize>,
    /// What somebody changed by hand, until it is put right; with what is done
    /// that puts it right.
    pub(crate) changed: Vec<(&'static str, Difference)>,
    /// Processors and bytes of memory, where they are not [`HARDWARE`].
    pub(crate) hardware: Option<(u32, u64)>,
    /// A host key that is not the one it had.
    pub(crate) shown_key: Option<&'static str>,
    /// How often it was compared with what should stand.
    pub(crate) looks: usize,
    /// Number of the machine's run.
    pub(crate) boot: u32,
    /// What answers calls of its containers.
    pub(crate) speaks: Option<Speaks>,
}

/// Docker's refusal.
fn refused(what: &'static str, status: u16, message: String) -> Error {
    Error::Docker {
        what,
        status: Some(status),
        message,
    }
}

/// Whether something was named for a node.
fn of_node(node: &str, name: &str) -> bool {
    let short = node.rsplit('-').next().unwrap();
    name == format!("berth-{short}") || name.starts_with(&format!("berth-{short}-"))
}

impl Standing {
    /// The node's containers, volumes, networks and files, and the placement's
    /// secrets.
    pub(crate) fn observe(&self, whose: &PlacementRef) -> Observed {
        let node = &whose.node_id;
        let ours = |name: &&String| of_node(node, name);
        let (data, secrets) = folders(whose);
        let paths = self.files.iter().map(|(path, _, _)| path);
        let mut containers = self.containers.clone();
        containers.retain(|c| of_node(node, &c.name));
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Observed {
            containers,
            volumes: self.volumes.iter().filter(ours).cloned().collect(),
            networks: self.networks.iter().filter(ours).cloned().collect(),
            files: paths
                .filter(|path| path.starts_with(&data) || path.starts_with(&secrets))
                .cloned()
                .collect(),
        }
    }

    /// A container of the node, of no newer fence.
    fn find(&mut self, whose: &PlacementRef, name: &str) -> Result<Option<&mut ObservedContainer>> {
        assert!(of_node(&whose.node_id, name), "{name} is another node's");
        let found = self.containers.iter_mut().find(|c| c.name == name);
        match found {
            Some(newer) if newer.fence > whose.fence => Err(Error::Fenced {
                have: newer.fence,
                want: whose.fence,
            }),
            found => Ok(found),
        }
    }

    /// Writes files, secret or not, below the placement's folders.
    pub(crate) fn put(&mut self, whose: &PlacementRef, files: &[FileSpec]) {
        let (data, secrets) = folders(whose);
        self.owners
            .insert(whose.placement_id.clone(), whose.node_id.clone());
        for file in files {
            let inside = file.path.starts_with(&data) || file.path.starts_with(&secrets);
            assert!(inside, "{} is not the placement's", file.path);
            self.files.retain(|(path, _, _)| *path != file.path);
            self.files
                .push((file.path.clone(), file.mode, file.contents.clone()));
        }
    }

    pub(crate) fn open(&mut self, whose: &PlacementRef, rules: &[PortRule]) {
        let ports = rules.iter().map(|rule| rule.port).collect();
        self.firewall.insert(whose.node_id.clone(), ports);
    }

    /// Makes a container, adopts it, or replaces an older one.
    pub(crate) fn create(&mut self, deployment: &Deployment, spec: &ContainerSpec) -> Result<()> {
        const WHAT: &str = "create a container";
        let whose = &deployment.placement;
        let spec_hash = spec_hash(spec, &deployment.network);
        let found = self.find(whose, &spec.name)?;
        if found.is_some_and(|c| c.placement_id == whose.placement_id && c.spec_hash == spec_hash) {
            return Ok(());
        }
        self.remove(whose, &spec.name)?;
        if !self.images.contains_key(&spec.image.digest) {
            return Err(Error::NoImage {
                image: spec.image.to_string(),
                why: "it was not delivered yet".to_owned(),
            });
        }
        if !self.networks.contains(&deployment.network) {
            return Err(refused(WHAT, 404, format!("no {}", deployment.network)));
        }
        for mount in &spec.mounts {
            if let MountSource::Volume(name) = &mount.source
                && !self.volumes.contains(name)
            {
                return Err(refused(WHAT, 404, format!("no volume {name}")));
            }
        }
        let sources = spec.mounts.iter().map(|mount| mount.source.clone());
        self.needs.insert(spec.name.clone(), sources.collect());
        self.containers.push(ObservedContainer {
            name: spec.name.clone(),
            component: spec.component.clone(),
            placement_id: whose.placement_id.clone(),
            fence: whose.fence,
            spec_hash,
            image: spec.image.to_string(),
            state: ContainerState::Created,
            exit_code: 0,
            out_of_memory: false,
            restarts: 0,
            error: String::new(),
        });
        Ok(())
    }

    /// Starts a container, which must find what it mounts.
    pub(crate) fn start(&mut self, whose: &PlacementRef, name: &str) -> Result<()> {
        const WHAT: &str = "start a container";
        for need in self.needs.get(name).into_iter().flatten() {
            if let MountSource::Path(path) = need
                && !self.stands(path)
            {
                return Err(refused(WHAT, 400, format!("{path} is not there")));
            }
        }
        let Some(found) = self.find(whose, name)? else {
            return Err(refused(WHAT, 404, format!("{name} is not there")));
        };
        found.state = ContainerState::Running;
        Ok(())
    }

    fn stands(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let mut files = self.files.iter().map(|(file, _, _)| file);
        self.dirs.contains(path) || files.any(|file| file == path || file.starts_with(&below))
    }

    pub(crate) fn stop(&mut self, whose: &PlacementRef, name: &str) -> Result<()> {
        if let Some(found) = self.find(whose, name)?
            && found.state == ContainerState::Running
        {
            found.state = ContainerState::Exited;
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, whose: &PlacementRef, name: &str) -> Result<()> {
        self.find(whose, name)?;
        self.containers.retain(|c| c.name != name);
        Ok(())
    }

    /// Removes the secrets of a placement, of which no container is left.
    pub(crate) fn forget(&mut self, placement: &str) {
        let used = self.containers.iter().any(|c| c.placement_id == placement);
        assert!(!used, "a container of {placement} still stands");
        let folder = format!("{SECRETS}/{placement}/");
        self.files.retain(|(path, _, _)| !path.starts_with(&folder));
        self.dirs.retain(|path| !path.starts_with(&folder));
        self.owners.remove(placement);
    }

    /// Runs a command of the agent, which makes one key and takes only
    /// certificates of it.
    pub(crate) fn agent(&mut self, container: &str, verb: &str, stdin: &[u8]) -> Result<Vec<u8>> {
        let found = self.containers.iter().find(|c| c.name == container);
        let Some(agent) = found.filter(|c| c.state == ContainerState::Running) else {
            return Err(refused("run a command", 409, "it does not run".to_owned()));
        };
        let folder = format!("{SECRETS}/{}/agent", agent.placement_id);
        let (key, certificate) = (
            format!("{folder}/key.pem"),
            format!("{folder}/certificate.pem"),
        );
        if verb == "csr" {
            if !self.stands(&key) {
                let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
                self.files
                    .push((key.clone(), 0o600, made.serialize_pem().into_bytes()));
            }
            return Ok(crate::site::request(&self.key(&key)).into_bytes());
        }
        let spki = self.key(&key).subject_public_key_info();
        let first = CertificateDer::from_pem_slice(stdin).unwrap();
        assert!(
            first.windows(spki.len()).any(|part| part == spki),
            "the certificate is of another key"
        );
        self.files.retain(|(path, _, _)| *path != certificate);
        self.files.push((certificate, 0o644, stdin.to_vec()));
        Ok(Vec::new())
    }

    fn key(&self, path: &str) -> rcgen::KeyPair {
        let found = self.files.iter().find(|(file, _, _)| file == path);
        let (_, _, pem) = found.expect("the agent has a key");
        rcgen::KeyPair::from_pem(str::from_utf8(pem).unwrap()).unwrap()
    }

    /// Removes all of a node.
    pub(crate) fn wipe_node(&mut self, whose: &PlacementRef) -> Result<WipeReport> {
        let ours = self.observe(whose);
        let mut report = WipeReport::default();
        for container in &ours.containers {
            self.remove(whose, &container.name)?;
            report.containers.push(container.name.clone());
        }
        report.images = self.forget_images(&whose.node_id, &BTreeSet::new());
        self.volumes.retain(|name| !of_node(&whose.node_id, name));
        self.networks.retain(|name| !of_node(&whose.node_id, name));
        self.firewall.remove(&whose.node_id);
        let owned = self
            .owners
            .iter()
            .filter(|(_, node)| **node == whose.node_id);
        let mut folders: Vec<_> = owned.map(|(id, _)| format!("{SECRETS}/{id}/")).collect();
        folders.push(format!("{DATA}/{}/", whose.node_id));
        let gone = |path: &String| folders.iter().any(|folder| path.starts_with(folder));
        self.files.retain(|(path, _, _)| !gone(path));
        self.dirs.retain(|path| !gone(path));
        self.owners.retain(|_, node| *node != whose.node_id);
        report.volumes = ours.volumes;
        report.networks = ours.networks;
        report.files = u64::try_from(ours.files.len()).unwrap();
        Ok(report)
    }

    /// An image comes for a node, or is there.
    pub(crate) fn bring(&mut self, whose: &PlacementRef, digest: &str) {
        let nodes = self.images.entry(digest.to_owned()).or_default();
        nodes.insert(whose.node_id.clone());
    }

    /// A node has no images but these; those that went with it.
    pub(crate) fn forget_images(&mut self, node: &str, wanted: &BTreeSet<String>) -> Vec<String> {
        let (mut gone, used) = (Vec::new(), &self.containers);
        self.images.retain(|digest, nodes| {
            let is_used = used.iter().any(|c| c.image.ends_with(digest.as_str()));
            if is_used || wanted.contains(digest) || !nodes.remove(node) {
                return true;
            }
            if nodes.is_empty() {
                gone.push(digest.clone());
            }
            !nodes.is_empty()
        });
        gone
    }

    /// Removes all that was ever brought.
    pub(crate) fn wipe_machine(&mut self) -> WipeReport {
        self.volumes.clear();
        self.networks.clear();
        self.files.clear();
        self.dirs.clear();
        self.images.clear();
        self.firewall.clear();
        self.owners.clear();
        let gone = std::mem::take(&mut self.containers);
        WipeReport {
            containers: gone.into_iter().map(|c| c.name).collect(),
            ..WipeReport::default()
        }
    }
}

/// The folder of a node's files and that of a placement's secrets.
fn folders(whose: &PlacementRef) -> (String, String) {
    (
        format!("{DATA}/{}/", whose.node_id),
        format!("{SECRETS}/{}/", whose.placement_id),
    )
}
