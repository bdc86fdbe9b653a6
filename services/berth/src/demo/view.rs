//! The live view of the demo: on a terminal a table that is drawn in place, a
//! row a node; a line a change elsewhere.

use crate::client::{Authed, Context, describe_health, health_columns, money, table, word};
use anyhow::{Context as _, bail};
use berth_proto::api::v1::Money;
use berth_proto::leasing::v1::GetLeaseRequest;
use berth_proto::leasing::v1::leasing_service_client::LeasingServiceClient;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use berth_proto::monitoring::v1::{Duty, GetHealthRequest, Health, duty, health};
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::{GetNodeRequest, Node, NodeStatus};
use futures::future::try_join_all;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// What is shown of some nodes.
pub(super) struct View {
    names: Vec<String>,
    channel: Authed,
    table: Option<ProgressBar>,
    lines: Vec<String>,
}

impl View {
    /// A view of these nodes, in this order.
    pub(super) fn new(context: &Context, names: &[&str]) -> anyhow::Result<Self> {
        let table = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout())
            .with_style(ProgressStyle::with_template("{msg}")?)
            .with_finish(ProgressFinish::Abandon);
        Ok(Self {
            names: names.iter().map(ToString::to_string).collect(),
            channel: context.channel()?,
            table: (!table.is_hidden()).then_some(table),
            lines: vec![String::new(); names.len()],
        })
    }

    /// Shows them as they are now; says whether all follow the heads of their
    /// chains, and those with a duty do it.
    pub(super) async fn show(&mut self) -> anyhow::Result<bool> {
        let looks = self.names.iter().map(|name| look(&self.channel, name));
        let rows = try_join_all(looks).await?;
        if let Some(table) = &self.table {
            table.set_message(draw(&rows));
        } else {
            for (row, last) in rows.iter().zip(&mut self.lines) {
                let line = row.line();
                if line != *last {
                    println!("{line}");
                    *last = line;
                }
            }
        }
        if let Some(row) = rows.iter().find(|row| row.status.state() == State::Failed) {
            bail!("{} failed: {}", row.name, row.status.status_reason);
        }
        Ok(rows.iter().all(Row::follows))
    }
}

/// What is shown of one node.
struct Row {
    name: String,
    chain: String,
    status: NodeStatus,
    health: Health,
    cost: Option<Money>,
}

impl Row {
    fn follows(&self) -> bool {
        let duty = self.health.duty.as_ref().map(Duty::state);
        self.status.state() == State::Running
            && self.health.state() == health::State::Healthy
            && duty.is_none_or(|duty| duty == duty::State::Earning)
    }

    fn state(&self) -> String {
        word(self.status.state().as_str_name(), "STATE_")
    }

    fn line(&self) -> String {
        format!(
            "{}: {}, {}, cost so far {}",
            self.name,
            self.state(),
            describe_health(&self.health),
            money(self.cost.as_ref())
        )
    }
}

fn draw(rows: &[Row]) -> String {
    let head = [
        "node",
        "chain",
        "state",
        "health",
        "sync",
        "peers",
        "height",
        "cost so far",
    ];
    let cells = rows.iter().map(|row| {
        let [health, sync, peers, height] = health_columns(&row.health);
        [
            row.name.clone(),
            row.chain.clone(),
            row.state(),
            health,
            sync,
            peers,
            height,
            money(row.cost.as_ref()),
        ]
    });
    table(head, cells.collect()).trim_fmt()
}

async fn look(channel: &Authed, name: &str) -> anyhow::Result<Row> {
    let request = GetNodeRequest {
        node_id: name.to_owned(),
    };
    let node = ProvisioningServiceClient::new(channel.clone())
        .get_node(request)
        .await?;
    let Node {
        id,
        name,
        spec,
        status,
        ..
    } = node.into_inner().node.context("an answer without a node")?;
    let status = status.unwrap_or_default();
    let health = MonitoringServiceClient::new(channel.clone())
        .get_health(GetHealthRequest { node_id: id })
        .await?;
    Ok(Row {
        name,
        chain: spec.unwrap_or_default().chain,
        health: health.into_inner().health.unwrap_or_default(),
        cost: cost(channel, &status.lease_id).await?,
        status,
    })
}

/// What a lease has cost; nothing before there is one.
async fn cost(channel: &Authed, lease_id: &str) -> anyhow::Result<Option<Money>> {
    if lease_id.is_empty() {
        return Ok(None);
    }
    let request = GetLeaseRequest {
        lease_id: lease_id.to_owned(),
    };
    let answer = LeasingServiceClient::new(channel.clone())
        .get_lease(request)
        .await?;
    let lease = answer.into_inner().lease.unwrap_or_default();
    Ok(lease.status.unwrap_or_default().cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launching() -> Row {
        Row {
            name: "hoodi-1".to_owned(),
            chain: "ethereum-devnet".to_owned(),
            status: NodeStatus {
                state: State::Launching.into(),
                ..NodeStatus::default()
            },
            health: Health {
                state: health::State::Unknown.into(),
                peers: -1,
                sync_percent: -1,
                ..Health::default()
            },
            cost: None,
        }
    }

    fn running() -> Row {
        Row {
            name: "demo-1".to_owned(),
            chain: "cosmos-devnet".to_owned(),
            status: NodeStatus {
                state: State::Running.into(),
                ..NodeStatus::default()
            },
            health: Health {
                state: health::State::Healthy.into(),
                peers: 2,
                height: 1044,
                sync_percent: 100,
                ..Health::default()
            },
            cost: Some(Money {
                currency: "EUR".to_owned(),
                micros: 2556,
            }),
        }
    }

    #[test]
    fn a_terminal_shows_a_row_a_node() {
        let drawn = "
 NODE     CHAIN            STATE      HEALTH   SYNC   PEERS  HEIGHT  COST SO FAR
 demo-1   cosmos-devnet    running    healthy  100 %  2      1044    0.002556 EUR
 hoodi-1  ethereum-devnet  launching  unknown  -      -      -";
        assert_eq!(
            draw(&[running(), launching()]),
            drawn.trim_start_matches('\n')
        );
    }

    #[test]
    fn elsewhere_a_node_is_a_line() {
        assert_eq!(
            running().line(),
            "demo-1: running, healthy, 100 % synced, height 1044, 2 peers, cost so far 0.002556 EUR"
        );
    }

    #[test]
    fn a_node_that_is_not_up_does_not_follow() {
        assert!(running().follows());
        assert!(!launching().follows());
    }
}
