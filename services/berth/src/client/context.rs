//! Where Berth is and who asks: from `--context FILE`, or from the environment.

use anyhow::Context as _;
use berth_input::file;
use berth_runtime::config::MAX_FILE;
use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

/// How the client finds Berth.
#[derive(Debug, Clone, Args)]
pub(crate) struct ContextArgs {
    /// File with endpoint, token and authority, as `berth dev` writes it
    #[arg(long, global = true, env = "BERTH_CONTEXT", value_name = "FILE")]
    context: Option<PathBuf>,
    /// The gateway, such as `https://127.0.0.1:7443`
    #[arg(long, global = true, env = "BERTH_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// The token; better in the environment than on the command line
    #[arg(
        long,
        global = true,
        env = "BERTH_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,
    /// PEM file with the authority of the gateway's certificate
    #[arg(long, global = true, env = "BERTH_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Where Berth is and who asks.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// URL of the gateway.
    pub(crate) endpoint: String,
    /// Authority of its certificate; the system's when absent.
    pub(crate) ca_file: Option<PathBuf>,
    /// The token.
    pub(crate) token: String,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl ContextArgs {
    /// The context of a file, whatever the environment says.
    pub(crate) fn from_file(path: &Path) -> Self {
        Self {
            context: Some(path.to_owned()),
            endpoint: None,
            token: None,
            ca_file: None,
        }
    }

    /// The context that was asked for: single values win over the file.
    pub(crate) fn load(&self) -> anyhow::Result<Context> {
        let file: Option<Context> = match &self.context {
            Some(path) => {
                let text = file::text(path, MAX_FILE)
                    .with_context(|| format!("cannot read the context {}", path.display()))?;
                let context =
                    parse(&text).with_context(|| format!("{} is not a context", path.display()))?;
                Some(context)
            }
            None => None,
        };
        let missing = |what: &str| {
            format!("no {what}: set it, or pass --context FILE as printed by `berth dev`")
        };
        let (endpoint, token, ca_file) = match file {
            Some(file) => (Some(file.endpoint), Some(file.token), file.ca_file),
            None => (None, None, None),
        };
        Ok(Context {
            endpoint: self
                .endpoint
                .clone()
                .or(endpoint)
                .with_context(|| missing("BERTH_ENDPOINT"))?,
            token: self
                .token
                .clone()
                .or(token)
                .with_context(|| missing("BERTH_TOKEN"))?,
            ca_file: self.ca_file.clone().or(ca_file),
        })
    }
}

/// What a context says. A problem is told by its place and never with the line,
/// in which the token may stand.
fn parse(text: &str) -> anyhow::Result<Context> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.unwrap_or_default().matches('\n').count() + 1;
        anyhow::anyhow!("line {line}: {}", error.message())
    })
}

/// Adds the token to every call.
#[derive(Clone)]
pub(crate) struct Bearer(AsciiMetadataValue);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A channel that carries the token.
pub(crate) type Authed = tonic::service::interceptor::InterceptedService<Channel, Bearer>;

impl Context {
    /// A channel to the gateway; it connects when it is used.
    pub(crate) fn channel(&self) -> anyhow::Result<Authed> {
        let mut tls = ClientTlsConfig::new().with_enabled_roots();
        if let Some(path) = &self.ca_file {
            let pem = file::bytes(path, MAX_FILE)
                .with_context(|| format!("cannot read the authority {}", path.display()))?;
            // What is none would be left out, and every gateway be a stranger's.
            let first = CertificateDer::pem_slice_iter(&pem).next();
            anyhow::ensure!(
                first.is_some_and(|first| first.is_ok()),
                "the authority {} holds no certificate in PEM",
                path.display()
            );
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        let channel = Endpoint::from_shared(self.endpoint.clone())
            .with_context(|| format!("`{}` is not a URL", self.endpoint))?
            .tls_config(tls)?
            .connect_timeout(std::time::Duration::from_secs(10))
            .http2_keep_alive_interval(std::time::Duration::from_secs(20))
            .keep_alive_while_idle(true)
            .connect_lazy();
        let mut value: AsciiMetadataValue = format!("Bearer {}", self.token)
            .parse()
            .context("the token holds characters that no token has")?;
        value.set_sensitive(true);
        Ok(tonic::service::interceptor::InterceptedService::new(
            channel,
            Bearer(value),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_that_is_none_is_told_by_its_line_and_never_with_the_token() {
        for (text, says) in [
            ("endpoint = \"x\"\ntoken = sesame", "line 2"),
            ("token = [\"sesame\"]\nendpoint = \"x\"", "line 1"),
            ("token = \"sesame\"\nendpoint = \"x\"\nwish = 1", "line 3"),
            ("token = \"sesame\"", "endpoint"),
        ] {
            let said = format!("{:#}", parse(text).unwrap_err());
            assert!(said.contains(says) && !said.contains("sesame"), "{said}");
        }
    }

    #[test]
    fn a_context_without_an_end_or_longer_than_its_limit_is_named_and_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("context.toml");
        let sound = "endpoint = \"https://127.0.0.1:1\"\ntoken = \"t\"\n#";
        let fill = MAX_FILE - sound.len();
        let text = format!("{sound}{}", "x".repeat(fill));
        std::fs::write(&path, &text).unwrap();
        assert_eq!(ContextArgs::from_file(&path).load().unwrap().token, "t");

        std::fs::write(&path, format!("{text}x")).unwrap();
        for path in [&path, Path::new("/dev/zero"), dir.path()] {
            let said = format!("{:#}", ContextArgs::from_file(path).load().unwrap_err());
            assert!(said.contains(&*path.to_string_lossy()), "{said}");
            let limit = said.contains("longer than 1048576 bytes");
            assert!(limit || path.is_dir(), "{said}");
        }
    }
}
