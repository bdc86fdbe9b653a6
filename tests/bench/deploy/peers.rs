//! What people use instead, each told to make the same container.

use berth_provisioner::harden::spec_hash;
use berth_provisioner::spec::{
    Deployment, Exposure, LABEL_COMPONENT, LABEL_FENCE, LABEL_IMAGE, LABEL_NODE, LABEL_PLACEMENT,
    LABEL_SPEC, MountSource,
};
use berth_rig::Machine;
use serde_json::json;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are installed.
const INSTALLED: &str = "BERTH_PEERS";

/// A key for all machines, and files that say what to do.
pub(crate) struct Peers {
    dir: PathBuf,
    installed: PathBuf,
    addresses: Vec<String>,
    run: Vec<String>,
}

impl Peers {
    pub(crate) fn new(dir: &Path, machines: &[Machine], run: &[String]) -> Self {
        let peers = Self {
            dir: dir.to_owned(),
            installed: env::var_os(INSTALLED).expect(INSTALLED).into(),
            addresses: machines
                .iter()
                .map(|m| m.address().ip().to_string())
                .collect(),
            run: run.to_vec(),
        };
        peers.sign_in(machines);
        peers.write_down();
        peers
    }

    /// Makes a key that root of each machine accepts.
    fn sign_in(&self, machines: &[Machine]) {
        let key = self.dir.join("peer");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let accept = format!(
            "umask 077; mkdir -p ~root/.ssh; echo '{}' > ~root/.ssh/authorized_keys",
            public.trim()
        );
        let mut known = String::new();
        for (machine, address) in machines.iter().zip(&self.addresses) {
            machine.run(&["sh", "-c", &accept]).unwrap();
            known += &format!("{address} {}\n", machine.host_key());
        }
        fs::write(self.dir.join("known"), known).unwrap();
    }

    fn write_down(&self) {
        let dir = self.dir.display();
        let write = |name: &str, text: String| fs::write(self.dir.join(name), text).unwrap();
        write(
            "ssh_config",
            format!(
                "Host *\n User root\n IdentityFile {dir}/peer\n IdentitiesOnly yes\n \
                 UserKnownHostsFile {dir}/known\n StrictHostKeyChecking yes\n BatchMode yes\n"
            ),
        );
        // `docker -H ssh://` calls what it finds on its path.
        let bin = self.dir.join("bin");
        fs::create_dir(&bin).unwrap();
        let ssh = bin.join("ssh");
        fs::write(
            &ssh,
            format!("#!/bin/sh\nexec /usr/bin/ssh -F {dir}/ssh_config \"$@\"\n"),
        )
        .unwrap();
        fs::set_permissions(&ssh, Permissions::from_mode(0o755)).unwrap();
        let play = json!([{
            "hosts": "all",
            "gather_facts": false,
            "tasks": [{ "name": "run", "ansible.builtin.command": { "argv": self.run } }],
        }]);
        write("play.yml", play.to_string());
        let deploy = json!([shell(&self.run)]);
        write(
            "deploy.py",
            format!("from pyinfra.operations import server\nserver.shell(commands={deploy})\n"),
        );
    }

    /// A program that finds our ssh and its own Python first.
    fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut path = env::join_paths([self.dir.join("bin"), self.installed.join("bin")]).unwrap();
        path.push(":");
        path.push(env::var_os("PATH").unwrap());
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env("PATH", path)
            .env("HOME", &self.dir)
            .env("ANSIBLE_HOST_KEY_CHECKING", "True")
            .env("ANSIBLE_PIPELINING", "True");
        command
    }

    pub(crate) fn ssh(&self, machine: usize) -> Command {
        let mut command = self.program("ssh");
        command.args([&self.addresses[machine], &shell(&self.run)]);
        command
    }

    pub(crate) fn docker_host(&self, machine: usize) -> Command {
        let mut command = self.program(&self.run[0]);
        command
            .arg(format!("--host=ssh://root@{}", self.addresses[machine]))
            .args(&self.run[1..]);
        command
    }

    pub(crate) fn ansible(&self, count: usize) -> Command {
        let mut command = self.program(self.installed.join("bin/ansible-playbook"));
        command
            .arg(format!(
                "--inventory={},",
                self.addresses[..count].join(",")
            ))
            .arg("--forks=6")
            .arg(format!(
                "--ssh-common-args=-F {}",
                self.dir.join("ssh_config").display()
            ))
            .args([
                "--user=root",
                "--extra-vars=ansible_python_interpreter=/usr/bin/python3",
            ])
            .arg("play.yml");
        command
    }

    pub(crate) fn pyinfra(&self, count: usize) -> Command {
        let mut command = self.program(self.installed.join("bin/pyinfra"));
        command
            .arg("-y")
            .args(["--ssh-user", "root", "--ssh-key"])
            .arg(self.dir.join("peer"))
            .arg("--data")
            .arg(format!(
                "ssh_known_hosts_file={}",
                self.dir.join("known").display()
            ))
            .arg(self.addresses[..count].join(","))
            .arg("deploy.py");
        command
    }
}

