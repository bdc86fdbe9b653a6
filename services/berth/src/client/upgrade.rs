//! `berth node upgrade`: another version of the chain's entry for a node.

use super::launch::setting;
use super::node::{self, Change, Client};
use super::output::{OutputArgs, fields, span, word};
use super::progress;
use super::request_id;
use super::watch::Watch;
use anyhow::{Context as _, bail};
use berth_proto::provisioning::v1::upgrade::State;
use berth_proto::provisioning::v1::{self as pb, Node};
use clap::Args;
use comfy_table::Table;

/// Arguments of `upgrade`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth node upgrade n1 --dry-run
  berth node upgrade n1 --to 1.20.2-1 --wait
  berth node upgrade v1 --to 2.0.0 --set log_level=debug --unset pex --wait --timeout 1h")]
pub(crate) struct Upgrade {
    #[command(flatten)]
    change: Change,
    /// Version of the chain's entry; the one that was registered last without it
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// A setting that changes with the version, as KEY=VALUE; may be repeated
    #[arg(long = "set", value_parser = setting, value_name = "KEY=VALUE")]
    settings: Vec<(String, String)>,
    /// A setting of the node that the version has not; may be repeated
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Check everything, say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(client: &mut Client, upgrade: Upgrade) -> anyhow::Result<()> {
    let Upgrade {
        change,
        to,
        settings,
        unset,
        dry_run,
    } = upgrade;
    let request = pb::UpgradeNodeRequest {
        request_id: request_id(),
        node_id: change.node.clone(),
        etag: String::new(),
        version: to.unwrap_or_default(),
        settings: settings.into_iter().collect(),
        removed_settings: unset,
        validate_only: dry_run,
    };
    let after = node::newest(client, &change).await?;
    let answer = client.upgrade_node(request).await?.into_inner();
    if dry_run {
        eprintln!("Would change of node {}:", change.node);
        return show(change.output, &answer);
    }
    let begun = answer.node.context("an answer without a node")?;
    // One that stands still has the version at once.
    if !change.wait || !begun.reconciling {
        return node::print(change.output, Some(begun));
    }
    let watch = Watch::new(client, &begun.id, after);
    let done = progress::wait_until(watch, change.timeout, over).await?;
    node::print(change.output, Some(done))
}

/// Whether the upgrade of a node is over, which must be with the new version.
fn over(node: &Node) -> anyhow::Result<bool> {
    let status = node.status.clone().unwrap_or_default();
    let upgrade = status.upgrade.unwrap_or_default();
    match upgrade.state() {
        State::Done => Ok(true),
        State::Pulling | State::Checking | State::RollingBack | State::Unspecified => Ok(false),
        State::RolledBack | State::GivenUp | State::Failed => bail!(
            "{} has version {} and not {}: {}",
            node.name,
            status.version,
            upgrade.to_version,
            upgrade.reason
        ),
    }
}

fn show(output: OutputArgs, answer: &pb::UpgradeNodeResponse) -> anyhow::Result<()> {
    output.print(answer, |answer| {
        answer.plan.as_ref().map_or_else(Table::new, plan)
    })
}

fn plan(plan: &pb::UpgradePlan) -> Table {
    let mut rows = vec![(
        "version",
        format!("{} -> {}", plan.from_version, plan.to_version),
    )];
    rows.extend(plan.images.iter().map(|image| {
        let change = match (image.from_image.as_str(), image.to_image.as_str()) {
            ("", new) => format!("new, {new}"),
            (old, "") => format!("goes, {old}"),
            (old, new) if old == new => format!("{old}, as it is"),
            (old, new) => format!("{old}\n-> {new}"),
        };
        (image.component.as_str(), change)
    }));
    let roll_back = if plan.can_roll_back { "yes" } else { "no" };
    rows.extend([
        ("new settings", plan.added_settings.join(", ")),
        ("settings that go", plan.removed_settings.join(", ")),
        (
            "goes back by itself",
            format!("{roll_back}: {}", plan.roll_back_reason),
        ),
        (
            "away",
            format!(
                "for a restart, of which stopping takes {} at most",
                span(plan.downtime.as_ref())
            ),
        ),
        (
            "healthy within",
            format!("{} of the restart", span(plan.gate.as_ref())),
        ),
    ]);
    fields(rows)
}

/// The last upgrade of a node in a line; nothing when there was none.
pub(super) fn describe(upgrade: Option<&pb::Upgrade>) -> String {
    let Some(upgrade) = upgrade else {
        return String::new();
    };
    let state = word(upgrade.state().as_str_name(), "STATE_");
    let reason = if upgrade.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", upgrade.reason)
    };
    format!(
        "{state}, from {} to {}{reason}",
        upgrade.from_version, upgrade.to_version
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: State) -> Node {
        let mut upgrade = pb::Upgrade {
            to_version: "2".to_owned(),
            reason: "it fell".to_owned(),
            ..pb::Upgrade::default()
        };
        upgrade.set_state(state);
        Node {
            name: "n1".to_owned(),
            status: Some(pb::NodeStatus {
                version: "1".to_owned(),
                upgrade: Some(upgrade),
                ..pb::NodeStatus::default()
            }),
            ..Node::default()
        }
    }

    #[test]
    fn only_the_new_version_is_success() {
        assert!(over(&node(State::Done)).unwrap());
        for state in [State::Pulling, State::Checking, State::RollingBack] {
            assert!(!over(&node(state)).unwrap());
        }
        for state in [State::RolledBack, State::GivenUp, State::Failed] {
            let why = over(&node(state)).unwrap_err().to_string();
            assert_eq!(why, "n1 has version 1 and not 2: it fell");
        }
    }
}
