//! The live line of the demo: state, sync, peers, height, cost so far.

use crate::client::{Authed, Context, describe_health, money};
use anyhow::{Context as _, bail};
use berth_proto::leasing::v1::GetLeaseRequest;
use berth_proto::leasing::v1::leasing_service_client::LeasingServiceClient;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use berth_proto::monitoring::v1::{GetHealthRequest, health};
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::{GetNodeRequest, Node};
use indicatif::ProgressBar;
use std::io::IsTerminal as _;
use tonic::Code;

/// Whether a node of that name is there.
pub(super) async fn exists(context: &Context, name: &str) -> anyhow::Result<bool> {
    let mut client = ProvisioningServiceClient::new(context.channel()?);
    let request = GetNodeRequest {
        node_id: name.to_owned(),
    };
    match client.get_node(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

/// What is shown of a node.
pub(super) struct View {
    name: String,
    channel: Authed,
    bar: Option<ProgressBar>,
    last: String,
}

impl View {
    /// A view of one node; one live line on a terminal, a line a change elsewhere.
    pub(super) fn new(context: &Context, name: &str) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            channel: context.channel()?,
            bar: std::io::stdout()
                .is_terminal()
                .then(ProgressBar::new_spinner),
            last: String::new(),
        })
    }

    /// Shows it as it is now; says whether it follows the head of its chain.
    pub(super) async fn show(&mut self) -> anyhow::Result<bool> {
        let node = self.node().await?;
        let status = node.status.clone().unwrap_or_default();
        if status.state() == State::Failed {
            bail!("{} failed: {}", self.name, status.status_reason);
        }
        let health = MonitoringServiceClient::new(self.channel.clone())
            .get_health(GetHealthRequest { node_id: node.id })
            .await?
            .into_inner()
            .health
            .unwrap_or_default();
        let lease = LeasingServiceClient::new(self.channel.clone())
            .get_lease(GetLeaseRequest {
                lease_id: status.lease_id.clone(),
            })
            .await?
            .into_inner()
            .lease
            .and_then(|lease| lease.status)
            .unwrap_or_default();
        let line = format!(
            "{}: {}, {}, cost so far {}",
            self.name,
            status
                .state()
                .as_str_name()
                .trim_start_matches("STATE_")
                .to_lowercase(),
            describe_health(&health),
            money(lease.cost.as_ref()),
        );
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
            }
            None if line != self.last => {
                println!("{line}");
                self.last = line;
            }
            None => {}
        }
        Ok(health.state() == health::State::Healthy && status.state() == State::Running)
    }

    async fn node(&self) -> anyhow::Result<Node> {
        let request = GetNodeRequest {
            node_id: self.name.clone(),
        };
        let answer = ProvisioningServiceClient::new(self.channel.clone())
            .get_node(request)
            .await?;
        answer.into_inner().node.context("an answer without a node")
    }
}
