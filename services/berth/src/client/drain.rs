//! `berth machine drain`: no new node on a machine, and what stands there.
//!
//! It moves nothing: nodes go with the end of their lease, or their owners
//! launch them elsewhere.

use super::context::Authed;
use super::machine::{Client, get};
use super::output::{OutputArgs, table, time, word};
use super::request_id;
use anyhow::Context as _;
use berth_proto::inventory::v1::{CordonMachineRequest, Machine};
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::{
    ListMachineNodesRequest, ListMachineNodesResponse, MachineNode,
};
use clap::Args;

/// Arguments of `drain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth machine drain gpu-1 --dry-run
  berth machine drain gpu-1 --output json

Of nodes of other accounts only role, state, validators and the end of the lease
are shown. `berth machine uncordon` lets the machine take nodes again.")]
pub(crate) struct Drain {
    /// Name or id
    machine: String,
    /// List what would have to move, and do not cordon
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(channel: Authed, drain: Drain) -> anyhow::Result<()> {
    let mut client = Client::new(channel.clone());
    let machine = if drain.dry_run {
        get(&mut client, &drain.machine).await?
    } else {
        let request = CordonMachineRequest {
            request_id: request_id(),
            machine_id: drain.machine,
        };
        client.cordon_machine(request).await?.into_inner().machine
    };
    let machine = machine.context("an answer without a machine")?;
    let mut provisioning = ProvisioningServiceClient::new(channel);
    let mut all = ListMachineNodesResponse::default();
    loop {
        let request = ListMachineNodesRequest {
            machine_id: machine.id.clone(),
            page_size: 200,
            page_token: std::mem::take(&mut all.next_page_token),
        };
        let page = provisioning.list_machine_nodes(request).await?.into_inner();
        all.nodes.extend(page.nodes);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    eprintln!("{}", advice(&machine, drain.dry_run, all.nodes.len()));
    drain.output.print(&all, |all| {
        let rows = all.nodes.iter().map(row).collect();
        table(
            ["node", "chain", "role", "state", "validators", "lease ends"],
            rows,
        )
    })
}

/// What was done, and what there is to do.
fn advice(machine: &Machine, dry_run: bool, nodes: usize) -> String {
    let name = &machine.name;
    let cordoned = if dry_run {
        format!("Would cordon {name}: no new node would be placed there.")
    } else {
        format!("{name} is cordoned: no new node is placed there.")
    };
    let held = machine
        .status
        .as_ref()
        .is_some_and(|status| !status.lease_id.is_empty());
    match (nodes, held) {
        (0, false) => format!("{cordoned} Nothing stands on it."),
        (0, true) => format!("{cordoned} No node stands on it; a lease holds it until its end."),
        (nodes, _) => format!(
            "{cordoned} On it stand {nodes} nodes, which run on. Berth does not move them yet: \
             wait for the ends of their leases, or ask the owners to launch them elsewhere."
        ),
    }
}

fn row(node: &MachineNode) -> [String; 6] {
    let name = if node.name.is_empty() {
        "(another account's)"
    } else {
        &node.name
    };
    [
        name.to_owned(),
        node.chain.clone(),
        word(node.role().as_str_name(), "ROLE_"),
        word(node.state().as_str_name(), "STATE_"),
        node.validator_count.to_string(),
        time(node.lease_expire_time.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_says_what_was_done_and_what_is_left_to_do() {
        let machine = Machine {
            name: "m1".to_owned(),
            ..Machine::default()
        };
        let told = advice(&machine, true, 2);
        assert!(told.starts_with("Would cordon m1"), "{told}");
        assert!(told.contains("does not move them yet"), "{told}");
        let told = advice(&machine, false, 0);
        assert!(told.starts_with("m1 is cordoned"), "{told}");
        assert!(told.ends_with("Nothing stands on it."), "{told}");
    }

    #[test]
    fn a_node_of_another_account_has_no_name() {
        let row = row(&MachineNode::default());
        assert_eq!(row[0], "(another account's)");
    }
}
