//! Machines, as the rest of this service sees them.
//!
//! They are an outside system, so this is a trait: tests script a machine that
//! says it is one. Everything else implements it once, for
//! [`berth_provisioner::Machines`].

use berth_core::PlacementId;
use berth_proto::inventory::v1::Machine;
use berth_provisioner::docker::{Answered, Call, LogLine, LogQuery, Observed};
use berth_provisioner::drift::Drift;
use berth_provisioner::facts::Facts;
use berth_provisioner::files::SECRETS_DIR;
use berth_provisioner::firewall::PortRule;
use berth_provisioner::images::ImageSource;
use berth_provisioner::prepare::Preparation;
use berth_provisioner::spec::{
    ContainerSpec, Deployment, DirSpec, FileSpec, ImageRef, PlacementRef,
};
use berth_provisioner::wipe::WipeReport;
use berth_provisioner::{BoxError, Credentials, Exec, HostKey, Machines, Result, Target};
use berth_secrets::Vault;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::time::Duration;

/// Life of an SSH certificate: long enough to sign in.
const CERTIFICATE: Duration = Duration::from_mins(5);

/// What comes back from a machine.
pub type Answer<'a, T> = BoxFuture<'a, Result<T>>;

/// Hears how far an image is: percent, and a line for people.
pub type Progress<'a> = &'a (dyn Fn(u8, &str) + Send + Sync);

/// One thing to do on a machine for a deployment. Each may be done twice.
#[derive(Clone, Copy)]
pub enum Action<'a> {
    /// Make the machine fit to hold containers.
    Prepare,
    /// Bring an image from the first source that has it.
    Image(&'a ImageRef, &'a [ImageSource], Progress<'a>),
    /// Make folders and write secret files into memory.
    Secrets(&'a [DirSpec], &'a [FileSpec]),
    /// Write the files that are not secret.
    Files,
    /// Make network and volumes.
    Network,
    /// Open these ports and close all others.
    Firewall(&'a [PortRule]),
    /// Make a container.
    Create(&'a ContainerSpec),
    /// Set its limits while it runs.
    Limit(&'a ContainerSpec),
    /// Start it.
    Start(&'a str),
    /// Stop it, by force after the time.
    Stop(&'a str, Duration),
    /// Remove it.
    Remove(&'a str),
    /// Remove the secrets of an older placement, of which no container is left.
    Forget(PlacementId),
    /// Remove the images of versions that the node had before.
    Prune,
}

/// All machines.
pub trait Site: Send + Sync + 'static {
    /// Reads the host key that an address shows.
    fn scan<'a>(&'a self, address: &'a str) -> Answer<'a, HostKey>;
    /// Measures the hardware.
    fn measure<'a>(&'a self, at: &'a Target) -> Answer<'a, Facts>;
    /// Lists what stands there for a node.
    fn observe<'a>(&'a self, at: &'a Target, whose: &'a PlacementRef) -> Answer<'a, Observed>;
    /// Compares what stands there with a deployment that runs there.
    fn drift<'a>(&'a self, at: &'a Target, deployment: &'a Deployment) -> Answer<'a, Drift>;
    /// Measures the hardware again, without the tests of disk and clock.
    fn hardware<'a>(&'a self, at: &'a Target) -> Answer<'a, Facts>;
    /// Does one thing for a deployment.
    fn act<'a>(
        &'a self,
        at: &'a Target,
        deployment: &'a Deployment,
        action: Action<'a>,
    ) -> Answer<'a, ()>;
    /// Runs a command in a container; its standard output.
    fn exec<'a>(
        &'a self,
        at: &'a Target,
        container: &'a str,
        command: &'a [&'a str],
        stdin: &'a [u8],
    ) -> Answer<'a, Vec<u8>>;
    /// Calls a port of a container of a placement over HTTP.
    fn call<'a>(
        &'a self,
        at: &'a Target,
        whose: &'a PlacementRef,
        container: &'a str,
        call: Call<'a>,
    ) -> Answer<'a, Answered>;
    /// Reads the log of a container.
    fn logs<'a>(
        &'a self,
        at: &'a Target,
        container: &'a str,
        query: LogQuery,
    ) -> Answer<'a, BoxStream<'static, Result<LogLine>>>;
    /// Removes all of one node, or all that Berth ever brought there.
    fn wipe<'a>(&'a self, at: &'a Target, node: Option<&'a PlacementRef>)
    -> Answer<'a, WipeReport>;
}

impl Site for Machines {
    fn scan<'a>(&'a self, address: &'a str) -> Answer<'a, HostKey> {
        Box::pin(Self::scan(self, address))
    }

    fn measure<'a>(&'a self, at: &'a Target) -> Answer<'a, Facts> {
        Box::pin(async move { self.session(at).await?.measure().await })
    }