/// Words as a shell reads them.
fn shell(words: &[String]) -> String {
    let quoted = words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

/// `docker run` for the first container of a deployment.
pub(crate) fn docker_run(deployment: &Deployment, image: &str) -> Vec<String> {
    let (placement, spec) = (&deployment.placement, &deployment.containers[0]);
    let mut words = [
        "docker",
        "run",
        "--detach",
        "--read-only",
        "--cap-drop=ALL",
        "--ipc=private",
    ]
    .map(str::to_owned)
    .to_vec();
    words.extend([
        format!("--name={}", spec.name),
        format!("--hostname={}", spec.component),
        format!("--user={}", spec.user),
        format!("--network={}", deployment.network),
        format!("--network-alias={}", spec.component),
        format!("--memory={}", spec.memory_bytes),
        format!("--memory-swap={}", spec.memory_bytes),
        format!(
            "--cpus={}.{:03}",
            spec.cpu_millis / 1000,
            spec.cpu_millis % 1000
        ),
        format!("--pids-limit={}", spec.pids),
        format!("--ulimit=nofile={0}:{0}", spec.nofile),
        format!("--stop-timeout={}", spec.stop_timeout_s),
        "--security-opt=no-new-privileges:true".to_owned(),
        "--restart=unless-stopped".to_owned(),
        "--log-driver=json-file".to_owned(),
        "--log-opt=max-size=10m".to_owned(),
        "--log-opt=max-file=3".to_owned(),
        format!("--label={LABEL_NODE}={}", placement.node_id),
        format!("--label={LABEL_PLACEMENT}={}", placement.placement_id),
        format!("--label={LABEL_FENCE}={}", placement.fence),
        format!("--label={LABEL_COMPONENT}={}", spec.component),
        format!("--label={LABEL_IMAGE}={}", spec.image),
        format!(
            "--label={LABEL_SPEC}={}",
            spec_hash(spec, &deployment.network)
        ),
    ]);
    let (uid, gid) = spec.user.split_once(':').unwrap();
    words.extend(spec.tmpfs.iter().map(|(path, size)| {
        format!("--tmpfs={path}:rw,noexec,nosuid,nodev,size={size},mode=0700,uid={uid},gid={gid}")
    }));
    words.extend(
        spec.env
            .iter()
            .map(|(key, value)| format!("--env={key}={value}")),
    );
    words.extend(spec.mounts.iter().map(|mount| match &mount.source {
        MountSource::Volume(name) => {
            format!(
                "--mount=type=volume,source={name},target={},volume-nocopy",
                mount.target
            )
        }
        MountSource::Path(path) => {
            format!("--mount=type=bind,source={path},target={}", mount.target)
        }
    }));
    words.extend(spec.ports.iter().filter_map(|port| match port.exposure {
        Exposure::Private => None,
        Exposure::Public | Exposure::Peer => {
            Some(format!("--publish={}:{}", port.host, port.container))
        }
        Exposure::Loopback => Some(format!(
            "--publish=127.0.0.1:{}:{}",
            port.host, port.container
        )),
    }));
    words.extend([
        format!("--entrypoint={}", spec.entrypoint[0]),
        image.to_owned(),
    ]);
    words.extend(spec.command.iter().cloned());
    words
}
