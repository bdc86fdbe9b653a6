//! A machine, an authority and a deployment to test with.

use berth_provisioner::images::ImageSource;
use berth_provisioner::setup::{SetupInput, setup_command};
use berth_provisioner::spec::{
    ContainerSpec, Deployment, Exposure, ImageRef, Mount, MountSource, PlacementRef, Port, Protocol,
};
use berth_provisioner::{BoxError, Credentials, Machines, PoolConfig, Session, Target};
use berth_rig::{Machine, TemporaryRig};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// The user that the setup command makes.
pub(crate) const USER: &str = "berth";

/// One machine that ran the setup command, and what is needed to sign in to it.
pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) machines: Machines,
    pub(crate) target: Target,
    pub(crate) authority: Arc<Authority>,
    /// Where the machine reaches what a test opens.
    pub(crate) here: IpAddr,
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) async fn session(&self) -> Session {
        self.machines.session(&self.target).await.unwrap()
    }

    /// Runs a command as root on the machine, without us.
    pub(crate) fn root(&self, script: &str) -> String {
        self.machine.run(&["sh", "-c", script]).unwrap()
    }

    pub(crate) fn layout(&self) -> (ImageRef, [ImageSource; 1]) {
        let dir = self.dir.path().join("layout");
        let image = crate::images::make_layout(&dir);
        (image, [ImageSource::Layout(dir)])
    }

    /// Everything that a container of the deployment needs.
    pub(crate) async fn deliver(&self, session: &Session, deployment: &Deployment) {
        let (image, sources) = self.layout();
        session
            .ensure_image(&placement(1), &image, &sources, |_, _| ())
            .await
            .unwrap();
        session
            .put_files(&deployment.placement, &deployment.files)
            .await
            .unwrap();
        session.ensure_network(deployment).await.unwrap();
        session.ensure_volumes(deployment).await.unwrap();
    }
}

/// Runs a test in the network of a machine of its own.
pub(crate) fn with_machine<F: Future<Output = ()>>(test: impl FnOnce(World) -> F + Send) {
    let rig = TemporaryRig::open().unwrap();
    let machine = rig.add("m1").unwrap();
    let dir = TempDir::new().unwrap();
    let authority = Arc::new(Authority::new(dir.path()));
    let command = setup_command(&SetupInput {
        machine_id: "machine-1",
        user: USER,
        ca_public_key: &authority.public,
    })
    .unwrap();
    set_up(&machine, &command);
    let config = PoolConfig::default();
    let world = World {
        machines: Machines::new(config, authority.clone()).unwrap(),
        target: Target {
            machine_id: "machine-1".to_owned(),
            address: machine.address().to_string(),
            user: USER.to_owned(),
            host_key: machine.host_key().parse().unwrap(),
        },
        machine,
        authority,
        here: rig.controller_address(),
        dir,
    };
    // Threads of the runtime are started there, inside the network.
    rig.in_fabric(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test(world));
    })
    .unwrap();
}

/// Runs a command that makes sshd read its settings anew, and waits until it did.
pub(crate) fn set_up(machine: &Machine, command: &str) {
    let listens = "grep -c 'Server listening' /var/log/sshd.log";
    let script = format!(
        "before=$({listens})\n{command}\nuntil [ $({listens}) -gt $before ]; do sleep 0.02; done"
    );
    machine.run(&["sh", "-c", &script]).unwrap();
}

/// An SSH certificate authority, as Vault's would be.
pub(crate) struct Authority {
    dir: PathBuf,
    public: String,
}

impl Authority {
    pub(crate) fn new(dir: &Path) -> Self {
        let key = dir.join("authority");
        if !key.exists() {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key)
                .status();
            assert!(made.unwrap().success());
        }
        Self {
            dir: dir.to_owned(),
            public: fs::read_to_string(key.with_extension("pub")).unwrap(),
        }
    }

    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    fn sign(&self, public: &str, principal: &str) -> String {
        let work = TempDir::new_in(&self.dir).unwrap();
        let key = work.path().join("key.pub");
        fs::write(&key, public).unwrap();
        let signed = Command::new("ssh-keygen")
            .args(["-q", "-I", "test", "-V", "-1m:+5m", "-n", principal, "-s"])
            .arg(self.dir.join("authority"))
            .arg(&key)
            .status();
        assert!(signed.unwrap().success());
        fs::read_to_string(work.path().join("key-cert.pub")).unwrap()
    }
}

impl Credentials for Authority {
    fn sign<'a>(
        &'a self,
        public_key: &'a str,
        principal: &'a str,
    ) -> BoxFuture<'a, Result<String, BoxError>> {
        async move { Ok(self.sign(public_key, principal)) }.boxed()
    }
}

pub(crate) fn placement(fence: u64) -> PlacementRef {
    PlacementRef {
        node_id: "node-1".to_owned(),
        placement_id: format!("placement-{fence}"),
        fence,
    }
}

pub(crate) fn port(number: u16, exposure: Exposure) -> Port {
    Port {
        name: format!("port-{number}"),
        container: number,
        host: number,
        protocol: Protocol::Tcp,
        exposure,
    }
}

/// A deployment of one container that answers on its ports until it is stopped.
pub(crate) fn deployment(fence: u64, image: &ImageRef) -> Deployment {
    let listen = "use IO::Socket::INET; for my $p (@ARGV) { fork and next; \
        my $s = IO::Socket::INET->new(LocalPort => $p, Listen => 5, ReuseAddr => 1) or die; \
        while (my $c = $s->accept) { print $c \"hello\\n\"; close $c } } \
        print qq(up\\n); $SIG{TERM} = sub { kill 9, 0; exit 0 }; sleep 1 while 1;";
    let ports = vec![
        port(26656, Exposure::Peer),
        port(26657, Exposure::Loopback),
        port(26660, Exposure::Private),
    ];
    let mut command = vec!["-e".to_owned(), format!("$| = 1; {listen}")];
    command.extend(ports.iter().map(|port| port.container.to_string()));
    Deployment {
        placement: placement(fence),
        network: "berth-net-1".to_owned(),
        volumes: vec!["berth-data-1".to_owned()],
        files: vec![],
        dirs: vec![],
        secrets: vec![],
        containers: vec![ContainerSpec {
            name: "berth-1-node".to_owned(),
            component: "node".to_owned(),
            image: image.clone(),
            entrypoint: vec!["/bin/perl".to_owned()],
            command,
            env: BTreeMap::from([("LOG".to_owned(), "info".to_owned())]),
            user: "1025:1025".to_owned(),
            mounts: vec![Mount {
                source: MountSource::Volume("berth-data-1".to_owned()),
                target: "/data".to_owned(),
                read_only: false,
            }],
            files_digest: String::new(),
            tmpfs: BTreeMap::from([("/tmp".to_owned(), 1 << 20)]),
            ports,
            aliases: vec![],
            cap_add: vec![],
            memory_bytes: 256 << 20,
            cpu_millis: 500,
            pids: 64,
            nofile: 1024,
            stop_timeout_s: 5,
            gpus: 0,
        }],
    }
}
