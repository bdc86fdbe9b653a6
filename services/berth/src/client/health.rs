//! `berth health`: what the signals of a node add up to.

use super::again::Again;
use super::context::{Authed, ContextArgs};
use super::output::{OutputArgs, fields, json, span, time, word};
use anyhow::Context as _;
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use berth_proto::provisioning::v1::GetNodeRequest;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use clap::Args;
use comfy_table::Table;

/// Gwei in one coin.
const GWEI: u64 = 1_000_000_000;

/// Arguments of `health`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth health n1
  berth health n1 --watch --output json | jq -r .health.state")]
pub(crate) struct Health {
    /// Name or id of the node
    node: String,
    /// Go on, and print every change
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(context: &ContextArgs, health: Health) -> anyhow::Result<()> {
    let channel = context.load()?.channel()?;
    let node_id = node_id(channel.clone(), &health.node).await?;
    let mut client = MonitoringServiceClient::new(channel);
    if !health.watch {
        let answer = client.get_health(pb::GetHealthRequest { node_id }).await?;
        return health.output.print(&answer.into_inner(), |answer| {
            answer.health.as_ref().map_or_else(Table::new, describe)
        });
    }
    let request = pb::WatchHealthRequest { node_id };
    let ask = || {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.watch_health(request).await }
    };
    let (mut again, mut last) = (Again::new(), None);
    // A stream that is asked for again begins with what may have been told.
    while let Some(answer) = again
        .next(ask, |answer, _| last.as_ref() != Some(answer))
        .await?
    {
        let answer = last.insert(answer);
        if health.output.is_json() {
            println!("{}", json(answer)?);
        } else if let Some(health) = &answer.health {
            println!("{}", line(health));
        }
    }
    Ok(())
}

/// The id of a node that was given by name.
pub(super) async fn node_id(channel: Authed, node: &str) -> anyhow::Result<String> {
    let request = GetNodeRequest {
        node_id: node.to_owned(),
    };
    let answer = ProvisioningServiceClient::new(channel)
        .get_node(request)
        .await?;
    let node = answer.into_inner().node;
    Ok(node.context("an answer without a node")?.id)
}

/// Duty in words, with what was counted; nothing where it is not told.
fn duty(health: &pb::Health) -> Option<String> {
    let duty = health.duty.as_ref()?;
    let state = word(duty.state().as_str_name(), "STATE_");
    let window = span(duty.window.as_ref());
    let balance = duty.balance_gwei.map(|gwei| {
        let (whole, rest) = (gwei / GWEI, gwei % GWEI);
        format!(", balance {whole}.{rest:09}")
    });
    Some(format!(
        "{state}, {} done and {} missed in {window}{}",
        duty.done,
        duty.missed,
        balance.unwrap_or_default()
    ))
}

/// The headline in one word: the duty where there is one, else the state.
fn headline(health: &pb::Health) -> String {
    let state = health.duty.as_ref().map_or_else(
        || health.state().as_str_name(),
        |duty| duty.state().as_str_name(),
    );
    word(state, "STATE_")
}

/// Health in one line.
pub(crate) fn line(health: &pb::Health) -> String {
    let mut state = word(health.state().as_str_name(), "STATE_");
    if let Some(duty) = duty(health) {
        state = format!("{duty}; {state}");
    }
    let synced = synced(health).map_or_else(String::new, |synced| format!(", {synced} synced"));
    let reasons = because(health).join("; ");
    format!(
        "{state}{synced}, height {}, {} peers{}{reasons}",
        health.height,
        known(health.peers),
        if reasons.is_empty() { "" } else { ": " },
    )
}

/// Why, the most important first.
fn because(health: &pb::Health) -> Vec<&str> {
    let duty = health.duty.iter().map(|duty| &duty.reason);
    duty.chain(&health.reasons)
        .map(String::as_str)
        .filter(|reason| !reason.is_empty())
        .collect()
}

/// Health in columns: the headline in one word, how much is synced, peers, height; a dash
/// for what is unknown.
pub(crate) fn columns(health: &pb::Health) -> [String; 4] {
    let peers = (health.peers >= 0).then(|| health.peers.to_string());
    let height = (health.height > 0).then(|| health.height.to_string());
    let [synced, peers, height] =
        [synced(health), peers, height].map(|known| known.unwrap_or_else(|| "-".to_owned()));
    [headline(health), synced, peers, height]
}

fn synced(health: &pb::Health) -> Option<String> {
    (health.sync_percent >= 0).then(|| format!("{} %", health.sync_percent))
}

fn known(number: i64) -> String {
    if number < 0 {
        "unknown".to_owned()
    } else {
        number.to_string()
    }
}

fn describe(health: &pb::Health) -> Table {
    let mut rows = vec![
        ("duty", duty(health).unwrap_or_default()),
        ("state", word(health.state().as_str_name(), "STATE_")),
        ("because", because(health).join("\n")),
        ("height", health.height.to_string()),
        ("behind", known(health.distance)),
        ("peers", known(health.peers)),
        ("last signal (UTC)", time(health.signal_time.as_ref())),
    ];
    rows.extend(synced(health).map(|synced| ("synced", synced)));
    rows.extend(health.checks.iter().map(|check| {
        let outcome = word(check.outcome().as_str_name(), "OUTCOME_");
        (check.name.as_str(), format!("{outcome}: {}", check.message))
    }));
    fields(rows)
}
