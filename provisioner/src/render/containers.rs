//! The container, files and secrets of one component.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::values::host_port;
use super::{Launch, MAX_ARGUMENT, MAX_FILE, Names, RenderError};
use crate::chain::template::fill;
use crate::chain::{Component, FileEntry, Image, PortEntry, Source};
use crate::spec::{
    ContainerSpec, Deployment, DirSpec, Exposure, FileSpec, ImageRef, Mount, MountSource, Port,
    SecretSpec,
};

type Values = BTreeMap<String, String>;

/// Adds a component to the deployment.
pub(super) fn add(
    launch: &Launch<'_>,
    names: &Names,
    component: &Component,
    values: &Values,
    deployment: &mut Deployment,
) -> Result<(), RenderError> {
    let (uid, gid) = ids(&component.user)?;
    let files = files(launch, names, component, values)?;
    let files_digest = digest(&files);
    let mounts = mounts(launch, names, component, uid, gid, deployment);
    let fill_all = |what: &str, list: &[String]| -> Result<Vec<String>, RenderError> {
        let filled = list
            .iter()
            .map(|text| argument(component, what, text, values));
        filled.collect()
    };
    let env = component.env.iter().map(|(name, text)| {
        let value = argument(component, &format!("variable {name}"), text, values)?;
        Ok((name.clone(), value))
    });
    let ports = launch.entry.ports.iter();
    let ports = ports.filter(|p| p.component == component.name);
    let tmpfs = component.tmpfs.iter();
    deployment.containers.push(ContainerSpec {
        name: names.container(&component.name),
        component: component.name.clone(),
        image: image(&component.image)?,
        entrypoint: fill_all("an argument", &component.entrypoint)?,
        command: fill_all("an argument", &component.command)?,
        env: env.collect::<Result<_, RenderError>>()?,
        user: component.user.clone(),
        mounts,
        files_digest,
        tmpfs: tmpfs.map(|(path, size)| (path.clone(), size.0)).collect(),
        ports: ports
            .map(|p| port(p, launch.port_offset))
            .collect::<Result<_, _>>()?,
        aliases: Vec::new(),
        cap_add: component.cap_add.clone(),
        memory_bytes: component.memory.0,
        cpu_millis: component.cpu_millis.into(),
        pids: component.pids,
        nofile: component.nofile,
        stop_timeout_s: component.stop_timeout_s,
        gpus: component.gpus,
    });
    deployment.files.extend(files);
    Ok(())
}

fn ids(user: &str) -> Result<(u32, u32), RenderError> {
    user.split_once(':')
        .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)))
        .ok_or(RenderError::Unusable("user of a component"))
}

fn image(image: &Image) -> Result<ImageRef, RenderError> {
    Ok(ImageRef {
        repository: image.repository.clone(),
        tag: image.tag.clone(),
        digest: image
            .digest
            .clone()
            .ok_or_else(|| RenderError::NotLaunchable("an image has no digest".to_owned()))?,
    })
}

fn argument(
    component: &Component,
    what: &str,
    text: &str,
    values: &Values,
) -> Result<String, RenderError> {
    filled(component, what, text, values, MAX_ARGUMENT)
}

fn filled(
    component: &Component,
    what: &str,
    text: &str,
    values: &Values,
    limit: usize,
) -> Result<String, RenderError> {
    let filled = fill(text, values).map_err(RenderError::NoValue)?;
    if filled.len() > limit {
        return Err(RenderError::TooLong {
            what: what.to_owned(),
            component: component.name.clone(),
            limit,
        });
    }
    Ok(filled)
}

fn port(port: &PortEntry, offset: u16) -> Result<Port, RenderError> {
    Ok(Port {
        name: port.name.clone(),
        container: port.number,
        host: match port.exposure {
            Exposure::Private => 0,
            Exposure::Public | Exposure::Peer | Exposure::Loopback => {
                host_port(port.number, offset)?
            }
        },
        protocol: port.protocol,
        exposure: port.exposure,
    })
}

/// Files of a component, in the order of the entry.
fn files(
    launch: &Launch<'_>,
    names: &Names,
    component: &Component,
    values: &Values,
) -> Result<Vec<FileSpec>, RenderError> {
    let own = |file: &&FileEntry| file.component == component.name;
    let rendered = launch.entry.files.iter().filter(own).map(|file| {
        let contents = match (&file.template, file.source) {
            (Some(template), _) => {
                filled(component, &file.path, template, values, MAX_FILE)?.into_bytes()
            }
            (None, Some(Source::Genesis)) => genesis(launch)?,
            (None, None) => Vec::new(),
        };
        Ok(FileSpec {
            path: names.file(&component.name, &file.path),
            mode: 0o444,
            uid: 0,
            gid: 0,
            contents,
        })
    });
    rendered.collect()
}

fn genesis(launch: &Launch<'_>) -> Result<Vec<u8>, RenderError> {
    let genesis = launch.entry.bootstrap.genesis.as_ref();
    genesis
        .and_then(|genesis| launch.files.get(&genesis.file))
        .cloned()
        .ok_or_else(|| RenderError::Files("the genesis is missing".to_owned()))
}

/// A digest that changes with any path or content.
pub(super) fn digest(files: &[FileSpec]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        for part in [file.path.as_bytes(), &file.contents] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hex::encode(hash.finalize())
}

/// Mounts of a component; its volumes, folders and secrets go into the deployment.
fn mounts(
    launch: &Launch<'_>,
    names: &Names,
    component: &Component,
    uid: u32,
    gid: u32,
    deployment: &mut Deployment,
) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for (volume, target) in &component.volumes {
        let name = names.volume(volume);
        if !deployment.volumes.contains(&name) {
            deployment.volumes.push(name.clone());
        }
        mounts.push(Mount {
            source: MountSource::Volume(name),
            target: target.clone(),
            read_only: false,
        });
    }
    let folders: BTreeSet<&str> = launch
        .entry
        .files
        .iter()
        .filter(|file| file.component == component.name)
        .map(FileEntry::folder)
        .collect();
    mounts.extend(folders.into_iter().map(|folder| Mount {
        source: MountSource::Path(names.file(&component.name, folder)),
        target: folder.to_owned(),
        read_only: true,
    }));
    let folder = names.secrets(&component.name);
    let secrets: Vec<SecretSpec> = launch
        .entry
        .secrets
        .iter()
        .filter(|secret| secret.components.contains(&component.name))
        .map(|secret| SecretSpec {
            name: secret.name.clone(),
            path: format!("{folder}/{}", secret.file),
            mode: 0o400,
            uid,
            gid,
        })
        .collect();
    if !secrets.is_empty() {
        deployment.dirs.push(DirSpec {
            path: folder.clone(),
            mode: 0o500,
            uid,
            gid,
        });
        deployment.secrets.extend(secrets);
        mounts.push(Mount {
            source: MountSource::Path(folder),
            target: component.secrets_dir.clone(),
            read_only: true,
        });
    }
    mounts
}