    fn observe<'a>(&'a self, at: &'a Target, whose: &'a PlacementRef) -> Answer<'a, Observed> {
        Box::pin(async move { self.session(at).await?.observe(whose).await })
    }

    fn drift<'a>(&'a self, at: &'a Target, deployment: &'a Deployment) -> Answer<'a, Drift> {
        Box::pin(async move { self.session(at).await?.drift(deployment).await })
    }

    fn hardware<'a>(&'a self, at: &'a Target) -> Answer<'a, Facts> {
        Box::pin(async move { self.session(at).await?.hardware().await })
    }

    fn act<'a>(
        &'a self,
        at: &'a Target,
        deployment: &'a Deployment,
        action: Action<'a>,
    ) -> Answer<'a, ()> {
        let whose = &deployment.placement;
        Box::pin(async move {
            let session = self.session(at).await?;
            match action {
                Action::Prepare => session.prepare(&Preparation::default()).await.map(drop),
                Action::Image(image, sources, progress) => {
                    session.ensure_image(whose, image, sources, progress).await
                }
                Action::Secrets(dirs, files) => {
                    session.make_dirs(whose, dirs).await?;
                    session.put_files(whose, files).await
                }
                Action::Files => session.put_files(whose, &deployment.files).await,
                Action::Network => {
                    session.ensure_network(deployment).await?;
                    session.ensure_volumes(deployment).await
                }
                Action::Firewall(open) => session.apply_firewall(whose, open).await,
                Action::Create(spec) => {
                    let made = session.ensure_container(whose, spec, &deployment.network);
                    Box::pin(made).await.map(drop)
                }
                Action::Limit(spec) => session.limit(whose, spec).await,
                Action::Start(name) => session.start(whose, name).await,
                Action::Stop(name, patience) => session.stop(whose, name, patience).await,
                Action::Remove(name) => session.remove(whose, name).await,
                Action::Prune => session.prune_images(deployment).await.map(drop),
                Action::Forget(older) => {
                    let script = format!("rm -rf -- {SECRETS_DIR}/{older}");
                    let remove = Exec::new("removing old secrets", &script);
                    session.root(remove).await.map(drop)
                }
            }
        })
    }

    fn exec<'a>(
        &'a self,
        at: &'a Target,
        container: &'a str,
        command: &'a [&'a str],
        stdin: &'a [u8],
    ) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let session = self.session(at).await?;
            let run = session.container_exec(container, command, stdin);
            Box::pin(run).await?.success("the agent's command")
        })
    }

    fn call<'a>(
        &'a self,
        at: &'a Target,
        whose: &'a PlacementRef,
        container: &'a str,
        call: Call<'a>,
    ) -> Answer<'a, Answered> {
        Box::pin(async move {
            let session = self.session(at).await?;
            session.call(whose, container, call).await
        })
    }

    fn logs<'a>(
        &'a self,
        at: &'a Target,
        container: &'a str,
        query: LogQuery,
    ) -> Answer<'a, BoxStream<'static, Result<LogLine>>> {
        Box::pin(async move { self.session(at).await?.logs(container, query).await })
    }

    fn wipe<'a>(
        &'a self,
        at: &'a Target,
        node: Option<&'a PlacementRef>,
    ) -> Answer<'a, WipeReport> {
        Box::pin(async move {
            let session = self.session(at).await?;
            match node {
                Some(placement) => session.wipe_placement(placement).await,
                None => session.wipe_machine().await,
            }
        })
    }
}

/// SSH certificates from Vault.
pub(crate) struct VaultCredentials(pub(crate) Vault);

impl Credentials for VaultCredentials {
    fn sign<'a>(
        &'a self,
        public_key: &'a str,
        principal: &'a str,
    ) -> BoxFuture<'a, Result<String, BoxError>> {
        Box::pin(async move {
            self.0
                .sign_ssh_user(public_key, principal, CERTIFICATE)
                .await
                .map_err(Into::into)
        })
    }
}

/// A machine as inventory describes it, to sign in to.
pub(crate) fn target(machine: &Machine) -> berth_core::Result<Target> {
    let spec = machine.spec.as_ref();
    let spec = spec.ok_or_else(|| berth_core::Error::internal("a machine has no address"))?;
    Ok(Target {
        machine_id: machine.id.clone(),
        address: with_port(&spec.address),
        user: if spec.user.is_empty() {
            "berth".to_owned()
        } else {
            spec.user.clone()
        },
        host_key: spec.host_key.parse().map_err(berth_core::Error::internal)?,
    })
}

/// The address with the port of sshd where it names none.
pub(crate) fn with_port(address: &str) -> String {
    let named = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let bare_v6 = address.parse::<std::net::Ipv6Addr>().is_ok();
    match (named, bare_v6) {
        (_, true) => format!("[{address}]:22"),
        (true, false) => address.to_owned(),
        (false, false) => format!("{address}:22"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_that_of_sshd() {
        for (given, expected) in [
            ("a.example", "a.example:22"),
            ("a.example:2222", "a.example:2222"),
            ("10.0.0.1", "10.0.0.1:22"),
            ("fd00::1", "[fd00::1]:22"),
            ("[fd00::1]", "[fd00::1]:22"),
            ("[fd00::1]:23", "[fd00::1]:23"),
        ] {
            assert_eq!(with_port(given), expected);
        }
    }
}
