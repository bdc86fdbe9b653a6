//! Reading what the containers of a deployment really are.

use super::compare::{Image, Kernel, Wanted, compare};
use super::is_missing;
use crate::drift::{Difference, Part};
use crate::error::{Error, Result};
use crate::spec::{ContainerSpec, Deployment, LABEL_FENCE, LABEL_NODE};
use crate::ssh::Session;
use bollard::models::{ContainerInspectResponse, ImageInspect};
use futures::future::try_join_all;
use std::collections::HashMap;

impl Session {
    /// What Docker's kernel can limit.
    pub(crate) async fn kernel(&self) -> Result<Kernel> {
        let info = self.info().await?;
        Ok(Kernel {
            swap: info.swap_limit.unwrap_or_default(),
            pids: info.pids_limit.unwrap_or_default(),
        })
    }

    /// In what the containers of a deployment are others.
    pub(crate) async fn container_drift(&self, deployment: &Deployment) -> Result<Vec<Difference>> {
        let kernel = self.kernel().await?;
        let images = self.images_by_digest(deployment).await?;
        let looks = deployment
            .containers
            .iter()
            .map(|spec| self.container_of(deployment, spec));
        let found = try_join_all(looks).await?;
        let mut all = Vec::new();
        for (spec, found) in deployment.containers.iter().zip(&found) {
            let Some(found) = found else {
                continue;
            };
            let image = images.get(spec.image.digest.as_str());
            let known =
                image.and_then(|image| Some((image.id.as_deref()?, image.config.as_ref()?)));
            let Some((id, config)) = known else {
                let part = Part::Container(spec.name.clone());
                let what = format!("image of container `{}`", spec.component);
                all.push(Difference::new(part, &what, &spec.image.to_string(), ""));
                continue;
            };
            let wanted = Wanted {
                placement: &deployment.placement,
                spec,
                network: &deployment.network,
                image: Image { id, config },
                kernel,
            };
            all.extend(compare(&wanted, found));
        }
        Ok(all)
    }

    /// A container as Docker describes it, when it claims to be this placement's;
    /// what is missing or another's is seen and put right elsewhere.
    async fn container_of(
        &self,
        deployment: &Deployment,
        spec: &ContainerSpec,
    ) -> Result<Option<ContainerInspectResponse>> {
        let found = match self.inspected(&spec.name).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let labels = found.config.as_ref().and_then(|c| c.labels.as_ref());
        let label = |name: &str| labels.and_then(|labels| labels.get(name));
        let whose = &deployment.placement;
        let ours = label(LABEL_NODE) == Some(&whose.node_id)
            && label(LABEL_FENCE) == Some(&whose.fence.to_string());
        Ok(ours.then_some(found))
    }

    /// The images of a deployment that are on the machine.
    async fn images_by_digest<'a>(
        &self,
        deployment: &'a Deployment,
    ) -> Result<HashMap<&'a str, ImageInspect>> {
        let listed = self.images().await?;
        let mut images = HashMap::new();
        for spec in &deployment.containers {
            let digest = spec.image.digest.as_str();
            let found = listed.iter().find(|image| image.is(digest));
            let (Some(found), false) = (found, images.contains_key(digest)) else {
                continue;
            };
            let path = format!("/images/{}/json", found.id);
            match self.look("inspect an image", &path).await {
                Ok(image) => drop(images.insert(digest, image)),
                Err(Error::Docker {
                    status: Some(404), ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(images)
    }
}
