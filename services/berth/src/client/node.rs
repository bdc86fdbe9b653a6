//! `berth node`: launching nodes and looking after them.

use super::context::{Authed, ContextArgs};
use super::launch::{self, Launch};
use super::output::{OutputArgs, fields, table, time, word};
use super::watch::Watch;
use super::{logs, progress, request_id, upgrade};
use anyhow::Context as _;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::{self as pb, Node};
use clap::{Args, Subcommand};
use comfy_table::Table;
use std::time::Duration;

/// What can be done with nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Launch a node
    Launch(Box<Launch>),
    /// List nodes, newest first
    List(List),
    /// Show one node
    Show(One),
    /// Follow everything that happens to a node
    Watch(One),
    /// Print the log of a node
    Logs(logs::Logs),
    /// Stop a node and keep its data
    Stop(Change),
    /// Start a stopped node
    Start(Change),
    /// Take a node to another version of its chain's entry, and back if it is not healthy
    Upgrade(Box<upgrade::Upgrade>),
    /// Try a failed node again
    Retry(Change),
    /// Remove a node and its data, and end the lease that was made for it
    Retire(Retire),
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also those that are gone
    #[arg(long)]
    retired: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// A node by name or id.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Name or id
    node: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// A change that can be waited for.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Name or id
    pub(super) node: String,
    /// Wait until it is done
    #[arg(long)]
    pub(super) wait: bool,
    /// How long to wait
    #[arg(long, default_value = "15m", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Arguments of `retire`.
#[derive(Debug, Args)]
pub(crate) struct Retire {
    #[command(flatten)]
    change: Change,
    /// Say what would be removed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) type Client = ProvisioningServiceClient<Authed>;

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    let channel = context.load()?.channel()?;
    let mut client = ProvisioningServiceClient::new(channel.clone());
    match command {
        Command::Launch(launch) => launch::run(channel, *launch).await,
        Command::List(arguments) => list(&mut client, arguments).await,
        Command::Show(one) => {
            let node = get(&mut client, &one.node).await?;
            print(one.output, node)
        }
        Command::Watch(one) => {
            // Of the one that has the name now, though another may take it.
            let node = get(&mut client, &one.node).await?;
            let id = node.context("an answer without a node")?.id;
            progress::follow(Watch::new(&client, &id, 0), one.output.is_json()).await
        }
        Command::Logs(arguments) => logs::run(&mut client, arguments).await,
        Command::Stop(change) => {
            let after = newest(&mut client, &change).await?;
            let request = pb::StopNodeRequest {
                request_id: request_id(),
                node_id: change.node.clone(),
            };
            let node = client.stop_node(request).await?.into_inner().node;
            finish(&mut client, change, node, &[State::Stopped], after).await
        }
        Command::Start(change) => {
            let after = newest(&mut client, &change).await?;
            let request = pb::StartNodeRequest {
                request_id: request_id(),
                node_id: change.node.clone(),
            };
            let node = client.start_node(request).await?.into_inner().node;
            finish(&mut client, change, node, &[State::Running], after).await
        }
        Command::Upgrade(arguments) => upgrade::run(&mut client, *arguments).await,
        Command::Retry(change) => {
            let after = newest(&mut client, &change).await?;
            let request = pb::RetryNodeRequest {
                request_id: request_id(),
                node_id: change.node.clone(),
            };
            let node = client.retry_node(request).await?.into_inner().node;
            finish(&mut client, change, node, &[State::Running], after).await
        }
        Command::Retire(retire) if retire.dry_run => {
            let node = get(&mut client, &retire.change.node).await?;
            eprintln!("Would remove this node and its data, and end a lease made for it:");
            print(retire.change.output, node)
        }
        Command::Retire(Retire { change, .. }) => {
            let after = newest(&mut client, &change).await?;
            let request = pb::RetireNodeRequest {
                request_id: request_id(),
                node_id: change.node.clone(),
            };
            let node = client.retire_node(request).await?.into_inner().node;
            finish(&mut client, change, node, &[State::Retired], after).await
        }
    }
}

/// The newest event of a node that is about to change: what is waited for comes
/// after it. The answer to the change may already be ahead of the first steps.
pub(super) async fn newest(client: &mut Client, change: &Change) -> anyhow::Result<i64> {
    if !change.wait {
        return Ok(0);
    }
    let status = get(client, &change.node)
        .await?
        .and_then(|node| node.status);
    Ok(status.unwrap_or_default().event_sequence)
}

