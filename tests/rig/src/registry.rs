//! A real container registry for tests, as an operator has a private one: CNCF Distribution as Debian packages it,
//! with TLS and an authority of its own. It needs no root.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::error::Context;
use crate::{Error, Result, shell};

/// The program and its Debian package.
const PROGRAM: &str = "docker-registry";

/// A registry that runs until the value is dropped, or the thread that started it ends.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    dir: PathBuf,
    host: String,
}

impl Registry {
    /// Starts one on a free port of an address, with all that it keeps in this folder.
    pub fn start(dir: &Path, address: IpAddr) -> Result<Self> {
        shell::require(PROGRAM, PROGRAM)?;
        fs::create_dir_all(dir).during(|| format!("create {}", dir.display()))?;
        let path = |name: &str| dir.join(name);
        certify(dir, address).map_err(|e| malformed("a certificate", &e.to_string()))?;
        // JSON is YAML, too.
        let config = json!({
            "version": 0.1,
            "log": { "level": "info" },
            "storage": { "filesystem": { "rootdirectory": path("data") } },
            "http": {
                "addr": format!("{address}:0"),
                "tls": { "certificate": path("server.pem"), "key": path("server.key") },
            },
        });
        shell::write(&path("config.yml"), config.to_string())?;
        let log = File::create(path("log")).during(|| "create a registry's log".into())?;
        let mut command = shell::command("setpriv");
        command
            .args(["--pdeathsig", "KILL", PROGRAM, "serve"])
            .arg(path("config.yml"));
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut registry = Self {
            process: command.spawn().during(|| PROGRAM.into())?,
            dir: dir.into(),
            host: String::new(),
        };
        shell::wait_until("the start of a registry", Duration::from_secs(60), || {
            registry.look()
        })?;
        Ok(registry)
    }

    /// `address:port`, as repositories of this registry start.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The certificate of its authority, in PEM.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Uploads the one image of an OCI layout.
    pub fn push(&self, layout: &Path, repository: &str, tag: &str) -> Result<()> {
        let base = format!("https://{}/v2/{repository}", self.host);
        let index = read(&layout.join("index.json"))?;
        let manifest = blob(layout, &index["manifests"][0]);
        let document = read(&manifest)?;
        let layers = document["layers"].as_array().into_iter().flatten();
        for part in layers.chain([&document["config"]]) {
            let begin = ["--request", "POST", "--dump-header", "-"];
            let begun = self.curl(&begin, &format!("{base}/blobs/uploads/"))?;
            let place = begun.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("location")
                    .then(|| value.trim().to_owned())
            });
            let place = place.ok_or_else(|| malformed("the registry's answer", &begun))?;
            let to = format!("{place}&digest={}", digest(part));
            self.upload(&blob(layout, part), "application/octet-stream", &to)?;
        }
        let kind = document["mediaType"].as_str().unwrap_or_default();
        self.upload(&manifest, kind, &format!("{base}/manifests/{tag}"))
    }

    /// Changes what it serves under a digest, as a registry does that lies or was broken into.
    pub fn falsify(&self, digest: &str) -> Result<()> {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.dir.join("data/docker/registry/v2/blobs/sha256");
        let path = blobs.join(&hex[..2]).join(hex).join("data");
        let mut bytes = fs::read(&path).during(|| format!("read {}", path.display()))?;
        bytes.push(b' ');
        shell::write(&path, bytes)
    }

    fn upload(&self, file: &Path, kind: &str, to: &str) -> Result<()> {
        let (file, kind) = (file.display().to_string(), format!("content-type: {kind}"));
        self.curl(&["--header", &kind, "--upload-file", &file], to)
            .map(drop)
    }

    fn curl(&self, words: &[&str], url: &str) -> Result<String> {
        let mut command = shell::command("curl");
        command.args(["--silent", "--show-error", "--fail-with-body"]);
        command
            .args(["--max-time", "60", "--cacert"])
            .arg(self.ca());
        shell::run(command.args(words).arg(url))
    }

    /// Whether it listens; its log names the port.
    fn look(&mut self) -> Result<bool> {
        let log = self.dir.join("log");
        let log = fs::read_to_string(&log).during(|| format!("read {}", log.display()))?;
        if let Some(status) = self.process.try_wait().during(|| PROGRAM.into())? {
            return Err(Error::Command {
                command: PROGRAM.into(),
                status: status.to_string(),
                said: shell::tail(&log, 20),
            });
        }
        let rest = log.split_once("listening on ").map(|(_, rest)| rest);
        let host = rest.and_then(|rest| rest.split_once(','));
        self.host = host.map(|(host, _)| host.to_owned()).unwrap_or_default();
        Ok(!self.host.is_empty())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already.
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

/// Makes an authority and a certificate for an address: `ca.pem`, `server.pem`, `server.key`.
fn certify(dir: &Path, address: IpAddr) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let name = "Authority of a registry"; // another name than the certificate's, or that looks self-signed
    params.distinguished_name.push(DnType::CommonName, name);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([address.to_string()])?.signed_by(&key, &ca)?;
    shell::write(&dir.join("ca.pem"), ca.pem())?;
    shell::write(&dir.join("server.pem"), certificate.pem())?;
    shell::write(&dir.join("server.key"), key.serialize_pem())?;
    Ok(())
}

fn read(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).during(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| malformed(&path.display().to_string(), &error.to_string()))
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap_or_default()
}

fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let name = digest(descriptor).replace(':', "/");
    layout.join("blobs").join(name)
}

fn malformed(what: &str, problem: &str) -> Error {
    Error::Malformed {
        what: what.into(),
        problem: problem.into(),
    }
}
