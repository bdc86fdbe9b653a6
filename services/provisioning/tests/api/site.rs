//! A machine that is scripted: it remembers what was brought to it, and breaks
//! when told to. It is no real machine and says so in its facts.

use berth_provisioner::docker::{
    Answered, Call, ContainerState, LogLine, LogQuery, Observed, ObservedContainer,
};
use berth_provisioner::drift::{Difference, Drift};
use berth_provisioner::facts::{Disk, Facts};
use berth_provisioner::harden::spec_hash;
use berth_provisioner::spec::{Deployment, PlacementRef};
use berth_provisioner::wipe::WipeReport;
use berth_provisioner::{Error, HostKey, Result, Target};
use berth_provisioning::reconcile::{Action, Answer, Site};
use chrono::DateTime;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// The host key of every scripted machine.
pub(crate) const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAjuSS9iBTMIBsa9kjRDN8SvhvXZMCRgQpDnTZtxN/QE";

/// What answers a call of a container: from its body, or none, and its path.
pub(crate) type Speaks = Box<dyn FnMut(&str, Option<&str>) -> (u16, String) + Send>;

/// How the line of an action begins, and what is done instead.
pub(crate) type Refuses = (&'static str, fn() -> Error);

/// What stands on the machine.
#[derive(Default)]
pub(crate) struct Standing {
    pub(crate) containers: Vec<ObservedContainer>,
    pub(crate) volumes: BTreeSet<String>,
    pub(crate) networks: BTreeSet<String>,
    /// Path, mode and contents.
    pub(crate) files: Vec<(String, u32, Vec<u8>)>,
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
    /// Processors that are left of four, when some are gone.
    pub(crate) cores: Option<u32>,
    /// A host key that is not the one it had.
    pub(crate) shown_key: Option<&'static str>,
    /// How often it was compared with what should stand.
    pub(crate) looks: usize,
    /// Number of the machine's run.
    pub(crate) boot: u32,
    /// What answers calls of its containers.
    pub(crate) speaks: Option<Speaks>,
}

/// A machine for tests.
#[derive(Default)]
pub(crate) struct ScriptedSite(Mutex<Standing>);

impl ScriptedSite {
    /// What stands there.
    pub(crate) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap()
    }

    fn reach(&self) -> Result<MutexGuard<'_, Standing>> {
        let standing = self.standing();
        match standing.fault {
            Some(fault) => Err(fault()),
            None => Ok(standing),
        }
    }

    fn effect(&self, what: String) -> Result<MutexGuard<'_, Standing>> {
        let mut standing = self.reach()?;
        if let Some((which, fault)) = standing.refuses
            && what.starts_with(which)
        {
            return Err(fault());
        }
        match standing.lost_before {
            Some(0) => {
                standing.lost_before = None;
                return Err(Error::Lost { what: "a test" });
            }
            Some(left) => standing.lost_before = Some(left - 1),
            None => {}
        }
        standing.changed.retain(|(cure, _)| !what.starts_with(cure));
        standing.log.push(what);
        Ok(standing)
    }

    fn done(&self, deployment: &Deployment, action: Action<'_>) -> Result<()> {
        let whose = &deployment.placement;
        match action {
            Action::Prepare => drop(self.effect("prepare".to_owned())?),
            Action::Image(image, _, progress) => {
                let standing = self.effect(format!("image {}", image.repository))?;
                drop(standing);
                progress(40, "2 of 5 layers");
            }
            Action::Secrets(_, files) => {
                let mut standing = self.effect("secrets".to_owned())?;
                put(&mut standing, files);
            }
            Action::Files => {
                let mut standing = self.effect("files".to_owned())?;
                put(&mut standing, &deployment.files);
            }
            Action::Network => {
                let mut standing = self.effect("network".to_owned())?;
                standing.networks.insert(deployment.network.clone());
                standing.volumes.extend(deployment.volumes.iter().cloned());
            }
            Action::Firewall(open) => {
                let ports: Vec<u16> = open.iter().map(|rule| rule.port).collect();
                drop(self.effect(format!("firewall {ports:?}"))?);
            }
            Action::Create(spec) => {
                let mut standing = self.effect(format!("create {}", spec.component))?;
                standing.containers.push(ObservedContainer {
                    name: spec.name.clone(),
                    component: spec.component.clone(),
                    placement_id: whose.placement_id.clone(),
                    fence: whose.fence,
                    spec_hash: spec_hash(spec, &deployment.network),
                    image: spec.image.to_string(),
                    state: ContainerState::Created,
                    exit_code: 0,
                    out_of_memory: false,
                    restarts: 0,
                    error: String::new(),
                });
            }
            Action::Limit(spec) => drop(self.effect(format!("limit {}", spec.component))?),
            Action::Start(name) => self.turn("start", name, ContainerState::Running)?,
            Action::Stop(name, patience) => {
                self.turn("stop", name, ContainerState::Exited)?;
                let component = component(name).to_owned();
                self.standing().patience.insert(component, patience);
            }
            Action::Remove(name) => {
                let mut standing = self.effect(format!("remove {}", component(name)))?;
                standing.containers.retain(|c| c.name != name);
            }
            Action::Forget(older) => {
                let mut standing = self.effect("forget".to_owned())?;
                let dir = format!("/run/berth/{older}/");
                standing
                    .files
                    .retain(|(path, _, _)| !path.starts_with(&dir));
            }
        }
        Ok(())
    }

    fn turn(&self, verb: &str, name: &str, state: ContainerState) -> Result<()> {
        let mut standing = self.effect(format!("{verb} {}", component(name)))?;
        let found = standing.containers.iter_mut().find(|c| c.name == name);
        found.unwrap().state = state;
        Ok(())
    }
}

