//! Makes a machine fit to hold containers of ours.
//!
//! Log limits and the like are each container's own (see `harden`): the
//! supplier's Docker is not reconfigured and never restarted.

use crate::error::{Error, Result};
use crate::files::{DATA_DIR, SECRETS_DIR};
use crate::ssh::{Exec, Session};
use std::time::Duration;

/// What a machine must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    /// Furthest that the machine's clock may be from ours, in milliseconds.
    pub max_clock_offset_ms: u64,
}

impl Default for Preparation {
    fn default() -> Self {
        Self {
            max_clock_offset_ms: 500,
        }
    }
}

/// What was found and done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrepareReport {
    /// Packages that were installed.
    pub installed: Vec<String>,
    /// Docker engine's version.
    pub docker_version: String,
    /// Machine's clock less ours, in milliseconds.
    pub clock_offset_ms: i64,
}

/// Installs what is missing and prints its names. Shared with `setup`.
pub(crate) const INSTALL: &str = r#"PATH=$PATH:/usr/sbin:/sbin
missing=
for tool in docker:docker.io nft:nftables sudo:sudo; do
  command -v "${tool%:*}" >/dev/null 2>&1 || missing="$missing ${tool#*:}"
done
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null 2>&1 || { echo "install these first:$missing" >&2; exit 1; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq -o DPkg::Lock::Timeout=120 update >&2
  apt-get -qq -o DPkg::Lock::Timeout=120 install -y $missing >&2
fi
if [ -d /run/systemd/system ]; then systemctl enable --quiet --now docker >&2; fi
"#;

impl Session {
    /// Installs Docker and nftables where they are missing, checks the clock
    /// and makes Berth's folders. May be called any number of times.
    ///
    /// # Errors
    ///
    /// [`Error::NotReady`] when the machine's owner must do something,
    /// [`Error::Clock`].
    pub async fn prepare(&self, wanted: &Preparation) -> Result<PrepareReport> {
        self.effect("prepare")?;
        let script = format!(
            "set -e\n{INSTALL}
umask 077; mkdir -p {DATA_DIR} {SECRETS_DIR}; chmod 755 {DATA_DIR}; chmod 700 {SECRETS_DIR}
case $(stat -f -c %T {SECRETS_DIR}) in
  tmpfs|ramfs) ;;
  *) mount -t tmpfs -o mode=700,size=64m,nosuid,nodev,noexec berth {SECRETS_DIR} ;;
esac
echo \"$missing\""
        );
        let installed = self
            .root(Exec {
                timeout: Duration::from_secs(600),
                ..Exec::new("preparing the machine", &script)
            })
            .await
            .map_err(not_ready)?;
        let engine = self.engine().await?;
        let info = self.info().await?;
        let options = info.security_options.unwrap_or_default();
        if !options
            .iter()
            .any(|o| o.starts_with("name=seccomp") && !o.contains("unconfined"))
        {
            let why = "its Docker runs containers without seccomp; remove `seccomp-profile`";
            return Err(Error::NotReady(why.to_owned()));
        }
        let offset_ms = self.clock_offset_ms().await?;
        if offset_ms.unsigned_abs() > wanted.max_clock_offset_ms {
            return Err(Error::Clock {
                offset_ms,
                limit_ms: wanted.max_clock_offset_ms,
            });
        }
        Ok(PrepareReport {
            installed: String::from_utf8_lossy(&installed)
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            docker_version: engine.version.clone(),
            clock_offset_ms: offset_ms,
        })
    }
}

fn not_ready(error: Error) -> Error {
    if let Error::Command { message, .. } = error {
        Error::NotReady(message)
    } else {
        error
    }
}
