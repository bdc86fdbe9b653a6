//! Asking a container registry which digest a tag has, by the OCI
//! distribution protocol. The digest is computed from the manifest that came,
//! not taken from a header.
//!
//! An authority of one's own is trusted as with other programs: through the
//! system, or by `SSL_CERT_FILE`. Deliberately absent: a way to go without TLS,
//! except to this computer itself.

use anyhow::{Context as _, bail, ensure};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Manifests of one and of many platforms, in the names of both standards.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// What a registry says the digest is.
const STATED: HeaderName = HeaderName::from_static("docker-content-digest");
/// Largest answer.
const MAX_ANSWER: usize = 4 << 20;
/// Most other places that a registry may send us to.
const MAX_REDIRECTS: usize = 5;

/// Asks registries.
pub(super) struct Client {
    http: reqwest::Client,
}

impl Client {
    /// A client with time-outs.
    pub(super) fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            .redirect(Policy::custom(|to| match to.url().scheme() {
                "https" if to.previous().len() <= MAX_REDIRECTS => to.follow(),
                _ => to.error("the registry sends us on without TLS, or in circles"),
            }))
            .build()?;
        Ok(Self { http })
    }

    /// The digest of `repository:tag`, for example `ghcr.io/cosmos/gaia:v27`.
    pub(super) async fn digest(&self, repository: &str, tag: &str) -> anyhow::Result<String> {
        let url = manifest_url(repository, tag)?;
        let mut response = self.get(&url, None).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let token = self.token(&response).await?;
            response = self.get(&url, Some(&token)).await?;
        }
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => bail!("the registry has no such image"),
            status => bail!("the registry answered {status}"),
        }
        let kind = header(response.headers(), &CONTENT_TYPE).to_owned();
        ensure!(
            MANIFESTS.contains(&kind.split(';').next().unwrap_or_default()),
            "the registry answered with `{kind}`, which is no image"
        );
        let stated = header(response.headers(), &STATED).to_owned();
        let digest = format!(
            "sha256:{}",
            hex::encode(Sha256::digest(&body(response).await?))
        );
        ensure!(
            stated == digest || !stated.starts_with("sha256:"),
            "the registry says {stated} and sends {digest}; do not trust it"
        );
        Ok(digest)
    }

    async fn get(&self, url: &Url, token: Option<&str>) -> anyhow::Result<Response> {
        let mut request = self
            .http
            .get(url.clone())
            .header(ACCEPT, MANIFESTS.join(", "));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request
            .send()
            .await
            .context("the registry cannot be reached")
    }

    /// An anonymous token, where the registry wants one.
    async fn token(&self, refused: &Response) -> anyhow::Result<String> {
        let url = token_url(header(refused.headers(), &WWW_AUTHENTICATE))?;
        let answer = body(self.http.get(url).send().await?).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        ["token", "access_token"]
            .iter()
            .find_map(|key| answer[*key].as_str())
            .map(str::to_owned)
            .context("the registry gave no token; is the image private?")
    }
}

/// The text of a header, empty where there is none.
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// All that an answer holds, when it is not too much.
async fn body(mut answer: Response) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        all.extend_from_slice(&chunk);
        ensure!(all.len() <= MAX_ANSWER, "the registry's answer is too long");
    }
    Ok(all)
}

/// Docker's own names have a default registry and a default folder.
fn manifest_url(repository: &str, tag: &str) -> anyhow::Result<Url> {
    let (host, path) = match repository.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            (host, path.to_owned())
        }
        Some(_) => ("registry-1.docker.io", repository.to_owned()),
        None => ("registry-1.docker.io", format!("library/{repository}")),
    };
    let host = if host == "docker.io" {
        "registry-1.docker.io"
    } else {
        host
    };
    let name = host.split(':').next().unwrap_or_default();
    let here = ["127.0.0.1", "localhost"].contains(&name);
    let scheme = if here { "http" } else { "https" };
    Ok(Url::parse(&format!(
        "{scheme}://{host}/v2/{path}/manifests/{tag}"
    ))?)
}

/// `Bearer realm="…",service="…",scope="…"` as a URL.
fn token_url(challenge: &str) -> anyhow::Result<Url> {
    let parameters = challenge
        .strip_prefix("Bearer ")
        .context("the registry wants a kind of sign-in that is not supported")?;
    let mut realm = None;
    let mut query = Vec::new();
    for parameter in parameters.split("\",") {
        let Some((key, value)) = parameter.trim().split_once('=') else {
            continue;
        };
        let value = value.trim_matches('"');
        match key {
            "realm" => realm = Some(value),
            "service" | "scope" => query.push((key, value)),
            _ => {}
        }
    }
    let mut url = Url::parse(realm.context("the registry does not say where to sign in")?)?;
    ensure!(
        url.scheme() == "https",
        "the registry wants a sign-in without TLS"
    );
    url.query_pairs_mut().extend_pairs(query);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_mean_what_docker_means_by_them() {
        for (repository, expected) in [
            (
                "debian",
                "https://registry-1.docker.io/v2/library/debian/manifests/1",
            ),
            (
                "sigp/lighthouse",
                "https://registry-1.docker.io/v2/sigp/lighthouse/manifests/1",
            ),
            (
                "ghcr.io/cosmos/gaia",
                "https://ghcr.io/v2/cosmos/gaia/manifests/1",
            ),
            (
                "localhost:5000/a/b",
                "http://localhost:5000/v2/a/b/manifests/1",
            ),
            (
                "localhost.example/a",
                "https://localhost.example/v2/a/manifests/1",
            ),
        ] {
            assert_eq!(manifest_url(repository, "1").unwrap().as_str(), expected);
        }
    }

    #[test]
    fn a_challenge_becomes_the_url_of_a_token() {
        let challenge = r#"Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull,push""#;
        assert_eq!(
            token_url(challenge).unwrap().as_str(),
            "https://auth.example/token?service=r&scope=repository%3Aa%2Fb%3Apull%2Cpush"
        );
        assert!(token_url("Basic realm=\"x\"").is_err());
    }
}
