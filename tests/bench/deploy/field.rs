//! Six machines, and every way to deploy to them.

use crate::harness::{Authority, USER, deployment, set_up};
use crate::peers::{Peers, docker_run};
use crate::{Way, cold, images};
use berth_provisioner::images::ImageSource;
use berth_provisioner::setup::{SetupInput, setup_command};
use berth_provisioner::spec::Deployment;
use berth_provisioner::{Machines, PoolConfig, Target};
use berth_rig::{Machine, TemporaryRig};
use futures::future::join_all;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const MACHINES: u8 = 6;

/// The machines, ready for a container.
pub(crate) struct Field {
    machines: Vec<Machine>,
    targets: Vec<Target>,
    pool: Machines,
    deployment: Deployment,
    /// `docker run` and its arguments, for that deployment.
    run: Vec<String>,
    peers: Peers,
    runtime: Runtime,
    dir: TempDir,
    /// What the first container looked like.
    looks: OnceLock<Value>,
}

impl Field {
    /// Makes the machines, and calls where they can be reached.
    pub(crate) fn with(work: impl FnOnce(&Self) + Send) {
        let rig = TemporaryRig::open().unwrap();
        let machines = rig.up(MACHINES).unwrap();
        rig.in_fabric(|| work(&Self::new(machines))).unwrap();
    }

    fn new(machines: Vec<Machine>) -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Arc::new(Authority::new(dir.path()));
        let targets: Vec<Target> = machines.iter().map(target).collect();
        for (machine, target) in machines.iter().zip(&targets) {
            let command = setup_command(&SetupInput {
                machine_id: &target.machine_id,
                user: USER,
                ca_public_key: authority.public(),
            });
            set_up(machine, &command.unwrap());
        }
        let image = images::make_layout(&dir.path().join("layout"));
        let deployment = deployment(1, &image);
        let pool = Machines::new(PoolConfig::default(), authority).unwrap();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(join_all(
            targets
                .iter()
                .map(|target| prepare(&pool, target, &deployment, &dir)),
        ));
        let id = machines[0].run(&["docker", "images", "--no-trunc", "--quiet"]);
        let run = docker_run(&deployment, id.unwrap().trim());
        let peers = Peers::new(dir.path(), &machines, &run);
        Self {
            machines,
            targets,
            pool,
            deployment,
            run,
            peers,
            runtime,
            dir,
            looks: OnceLock::new(),
        }
    }

    /// Puts the container onto so many machines, in one way, and answers what
    /// Berth did with its time on each.
    pub(crate) fn deploy(&self, way: Way, count: usize) -> Vec<Parts> {
        let said = match way {
            Way::Local => at_once(self.machines[..count].iter().map(|machine| {
                let mut command = machine.command(&self.run[0]).unwrap();
                command.args(&self.run[1..]);
                command
            })),
            Way::Resident => {
                let targets = self.targets[..count].iter();
                let put = targets.map(|target| put(&self.pool, target, &self.deployment));
                return self.runtime.block_on(join_all(put));
            }
            Way::Cold => at_once([cold::command(self.dir.path(), &self.targets[..count])]),
            Way::Ssh => at_once((0..count).map(|machine| self.peers.ssh(machine))),
            Way::DockerHost => at_once((0..count).map(|machine| self.peers.docker_host(machine))),
            Way::Pyinfra => at_once([self.peers.pyinfra(count)]),
            Way::Ansible => at_once([self.peers.ansible(count)]),
        };
        if way == Way::Cold {
            serde_json::from_slice(&said[0]).unwrap()
        } else {
            Vec::new()
        }
    }

    /// Fails unless the container runs on each of them and is like all before;
    /// then takes it away.
    pub(crate) fn check_and_remove(&self, way: Way, count: usize) {
        thread::scope(|scope| {
            for machine in &self.machines[..count] {
                scope.spawn(|| self.check_and_remove_on(machine, way));
            }
        });
    }

    fn check_and_remove_on(&self, machine: &Machine, way: Way) {
        let name = &self.deployment.containers[0].name;
        let inspected = machine.run(&["docker", "inspect", name]).unwrap();
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        let looks = looks(&inspected[0]);
        let first = self.looks.get_or_init(|| looks.clone());
        assert_eq!(looks, *first, "{way:?} made another container");
        machine.run(&["docker", "rm", "--force", name]).unwrap();
    }
}

/// How we sign in to a machine.
fn target(machine: &Machine) -> Target {
    Target {
        machine_id: format!("machine-{}", machine.index()),
        address: machine.address().to_string(),
        user: USER.to_owned(),
        host_key: machine.host_key().parse().unwrap(),
    }
}

/// Everything but the container.
async fn prepare(pool: &Machines, target: &Target, deployment: &Deployment, dir: &TempDir) {
    let session = pool.session(target).await.unwrap();
    let image = &deployment.containers[0].image;
    let sources = [ImageSource::Layout(dir.path().join("layout"))];
    session
        .ensure_image(&deployment.placement, image, &sources, |_, _| ())
        .await
        .unwrap();
    session.ensure_network(deployment).await.unwrap();
    session.ensure_volumes(deployment).await.unwrap();
}

/// Seconds to a session, to a container that is made, to one that runs.
pub(crate) type Parts = [f64; 3];

/// What Berth does for a container.
pub(crate) async fn put(pool: &Machines, target: &Target, deployment: &Deployment) -> Parts {
    let begun = Instant::now();
    let session = pool.session(target).await.unwrap();
    let signed_in = begun.elapsed().as_secs_f64();
    let (placement, spec) = (&deployment.placement, &deployment.containers[0]);
    let made = session.ensure_container(placement, spec, &deployment.network);
    Box::pin(made).await.unwrap();
    let made = begun.elapsed().as_secs_f64();
    session.start(placement, &spec.name).await.unwrap();
    let runs = begun.elapsed().as_secs_f64();
    [signed_in, made - signed_in, runs - made]
}

/// Runs commands together; each must succeed. What they print.
fn at_once(commands: impl IntoIterator<Item = Command>) -> Vec<Vec<u8>> {
    let running: Vec<_> = commands
        .into_iter()
        .map(|mut command| thread::spawn(move || command.output().unwrap()))
        .collect();
    let ended = running.into_iter().map(|running| {
        let output = running.join().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    });
    ended.collect()
}

/// What counts about a container.
fn looks(inspected: &Value) -> Value {
    let (config, host) = (&inspected["Config"], &inspected["HostConfig"]);
    let ports: Vec<_> = host["PortBindings"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(port, bound)| json!([port, bound[0]["HostIp"].as_str(), bound[0]["HostPort"]]))
        .collect();
    let host: Vec<_> = [
        "ReadonlyRootfs",
        "CapDrop",
        "SecurityOpt",
        "NetworkMode",
        "Memory",
        "MemorySwap",
        "NanoCpus",
        "PidsLimit",
        "Ulimits",
        "RestartPolicy",
        "Tmpfs",
        "LogConfig",
        "IpcMode",
    ]
    .map(|key| host[key].clone())
    .into();
    let config: Vec<_> = [
        "User",
        "Entrypoint",
        "Cmd",
        "Env",
        "Labels",
        "Hostname",
        "StopTimeout",
    ]
    .map(|key| config[key].clone())
    .into();
    json!({
        "running": inspected["State"]["Running"],
        "image": inspected["Image"],
        "mount": inspected["Mounts"][0]["Name"],
        "host": host,
        "ports": ports,
        "config": config,
    })
}
