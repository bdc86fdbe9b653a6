//! Ports and the way into the network.

use std::collections::BTreeSet;

use super::words::{is_file_name, is_hex32, is_identifier, is_peer};
use super::{MAX_LIST, components};
use crate::chain::entry::{ChainEntry, PortEntry, Purpose};
use crate::chain::error::{Path, Report};
use crate::spec::{Exposure, Protocol};

/// Where known software listens for queries, engine calls and signers.
const SENSITIVE: &[u16] = &[
    1317, 3030, 5052, 5062, 7500, 8545, 8546, 8551, 8899, 8900, 9090, 9944, 10337, 26657, 26658,
    26659, 26660,
];

pub(super) fn ports(entry: &ChainEntry, report: &mut Report) {
    let list = Path::field("ports");
    report.ensure(entry.ports.len() <= MAX_LIST, &list, "too many ports", "");
    let (mut names, mut inside, mut outside) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (i, port) in entry.ports.iter().enumerate().take(MAX_LIST) {
        let path = list.at(i);
        components::find(entry, &port.component, &path.key("component"), report);
        report.ensure(
            is_identifier(&port.name, 20) && names.insert(&port.name),
            &path.key("name"),
            "not a name of a port, or used before",
            "up to 20 of `a-z`, `0-9`, `-`",
        );
        let socket = (port.number, port.protocol);
        report.ensure(
            port.number != 0 && inside.insert((&port.component, socket)),
            &path.key("number"),
            "zero, or the component has another port of that number",
            "",
        );
        report.ensure(
            port.exposure == Exposure::Private || outside.insert(socket),
            &path.key("number"),
            "another component publishes that number on the machine",
            "configure one of them to listen elsewhere, or make it private",
        );
        exposure(port, &path, report);
    }
}

fn exposure(port: &PortEntry, path: &Path, report: &mut Report) {
    if matches!(port.exposure, Exposure::Private | Exposure::Loopback) {
        return;
    }
    let what = match port.purpose {
        Purpose::P2p if SENSITIVE.contains(&port.number) => {
            "a number that is known for queries or signing cannot be reached from outside"
        }
        Purpose::P2p => return,
        Purpose::Rpc => "an RPC port cannot be reached from outside",
        Purpose::Engine => "an engine port cannot be reached from outside",
        Purpose::Signer => "a signer port cannot be reached from outside",
        Purpose::Metrics => "a metrics port cannot be reached from outside",
    };
    report.add(&path.key("exposure"), what, "use `private` or `loopback`");
}

/// The node's own API answers on a port of the entry.
pub(super) fn api(entry: &ChainEntry, report: &mut Report) {
    let Some(api) = &entry.api else { return };
    let port = entry.ports.iter().find(|port| port.name == api.port);
    let answers = |port: &PortEntry| port.purpose == Purpose::Rpc && port.protocol == Protocol::Tcp;
    report.ensure(
        port.is_some_and(answers),
        &Path::field("api").key("port"),
        "no TCP port with the purpose `rpc` has that name",
        "name one of `[[ports]]`",
    );
}

pub(super) fn bootstrap(entry: &ChainEntry, report: &mut Report) {
    let path = Path::field("bootstrap");
    for (field, nodes) in [
        ("peers", &entry.bootstrap.peers),
        ("seeds", &entry.bootstrap.seeds),
    ] {
        let path = path.key(field);
        report.ensure(nodes.len() <= 64, &path, "more than 64 nodes", "");
        for (i, node) in nodes.iter().enumerate().take(64) {
            report.ensure(
                is_peer(node),
                &path.at(i),
                "not an address of a node",
                "such as `<id>@203.0.113.9:26656`",
            );
        }
    }
    let Some(genesis) = &entry.bootstrap.genesis else {
        return;
    };
    let path = path.key("genesis");
    report.ensure(
        is_file_name(&genesis.file),
        &path.key("file"),
        "not a file name",
        "such as `genesis.json`",
    );
    if let Some(sha256) = &genesis.sha256 {
        report.ensure(
            is_hex32(sha256),
            &path.key("sha256"),
            "not a SHA-256",
            "64 of `0-9`, `a-f`; leave it out until the genesis is registered",
        );
    }
    if let Some(url) = &genesis.url {
        report.ensure(
            url.starts_with("https://")
                && url.len() <= 500
                && url.chars().all(|c| c.is_ascii_graphic()),
            &path.key("url"),
            "not an address",
            "begin with `https://`",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::chain::tests::ENTRY;
    use crate::chain::{ApiKind, ChainEntry, Invalid};

    #[test]
    fn the_nodes_own_api_answers_on_a_port_of_the_entry() {
        assert_eq!(ChainEntry::parse(ENTRY).unwrap().api_port(), None);
        let with = |api: &str| ChainEntry::parse(&format!("{ENTRY}\n[api]\n{api}"));
        let entry = with("kind = \"ethereum-beacon\"\nport = \"rpc\"").unwrap();
        assert_eq!(entry.api.as_ref().unwrap().kind, ApiKind::EthereumBeacon);
        assert_eq!(entry.api_port().unwrap().number, 26657);
        for (api, field) in [
            ("kind = \"ethereum-beacon\"\nport = \"p2p\"", "api.port"),
            ("kind = \"ethereum-beacon\"\nport = \"none\"", "api.port"),
            ("kind = \"telnet\"\nport = \"rpc\"", "api.kind"),
            (
                "kind = \"ethereum-beacon\"\nport = \"rpc\"\nurl = \"http://a\"",
                "api.url",
            ),
        ] {
            let Invalid(problems) = with(api).unwrap_err();
            assert_eq!(problems[0].field, field, "{api}: {}", problems[0]);
        }
    }
}
