//! The side that holds the machines: the pool of sessions of the provisioning
//! service, in this process.

use crate::machines::{MACHINES, address, host_key};
use berth_provisioner::spec::PlacementRef;
use berth_provisioner::{BoxError, Credentials, Machines, PoolConfig, Session, Target};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use std::sync::Arc;

/// Machines that are worked on at once: what the service does when its
/// configuration does not say otherwise.
pub(crate) const AT_ONCE: usize = 64;

/// All machines, and the pool.
pub(crate) struct Holder {
    pool: Machines,
    targets: Vec<Target>,
}

impl Holder {
    pub(crate) fn new(port: u16) -> Self {
        let authority = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
        let pool = Machines::new(PoolConfig::default(), Arc::new(Authority(authority)));
        let target = |machine| Target {
            machine_id: format!("machine-{machine}"),
            address: address(machine, port).to_string(),
            user: "berth".to_owned(),
            host_key: host_key(machine)
                .public_key()
                .to_openssh()
                .unwrap()
                .parse()
                .unwrap(),
        };
        Self {
            pool: pool.unwrap(),
            targets: (0..MACHINES).map(target).collect(),
        }
    }

    /// Sessions with all machines: those that are open, else new ones.
    pub(crate) async fn open(&self) -> Vec<Session> {
        let open = |target| self.pool.session(target).map(Result::unwrap);
        let sessions = stream::iter(&self.targets).map(open);
        sessions.buffer_unordered(AT_ONCE).collect().await
    }

    /// Looks at what stands on each machine, as the service does with a node
    /// that runs.
    pub(crate) async fn look(&self) {
        let looks = stream::iter(&self.targets).map(|target| self.look_at(target));
        looks.buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    async fn look_at(&self, target: &Target) {
        let whose = PlacementRef {
            node_id: format!("node-of-{}", target.machine_id),
            placement_id: format!("placement-on-{}", target.machine_id),
            fence: 1,
        };
        let session = self.pool.session(target).await.unwrap();
        let seen = session.observe(&whose).await.unwrap();
        assert_eq!(seen.containers.len(), 2);
    }
}

/// Signs in this process what Vault signs for the service.
struct Authority(PrivateKey);

impl Credentials for Authority {
    fn sign<'a>(
        &'a self,
        public_key: &'a str,
        principal: &'a str,
    ) -> BoxFuture<'a, Result<String, BoxError>> {
        async move {
            let key = PublicKey::from_openssh(public_key)?;
            // Nobody here looks at a clock.
            let mut certificate = Builder::new([0; 16], &key, 0, 1 << 32)?;
            certificate.cert_type(CertType::User)?;
            certificate.valid_principal(principal)?;
            Ok(certificate.sign(&self.0)?.to_openssh()?)
        }
        .boxed()
    }
}
