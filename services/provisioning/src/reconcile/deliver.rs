//! What is brought to a machine from elsewhere: images, the node's secrets from
//! Vault, and the agent's certificate.

use super::job::{Here, Job};
use super::{Action, Halt, Options, deploy};
use crate::catalogue;
use crate::domain::Step;
use berth_core::{Error, Result, report};
use berth_provisioner::Error as SiteError;
use berth_provisioner::chain::SecretKind;
use berth_provisioner::images::ImageSource;
use berth_provisioner::spec::{Deployment, FileSpec, ImageRef};
use berth_secrets::{SecretMap, SecretPath};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

/// Field of a secret in Vault.
const VALUE: &str = "value";
/// The agent's program in its container.
const AGENT: &str = "/usr/local/bin/berth-agent";
/// Points between two events of an image's way.
const POINTS: u8 = 5;
/// How often a transfer looks whether its node still wants it.
const LOOK: Duration = Duration::from_secs(10);

/// The agent's image: the configured one, else that of the layout `agent`.
pub(super) fn agent_image(options: &Options) -> Result<ImageRef, Halt> {
    if let Some(image) = &options.agent_image {
        return Ok(image.clone());
    }
    let layout = options.images.join("agent");
    let digest = digest_of(&layout).ok_or_else(|| {
        Halt::wait(format!(
            "the agent's image is not in {}; build the images",
            layout.display()
        ))
    })?;
    Ok(ImageRef {
        repository: "berth/agent".to_owned(),
        tag: env!("CARGO_PKG_VERSION").to_owned(),
        digest,
    })
}

/// The digest of the one image of an OCI layout.
fn digest_of(layout: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Manifest>,
    }
    #[derive(Deserialize)]
    struct Manifest {
        digest: String,
    }
    let index = std::fs::read(layout.join("index.json")).ok()?;
    let index: Index = serde_json::from_slice(&index).ok()?;
    index
        .manifests
        .into_iter()
        .next()
        .map(|manifest| manifest.digest)
}

/// Where an image may come from: our layouts first, since asking a registry
/// that is not there takes its time.
fn sources(options: &Options) -> Vec<ImageSource> {
    let folders = std::fs::read_dir(&options.images)
        .into_iter()
        .flatten()
        .flatten();
    let mut layouts: Vec<_> = folders
        .map(|folder| folder.path())
        .filter(|path| path.join("index.json").is_file())
        .collect();
    layouts.sort();
    let layouts = layouts.into_iter().map(ImageSource::Layout);
    layouts.chain([ImageSource::Registry]).collect()
}

/// Brings an image to the machine and tells how far it is.
pub(super) async fn image(
    job: &Job<'_>,
    here: &Here,
    deployment: &Deployment,
    image: &str,
) -> Result<(), Halt> {
    let wanted = deployment.containers.iter().map(|c| &c.image);
    let found = wanted.into_iter().find(|i| i.to_string() == image);
    let image = found.ok_or_else(|| Error::internal("the plan names an unknown image"))?;
    let told = |percent, line: &str| Step {
        percent: Some(percent),
        ..Step::new(
            "image",
            format!("{}:{} {line}", image.repository, image.tag),
        )
    };
    job.note(told(0, "on its way")).await?;

    let sources = sources(&job.context.options);
    let (sender, mut heard) = watch::channel((0, String::new()));
    let progress = move |percent: u8, line: &str| {
        sender.send_replace((percent.min(99), line.to_owned()));
    };
    let action = Action::Image(image, &sources, &progress);
    let mut bring = job.context.site.act(&here.target, deployment, action);
    let mut last = (0, "on its way".to_owned());
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            brought = &mut bring => break brought?,
            // Said again, which nobody hears; but a node that is wanted no more ends the
            // transfer here, also while nothing comes.
            _ = looks.tick() => job.note(told(last.0, &last.1)).await?,
            Ok(()) = heard.changed() => {
                let now = heard.borrow_and_update().clone();
                if now.0 >= last.0 + POINTS {
                    job.note(told(now.0, &now.1)).await?;
                    last = now;
                }
            }
        }
    }
    Ok(job.note(told(100, "is there")).await?)
}

/// The secret files of a deployment with their values, which are made at the
/// first launch and kept in Vault.
pub(super) async fn secrets(job: &Job<'_>, deployment: &Deployment) -> Result<Vec<FileSpec>, Halt> {
    let entry = job.entry().await?;
    let mut values = BTreeMap::new();
    for secret in entry.secrets_of(catalogue::role(job.node.role)) {
        values.insert(&secret.name, value(job, &secret.name, secret.kind).await?);
    }
    let files = deployment.secrets.iter().map(|file| {
        let value = values.get(&file.name).and_then(|secret| secret.get(VALUE));
        let value = value.ok_or_else(|| Error::internal("a secret in Vault has no value"))?;
        Ok(file.file(value.expose_secret().as_bytes()))
    });
    Ok(files.collect::<Result<_>>()?)
}

async fn value(job: &Job<'_>, name: &str, kind: SecretKind) -> Result<SecretMap, Halt> {
    let path = SecretPath::node(&job.node.id.to_string(), name)?;
    if let Some(kept) = job.context.vault.read_secret(&path).await? {
        return Ok(kept);
    }
    let made = kind.generate().map_err(Error::internal)?;
    let made = SecretMap::from([(VALUE.to_owned(), made)]);
    Ok(job.context.vault.create_secret(&path, &made).await?)
}

/// Has the agent make a key, signs its request for this placement and fence,
/// and gives it the certificate.
pub(super) async fn certificate(
    job: &Job<'_>,
    here: &Here,
    deployment: &Deployment,
) -> Result<(), Halt> {
    let (site, at) = (&job.context.site, &here.target);
    let agent = &deploy::agent(deployment)?.name;
    // An agent that is still starting, or starts again, is no reason to give up.
    let late = |error: SiteError| Halt::wait(format!("the agent is not ready: {}", report(&error)));
    let csr = site.exec(at, agent, &[AGENT, "csr"], &[]).await;
    let csr = csr.map_err(late)?;
    let csr = String::from_utf8(csr)
        .map_err(|_| Halt::wait("the agent's certificate request was not understood"))?;
    let placement = &deployment.placement;
    let chain = job
        .context
        .vault
        .sign_placement_csr(
            &csr,
            &placement.node_id,
            &placement.placement_id,
            placement.fence,
        )
        .await?;
    let install = [AGENT, "install-certificate"];
    let installed = site.exec(at, agent, &install, chain.as_bytes()).await;
    installed.map(drop).map_err(late)
}