/// Waits when that was asked for, showing the events after a sequence, then
/// prints the node.
pub(super) async fn finish(
    client: &mut Client,
    change: Change,
    node: Option<Node>,
    wanted: &[State],
    after: i64,
) -> anyhow::Result<()> {
    if !change.wait {
        return print(change.output, node);
    }
    let id = node.context("an answer without a node")?.id;
    let watch = Watch::new(client, &id, after);
    let node = progress::wait_for(watch, wanted, change.timeout).await?;
    print(change.output, Some(node))
}

async fn get(client: &mut Client, node: &str) -> anyhow::Result<Option<Node>> {
    let request = pb::GetNodeRequest {
        node_id: node.to_owned(),
    };
    Ok(client.get_node(request).await?.into_inner().node)
}

async fn list(client: &mut Client, arguments: List) -> anyhow::Result<()> {
    let mut all = pb::ListNodesResponse::default();
    loop {
        let request = pb::ListNodesRequest {
            page_size: 200,
            page_token: std::mem::take(&mut all.next_page_token),
            show_retired: arguments.retired,
        };
        let page = client.list_nodes(request).await?.into_inner();
        all.nodes.extend(page.nodes);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    arguments.output.print(&all, |all| {
        let rows = all.nodes.iter().map(|node| {
            let spec = node.spec.clone().unwrap_or_default();
            let status = node.status.clone().unwrap_or_default();
            let placement = status.placement.clone().unwrap_or_default();
            [
                node.name.clone(),
                spec.chain.clone(),
                status.version.clone(),
                word(spec.role().as_str_name(), "ROLE_"),
                word(status.state().as_str_name(), "STATE_"),
                duty(&spec, &status),
                word(status.health().as_str_name(), "HEALTH_"),
                validators(&spec),
                placement.machine_id,
                [
                    status.status_reason,
                    status.duty_reason,
                    status.health_reason,
                ]
                .into_iter()
                .find(|reason| !reason.is_empty())
                .unwrap_or_default(),
            ]
        });
        table(
            [
                "name",
                "chain",
                "version",
                "role",
                "state",
                "duty",
                "health",
                "validators",
                "machine",
                "reason",
            ],
            rows.collect(),
        )
    })
}

/// The headline of a validator; nothing for the other roles, which have none.
fn duty(spec: &pb::NodeSpec, status: &pb::NodeStatus) -> String {
    if spec.role() == pb::Role::Validator {
        word(status.duty().as_str_name(), "DUTY_")
    } else {
        String::new()
    }
}

/// How many validators sign on a node; a dash where none can.
fn validators(spec: &pb::NodeSpec) -> String {
    match spec.validators.len() {
        0 => "-".to_owned(),
        count => count.to_string(),
    }
}

/// Prints one node.
pub(super) fn print(output: OutputArgs, node: Option<Node>) -> anyhow::Result<()> {
    output.print(&pb::GetNodeResponse { node }, |answer| {
        answer.node.as_ref().map_or_else(Table::new, describe)
    })
}

fn describe(node: &Node) -> Table {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let components = status.components.iter().map(|component| {
        format!(
            "{}: {}, {} restarts",
            component.name, component.state, component.restarts
        )
    });
    let settings = spec
        .settings
        .iter()
        .map(|(key, value)| format!("{key} = {value}"));
    let mut rows = vec![
        ("name", node.name.clone()),
        ("duty", duty(&spec, &status)),
        ("because", status.duty_reason.clone()),
        ("id", node.id.clone()),
        ("chain", spec.chain.clone()),
        ("version", status.version.clone()),
        ("upgrade", upgrade::describe(status.upgrade.as_ref())),
        ("role", word(spec.role().as_str_name(), "ROLE_")),
        ("settings", settings.collect::<Vec<_>>().join("\n")),
        ("validators", spec.validators.join("\n")),
        ("state", word(status.state().as_str_name(), "STATE_")),
        ("reason", status.status_reason.clone()),
        ("health", word(status.health().as_str_name(), "HEALTH_")),
        ("because", status.health_reason.clone()),
        ("lease", status.lease_id.clone()),
        ("components", components.collect::<Vec<_>>().join("\n")),
        ("launched (UTC)", time(node.create_time.as_ref())),
    ];
    if let Some(placement) = &status.placement {
        rows.push(("machine", placement.machine_id.clone()));
        rows.push(("fence", placement.fence.to_string()));
    }
    fields(rows)
}
