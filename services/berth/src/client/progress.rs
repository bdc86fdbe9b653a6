//! Following a node: a line a step, live on a terminal and plain elsewhere.

use super::context::Authed;
use super::exit::NotInTime;
use super::output::{json, word};
use anyhow::bail;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::{self as pb, NodeEvent};
use chrono::DateTime;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};
use tonic::Code;

/// How steps are shown.
pub(super) struct Steps {
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl Steps {
    /// Live when standard error is a terminal.
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            bar,
            begun: Instant::now(),
        }
    }

    /// Shows an event: a percentage replaces the line before it, where it can.
    fn show(&self, event: &NodeEvent) {
        let line = self.line(event);
        match &self.bar {
            Some(bar) if (0..100).contains(&event.percent) => bar.set_message(line),
            Some(bar) => {
                bar.println(&line);
                bar.set_message(line);
            }
            None => eprintln!("{line}"),
        }
    }

    fn line(&self, event: &NodeEvent) -> String {
        let percent = if event.percent >= 0 {
            format!("{:3} % ", event.percent)
        } else {
            String::new()
        };
        format!(
            "{:7.1} s  {:<11} {percent}{}",
            self.begun.elapsed().as_secs_f64(),
            event.step,
            event.message
        )
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

type Client = ProvisioningServiceClient<Authed>;

/// Waits until a node is in one of the wanted states, showing every step. The
/// stream is taken up again where it broke.
pub(super) async fn wait_for(
    client: &mut Client,
    node_id: &str,
    wanted: &[State],
    at_most: Duration,
) -> anyhow::Result<pb::Node> {
    let steps = Steps::new();
    let mut last = pb::Node::default();
    let watched = async {
        let mut after_sequence = 0;
        loop {
            let request = pb::WatchNodeRequest {
                node_id: node_id.to_owned(),
                after_sequence,
            };
            let mut stream = match client.watch_node(request).await {
                Ok(stream) => stream.into_inner(),
                Err(status) if status.code() == Code::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
                Err(status) => return Err(status.into()),
            };
            while let Ok(Some(answer)) = stream.message().await {
                if let Some(event) = &answer.event {
                    after_sequence = event.sequence;
                    steps.show(event);
                }
                let Some(node) = answer.node else { continue };
                let status = node.status.clone().unwrap_or_default();
                last = node;
                if wanted.contains(&status.state()) {
                    return Ok(());
                }
                if matches!(status.state(), State::Failed | State::Retired) {
                    bail!(
                        "{} is {}: {}",
                        last.name,
                        word(status.state().as_str_name(), "STATE_"),
                        status.status_reason
                    );
                }
            }
        }
    };
    let result = tokio::time::timeout(at_most, watched).await;
    match result {
        Ok(done) => done.map(|()| last),
        Err(_) => {
            let status = last.status.unwrap_or_default();
            Err(NotInTime(format!(
                "{} is still {} after {} s: {}",
                last.name,
                word(status.state().as_str_name(), "STATE_"),
                at_most.as_secs(),
                status.status_reason
            ))
            .into())
        }
    }
}

/// Prints every event until the node is retired or the user has seen enough.
pub(super) async fn follow(
    client: &mut Client,
    node_id: &str,
    as_json: bool,
) -> anyhow::Result<()> {
    let request = pb::WatchNodeRequest {
        node_id: node_id.to_owned(),
        after_sequence: 0,
    };
    let mut stream = client.watch_node(request).await?.into_inner();
    while let Some(answer) = stream.message().await? {
        if as_json {
            println!("{}", json(&answer)?);
        } else if let Some(event) = &answer.event {
            let time = event
                .create_time
                .and_then(|time| DateTime::from_timestamp(time.seconds, 0))
                .map_or_else(String::new, |time| time.format("%H:%M:%S").to_string());
            let state = word(event.state().as_str_name(), "STATE_");
            println!("{time}  {state:<10} {:<11} {}", event.step, event.message);
        }
    }
    Ok(())
}
