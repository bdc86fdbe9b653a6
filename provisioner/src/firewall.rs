//! The machine's firewall: our own nftables table, replaced as a whole.
//!
//! Docker lets what it publishes past the usual input rules, so that both
//! input and forward are closed, by the port that was dialled before Docker
//! rewrote it. A container has nothing to say to the machine itself. What other
//! tables do is left alone.

use crate::docker::BRIDGE_PREFIX;
use crate::error::{Error, Result};
use crate::files::{DATA_DIR, SECRETS_DIR, node_dir};
use crate::spec::{Deployment, Exposure, PlacementRef, Protocol};
use crate::ssh::{Exec, Session};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use tokio::net::TcpStream;

/// Our table.
pub(crate) const TABLE: &str = "inet berth";
/// The rules as they stand, for the machine's own start.
pub(crate) const RULES: &str = "/var/lib/berth/.firewall.nft";
/// File in a node's folder with its open ports.
pub(crate) const PORTS: &str = ".ports";
/// Most ports of one node.
const MAX_PORTS: usize = 256;

/// A port that anyone may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRule {
    /// Number on the machine.
    pub port: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// The ports of a deployment that anyone may reach.
#[must_use]
pub fn open_ports(deployment: &Deployment) -> Vec<PortRule> {
    let ports = deployment.containers.iter().flat_map(|c| &c.ports);
    let open = ports.filter(|port| match port.exposure {
        Exposure::Public | Exposure::Peer => true,
        Exposure::Private | Exposure::Loopback => false,
    });
    let rules: BTreeSet<PortRule> = open
        .map(|port| PortRule {
            port: port.host,
            protocol: port.protocol,
        })
        .collect();
    rules.into_iter().collect()
}

/// Shell functions that print the rules made of the ports of all nodes. `SSH`
/// is the port that we came in by. One rule a port: nftables of 2022 gets sets
/// of `ct original proto-dst` wrong.
pub(crate) const PRINT: &str = r#"
ssh=$({ echo "$SSH"; sshd -T 2>/dev/null | sed -n 's/^port //p'; } | sort -un | paste -sd, -)
accept() {
  cat "$DATA"/*/.ports 2>/dev/null | sort -u | while read -r proto port; do
    echo "    ${1:+$1 }meta l4proto $proto ct original proto-dst $port accept"
  done
}
rules() {
  cat <<END
table $TABLE {
  chain input {
    type filter hook input priority filter - 10; policy drop;
    ct state established,related accept
    iif "lo" accept
    meta l4proto { icmp, ipv6-icmp } accept
    iifname "$BRIDGE*" drop
    udp dport { 68, 546 } accept
    tcp dport { $ssh } accept
$(accept)
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    ct state established,related accept
    iifname "$BRIDGE*" accept
$(accept 'ct status dnat')
    ct status dnat drop
    oifname "$BRIDGE*" drop
  }
}
END
}
"#;

/// Replaces the table, under a lock: two nodes of one machine may be launched
/// at once.
const APPLY: &str = r#"
mkdir -p "$DATA" "$SECRETS"; chmod 755 "$DATA"; chmod 700 "$SECRETS"
exec 9> "$SECRETS/.firewall"; flock -w 30 9
{ echo "table $TABLE"; echo "delete table $TABLE"; rules; } > "$RULES.new"
nft -f "$RULES.new"
mv -f "$RULES.new" "$RULES"
"#;

/// What the shell functions read.
pub(crate) fn variables(ssh: u16) -> String {
    format!(
        "DATA={DATA_DIR} SECRETS={SECRETS_DIR} RULES={RULES} TABLE='{TABLE}' \
         BRIDGE={BRIDGE_PREFIX} SSH={ssh}"
    )
}

/// A node's open ports, as they stand on its machine.
pub(crate) fn declared(open: &[PortRule]) -> String {
    let mut ports = String::new();
    for rule in open {
        // Writing to a String cannot fail.
        writeln!(ports, "{} {}", rule.protocol.name(), rule.port).ok();
    }
    ports
}

impl Session {
    /// Closes the machine to the outside but for sshd, the given ports of this
    /// node, and those of the other nodes on it.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when nftables refuses; [`Error::NotReady`] when the
    /// machine cannot be reached afterwards: the rules are taken back then.
    pub async fn apply_firewall(&self, placement: &PlacementRef, open: &[PortRule]) -> Result<()> {
        if open.len() > MAX_PORTS {
            return Err(Error::invalid("the open ports", "there are too many"));
        }
        let folder = node_dir(placement)?;
        let ports = declared(open);
        let keep = format!(
            "mkdir -p {folder}; chmod 755 {folder}; cat > {folder}/{PORTS}.new; \
             mv -f {folder}/{PORTS}.new {folder}/{PORTS}"
        );
        self.replace_rules(&keep, ports.as_bytes()).await
    }

    /// Runs `first`, then makes the rules anew from what the nodes declare.
    pub(crate) async fn replace_rules(&self, first: &str, stdin: &[u8]) -> Result<()> {
        const WHAT: &str = "applying the firewall";
        let ssh = self.ssh_port().await?;
        let variables = variables(ssh);
        let script = format!(
            "set -e; PATH=$PATH:/usr/sbin:/sbin; umask 077
{variables}
{PRINT}{first}
{APPLY}"
        );
        self.effect("apply firewall")?;
        self.root(Exec {
            stdin,
            ..Exec::new(WHAT, &script)
        })
        .await?;
        let dial = async {
            TcpStream::connect(self.address())
                .await
                .map_err(|e| Error::NotReady(format!("its firewall would lock us out ({e})")))
        };
        let reached = self.within(WHAT, self.config().connect_timeout, dial).await;
        if let Err(error) = reached {
            self.drop_rules().await?;
            return Err(error);
        }
        Ok(())
    }

    /// Takes our table away.
    pub(crate) async fn drop_rules(&self) -> Result<()> {
        let script = format!(
            "PATH=$PATH:/usr/sbin:/sbin; rm -f {RULES}; \
             ! nft list table {TABLE} >/dev/null 2>&1 || nft delete table {TABLE}"
        );
        self.effect("drop firewall")?;
        self.root(Exec::new("removing the firewall", &script))
            .await?;
        Ok(())
    }

    /// The port of the machine's sshd as the machine sees it; an address may
    /// be a translated one.
    pub(crate) async fn ssh_port(&self) -> Result<u16> {
        const WHAT: &str = "asking for sshd's port";
        let command = Exec::new(WHAT, "echo \"${SSH_CONNECTION##* }\"");
        let port = self.exec(command).await?.success(WHAT)?;
        let port = String::from_utf8_lossy(&port);
        port.trim()
            .parse()
            .map_err(|_| Error::answer(WHAT, "not a port"))
    }
}