fn facts(cpu_cores: u32) -> Facts {
    Facts {
        os: "a scripted machine, not a real one".to_owned(),
        cpu_cores,
        memory_bytes: 8 << 30,
        disks: vec![Disk::default()],
        ..Facts::default()
    }
}

fn component(name: &str) -> &str {
    name.rsplit('-').next().unwrap()
}

fn put(standing: &mut Standing, files: &[berth_provisioner::spec::FileSpec]) {
    for file in files {
        standing.files.retain(|(path, _, _)| *path != file.path);
        standing
            .files
            .push((file.path.clone(), file.mode, file.contents.clone()));
    }
}

impl Site for ScriptedSite {
    fn scan<'a>(&'a self, _address: &'a str) -> Answer<'a, HostKey> {
        let shown = self.reach().map(|standing| standing.shown_key);
        Box::pin(ready(shown.and_then(|key| key.unwrap_or(HOST_KEY).parse())))
    }

    fn measure<'a>(&'a self, _at: &'a Target) -> Answer<'a, Facts> {
        let facts = facts(4);
        Box::pin(ready(self.effect("measure".to_owned()).map(|_| facts)))
    }

    fn hardware<'a>(&'a self, _at: &'a Target) -> Answer<'a, Facts> {
        let cores = self.reach().map(|standing| standing.cores.unwrap_or(4));
        Box::pin(ready(cores.map(facts)))
    }

    fn drift<'a>(&'a self, _at: &'a Target, _of: &'a Deployment) -> Answer<'a, Drift> {
        let found = self.reach().map(|mut standing| {
            standing.looks += 1;
            let all = standing.changed.iter();
            Drift {
                boot: format!("run {}", standing.boot),
                differences: all.map(|(_, difference)| difference.clone()).collect(),
            }
        });
        Box::pin(ready(found))
    }

    fn observe<'a>(&'a self, _at: &'a Target, whose: &'a PlacementRef) -> Answer<'a, Observed> {
        let seen = self.reach().map(|standing| Observed {
            containers: standing.containers.clone(),
            volumes: standing.volumes.iter().cloned().collect(),
            networks: standing.networks.iter().cloned().collect(),
            files: standing
                .files
                .iter()
                .map(|(path, _, _)| path.clone())
                .filter(|path| path.contains(&whose.placement_id) || path.starts_with("/var"))
                .collect(),
        });
        Box::pin(ready(seen))
    }

    fn act<'a>(
        &'a self,
        _at: &'a Target,
        deployment: &'a Deployment,
        action: Action<'a>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let gate = self.standing().gate.take();
            if let Some(gate) = gate {
                gate.notified().await;
            }
            self.done(deployment, action)
        })
    }

    fn exec<'a>(
        &'a self,
        _at: &'a Target,
        _container: &'a str,
        command: &'a [&'a str],
        stdin: &'a [u8],
    ) -> Answer<'a, Vec<u8>> {
        let run = || {
            let verb = command.last().copied().unwrap_or_default();
            let mut standing = self.effect(format!("exec {verb}"))?;
            if verb == "csr" {
                return Ok(csr().into_bytes());
            }
            let agent = standing
                .containers
                .iter()
                .find(|c| c.component == "agent")
                .unwrap();
            let path = format!("/run/berth/{}/agent/certificate.pem", agent.placement_id);
            standing.files.push((path, 0o600, stdin.to_vec()));
            Ok(Vec::new())
        };
        Box::pin(ready(run()))
    }

    fn call<'a>(
        &'a self,
        _at: &'a Target,
        whose: &'a PlacementRef,
        container: &'a str,
        call: Call<'a>,
    ) -> Answer<'a, Answered> {
        let answered = self.reach().map(|mut standing| {
            let found = standing.containers.iter().find(|c| c.name == container);
            assert_eq!(found.unwrap().placement_id, whose.placement_id);
            let speaks = standing.speaks.as_mut().unwrap();
            let (status, body) = speaks(call.path, call.body);
            Answered {
                status,
                body: body.into_bytes(),
            }
        });
        Box::pin(ready(answered))
    }

    fn logs<'a>(
        &'a self,
        _at: &'a Target,
        container: &'a str,
        query: LogQuery,
    ) -> Answer<'a, BoxStream<'static, Result<LogLine>>> {
        let lines = (1..=query.tail.min(3)).map(|number| LogLine {
            stderr: false,
            time: DateTime::from_timestamp(number.into(), 1),
            text: format!("line {number} of {}", component(container)),
        });
        let lines = lines.filter(|line| line.time >= query.since);
        let lines: Vec<_> = lines.map(Ok).collect();
        let log = stream::iter(lines);
        let log = if query.follow {
            log.chain(stream::pending()).boxed()
        } else {
            log.boxed()
        };
        Box::pin(ready(self.reach().map(|_| log)))
    }

    fn wipe<'a>(
        &'a self,
        _at: &'a Target,
        node: Option<&'a PlacementRef>,
    ) -> Answer<'a, WipeReport> {
        let whose = if node.is_some() { "node" } else { "machine" };
        let wiped = self.effect(format!("wipe {whose}")).map(|mut standing| {
            let gone = std::mem::take(&mut standing.containers);
            standing.volumes.clear();
            standing.networks.clear();
            standing.files.clear();
            WipeReport {
                containers: gone.into_iter().map(|c| c.name).collect(),
                ..WipeReport::default()
            }
        });
        Box::pin(ready(wiped))
    }
}

/// A request as an agent makes it.
pub(crate) fn csr() -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut wanted = rcgen::CertificateParams::default();
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.serialize_request(&key).unwrap().pem().unwrap()
}
