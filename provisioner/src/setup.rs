//! The one command that a supplier runs on a machine to enroll it.
//!
//! Nothing in it is secret, and it can be read before it is run. Afterwards
//! the machine accepts certificates of Berth's authority, for one user and
//! only when they name this machine; no key of ours stays on it.

use crate::error::{Error, Result};
use crate::firewall::RULES;
use crate::harden::check_name;
use crate::prepare::INSTALL;
use russh::keys::PublicKey;

/// What the command sets up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupInput<'a> {
    /// Machine, which is the principal of the certificates that it accepts.
    pub machine_id: &'a str,
    /// User that Berth signs in as; made unless it is there.
    pub user: &'a str,
    /// Public key line of the authority that signs Berth's certificates.
    pub ca_public_key: &'a str,
}

/// Sets up the account. Root's sign-in is left as it is but for the authority.
const ACCOUNT: &str = r#"
strict=
if [ "$user" != root ]; then
  id -u "$user" >/dev/null 2>&1 || useradd --system --no-create-home --home-dir / --shell /bin/sh "$user"
  usermod -p '*' -aG docker "$user"
  rule=/etc/sudoers.d/berth-$user
  (umask 227; printf '%s ALL=(root) NOPASSWD: ALL\n' "$user" > "$rule.new")
  visudo -qcf "$rule.new" && mv -f "$rule.new" "$rule"
  strict='
  AuthorizedKeysFile none
  PasswordAuthentication no
  KbdInteractiveAuthentication no
  PermitTTY no'
fi
"#;

/// Sets up sshd; the settings hold for this user only. A control plane that was
/// paused or cut off is let go within seconds, with all that waits for it:
/// Docker has others wait for an image that somebody fetches already.
const SSHD: &str = r#"
mkdir -p /etc/ssh/berth /etc/ssh/sshd_config.d
printf '%s\n' "$ca" > /etc/ssh/berth/authority.pub
printf '%s\n' "$machine" > "/etc/ssh/berth/principals-$user"
chmod 755 /etc/ssh/berth; chmod 644 /etc/ssh/berth/*
cat > "/etc/ssh/sshd_config.d/50-berth-$user.conf" <<END
Match User $user
  PubkeyAuthentication yes
  TrustedUserCAKeys /etc/ssh/berth/authority.pub
  AuthorizedPrincipalsFile /etc/ssh/berth/principals-$user
  AllowTcpForwarding yes
  AllowStreamLocalForwarding yes
  AllowAgentForwarding no
  X11Forwarding no
  GatewayPorts no
  ClientAliveInterval 5
  ClientAliveCountMax 3$strict
END
grep -Eqi '^[[:space:]]*Include[[:space:]]+"?/etc/ssh/sshd_config.d/\*\.conf' /etc/ssh/sshd_config ||
  sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' /etc/ssh/sshd_config
mkdir -p /run/sshd
sshd -t
systemctl reload ssh 2>/dev/null || systemctl reload sshd 2>/dev/null ||
  if [ -s /run/sshd.pid ]; then kill -HUP "$(cat /run/sshd.pid)"; fi
"#;

/// Brings the firewall back when the machine starts, before Docker's containers.
const FIREWALL: &str = r#"
if [ -d /etc/systemd/system ]; then
  cat > /etc/systemd/system/berth-firewall.service <<END
[Unit]
Description=Firewall of Berth's nodes
Before=docker.service
ConditionPathExists=$rules
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f $rules
[Install]
WantedBy=multi-user.target
END
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --quiet berth-firewall.service
  fi
fi
"#;

/// A shell command for root on the machine; may be run any number of times.
///
/// # Errors
///
/// [`Error::Invalid`] for a name or key that is none.
pub fn setup_command(input: &SetupInput<'_>) -> Result<String> {
    let SetupInput {
        machine_id: machine,
        user,
        ca_public_key,
    } = input;
    check_name("the machine", machine)?;
    check_user(user)?;
    let mut ca = PublicKey::from_openssh(ca_public_key.trim())
        .map_err(|_| Error::invalid("the authority's key", "expected an OpenSSH public key"))?;
    ca.set_comment("berth");
    let ca = ca
        .to_openssh()
        .map_err(|_| Error::invalid("the authority's key", "it cannot be written"))?;
    Ok(format!(
        r#"sh -eu <<'BERTH'
[ "$(id -u)" = 0 ] || {{ echo 'run this as root' >&2; exit 1; }}
umask 022
machine='{machine}' user='{user}' rules='{RULES}'
ca='{ca}'
{INSTALL}{ACCOUNT}{SSHD}{FIREWALL}
echo "berth: $machine now accepts Berth as $user"
BERTH
"#
    ))
}

/// A name that `useradd`, `sshd_config` and `sudoers` all take as it is.
fn check_user(user: &str) -> Result<()> {
    let mut bytes = user.bytes();
    let starts = bytes
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    if starts && user.len() <= 32 && bytes.all(plain) {
        Ok(())
    } else {
        Err(Error::invalid(
            "the user",
            "use lower-case letters, digits, `-` and `_`",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me";

    #[test]
    fn nothing_that_a_shell_would_read_gets_into_the_command() {
        let good = SetupInput {
            machine_id: "machine-1",
            user: "berth",
            ca_public_key: CA,
        };
        let command = setup_command(&good).unwrap();
        assert!(command.contains("machine='machine-1' user='berth'"));
        for bad in [
            SetupInput {
                machine_id: "m'; reboot; '",
                ..good.clone()
            },
            SetupInput {
                user: "x y",
                ..good.clone()
            },
            SetupInput {
                user: "-rf",
                ..good.clone()
            },
            SetupInput {
                ca_public_key: "ssh-ed25519 $(reboot)",
                ..good.clone()
            },
        ] {
            assert!(
                matches!(setup_command(&bad), Err(Error::Invalid { .. })),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_comment_of_the_key_is_dropped() {
        let key = format!("{CA}'; reboot; '");
        let input = SetupInput {
            machine_id: "machine-1",
            user: "berth",
            ca_public_key: &key,
        };
        assert!(!setup_command(&input).unwrap().contains("reboot"));
    }
}
