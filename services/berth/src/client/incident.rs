//! `berth incident`: open problems, and who took them up.

use super::context::ContextArgs;
use super::health::node_id;
use super::output::{OutputArgs, table, time, word};
use super::request_id;
use berth_proto::monitoring::v1::incident_service_client::IncidentServiceClient;
use berth_proto::monitoring::v1::{self as pb, Incident};
use clap::{Args, Subcommand};

/// What can be done with incidents.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List open problems, newest first
    List(List),
    /// Say that somebody knows; it resolves by itself when it does not come again
    Ack(Ack),
}

/// Arguments of `list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth incident list
  berth incident list --node v1 --resolved --output json | jq -r '.incidents[].reason'")]
pub(crate) struct List {
    /// Only those of this node, by name or id
    #[arg(long)]
    node: Option<String>,
    /// Also those that are resolved
    #[arg(long)]
    resolved: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `ack`.
#[derive(Debug, Args)]
pub(crate) struct Ack {
    /// Id of the incident
    incident: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    let channel = context.load()?.channel()?;
    let mut client = IncidentServiceClient::new(channel.clone());
    let (incidents, output) = match command {
        Command::List(list) => {
            let mut request = pb::ListIncidentsRequest {
                page_size: 200,
                show_resolved: list.resolved,
                ..pb::ListIncidentsRequest::default()
            };
            if let Some(node) = &list.node {
                request.node_id = node_id(channel, node).await?;
            }
            let mut all = Vec::new();
            loop {
                let page = client.list_incidents(request.clone()).await?.into_inner();
                all.extend(page.incidents);
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break (all, list.output);
                }
            }
        }
        Command::Ack(ack) => {
            let request = pb::AcknowledgeIncidentRequest {
                request_id: request_id(),
                incident_id: ack.incident,
                etag: String::new(),
            };
            let answer = client.acknowledge_incident(request).await?.into_inner();
            (answer.incident.into_iter().collect(), ack.output)
        }
    };
    let answer = pb::ListIncidentsResponse {
        incidents,
        next_page_token: String::new(),
    };
    output.print(&answer, |answer| {
        table(
            [
                "id",
                "severity",
                "state",
                "node",
                "reason",
                "count",
                "last (UTC)",
                "detail",
            ],
            answer.incidents.iter().map(row).collect(),
        )
    })
}

fn row(incident: &Incident) -> [String; 8] {
    [
        incident.id.clone(),
        word(incident.severity().as_str_name(), "SEVERITY_"),
        word(incident.state().as_str_name(), "STATE_"),
        incident.node_id.clone(),
        incident.reason.clone(),
        incident.count.to_string(),
        time(incident.last_time.as_ref()),
        incident.detail.clone(),
    ]
}
