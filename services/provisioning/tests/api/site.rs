//! A machine that is scripted: it remembers what was brought to it, and breaks
//! when told to. It is no real machine and says so in its facts.

use crate::machine::{HARDWARE, Standing};
use berth_provisioner::docker::{Answered, Call, LogLine, LogQuery, Observed};
use berth_provisioner::drift::Drift;
use berth_provisioner::facts::{Disk, Facts};
use berth_provisioner::spec::{Deployment, PlacementRef};
use berth_provisioner::wipe::WipeReport;
use berth_provisioner::{Error, HostKey, Result, Target};
use berth_provisioning::reconcile::{Action, Answer, Site};
use chrono::DateTime;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use std::future::ready;
use std::sync::{Mutex, MutexGuard};

/// The host key of every scripted machine.
pub(crate) const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAjuSS9iBTMIBsa9kjRDN8SvhvXZMCRgQpDnTZtxN/QE";

/// What answers a call of a container: from its body, or none, and its path.
pub(crate) type Speaks = Box<dyn FnMut(&str, Option<&str>) -> (u16, String) + Send>;

/// How the line of an action begins, and what is done instead.
pub(crate) type Refuses = (&'static str, fn() -> Error);

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
        let mut standing = self.effect(line(action))?;
        match action {
            Action::Prepare => {}
            Action::Image(image, _, progress) => {
                progress(40, "2 of 5 layers");
                standing.bring(whose, &image.digest);
            }
            Action::Secrets(dirs, files) => {
                let dirs = dirs.iter().map(|dir| dir.path.clone());
                standing.dirs.extend(dirs);
                standing.put(whose, files);
            }
            Action::Files => standing.put(whose, &deployment.files),
            Action::Network => {
                standing.networks.insert(deployment.network.clone());
                standing.volumes.extend(deployment.volumes.iter().cloned());
            }
            Action::Firewall(open) => standing.open(whose, open),
            Action::Create(spec) => standing.create(deployment, spec)?,
            // Limits stand in the specification, which is kept as a hash.
            Action::Limit(_) => {}
            Action::Start(name) => standing.start(whose, name)?,
            Action::Stop(name, patience) => {
                standing.stop(whose, name)?;
                let component = component(name).to_owned();
                standing.patience.insert(component, patience);
            }
            Action::Remove(name) => standing.remove(whose, name)?,
            Action::Forget(older) => standing.forget(&older.to_string()),
            Action::Prune => {
                let wanted = deployment.containers.iter();
                let wanted = wanted.map(|c| c.image.digest.clone()).collect();
                standing.forget_images(&whose.node_id, &wanted);
            }
        }
        Ok(())
    }
}

/// An action, for people and to compare.
pub(crate) fn line(action: Action<'_>) -> String {
    match action {
        Action::Prepare => "prepare".to_owned(),
        Action::Image(image, _, _) => format!("image {}", image.repository),
        Action::Secrets(_, _) => "secrets".to_owned(),
        Action::Files => "files".to_owned(),
        Action::Network => "network".to_owned(),
        Action::Firewall(open) => {
            let ports: Vec<u16> = open.iter().map(|rule| rule.port).collect();
            format!("firewall {ports:?}")
        }
        Action::Create(spec) => format!("create {}", spec.component),
        Action::Limit(spec) => format!("limit {}", spec.component),
        Action::Start(name) => format!("start {}", component(name)),
        Action::Stop(name, _) => format!("stop {}", component(name)),
        Action::Remove(name) => format!("remove {}", component(name)),
        Action::Forget(_) => "forget".to_owned(),
        Action::Prune => "prune".to_owned(),
    }
}

fn facts((cpu_cores, memory_bytes): (u32, u64)) -> Facts {
    Facts {
        os: "a scripted machine, not a real one".to_owned(),
        cpu_cores,
        memory_bytes,
        disks: vec![Disk::default()],
        ..Facts::default()
    }
}

fn component(name: &str) -> &str {
    name.rsplit('-').next().unwrap()
}

impl Site for ScriptedSite {
    fn scan<'a>(&'a self, _address: &'a str) -> Answer<'a, HostKey> {
        let shown = self.reach().map(|standing| standing.shown_key);
        Box::pin(ready(shown.and_then(|key| key.unwrap_or(HOST_KEY).parse())))
    }

    fn measure<'a>(&'a self, _at: &'a Target) -> Answer<'a, Facts> {
        let facts = facts(HARDWARE);
        Box::pin(ready(self.effect("measure".to_owned()).map(|_| facts)))
    }

    fn hardware<'a>(&'a self, _at: &'a Target) -> Answer<'a, Facts> {
        let reached = self.reach();
        let hardware = reached.map(|standing| standing.hardware.unwrap_or(HARDWARE));
        Box::pin(ready(hardware.map(facts)))
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
        let seen = self.reach().map(|standing| standing.observe(whose));
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
        container: &'a str,
        command: &'a [&'a str],
        stdin: &'a [u8],
    ) -> Answer<'a, Vec<u8>> {
        let verb = command.last().copied().unwrap_or_default();
        let ran = self
            .effect(format!("exec {verb}"))
            .and_then(|mut standing| standing.agent(container, verb, stdin));
        Box::pin(ready(ran))
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
        let wiped = self
            .effect(format!("wipe {whose}"))
            .and_then(|mut standing| match node {
                Some(placement) => standing.wipe_node(placement),
                None => Ok(standing.wipe_machine()),
            });
        Box::pin(ready(wiped))
    }
}

/// A request as an agent makes it.
pub(crate) fn csr() -> String {
    request(&rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap())
}

/// The same for a key.
pub(crate) fn request(key: &rcgen::KeyPair) -> String {
    let mut wanted = rcgen::CertificateParams::default();
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.serialize_request(key).unwrap().pem().unwrap()
}
