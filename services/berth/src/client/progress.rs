//! Following a node: a line a step, live on a terminal and plain elsewhere.

use super::exit::NotInTime;
use super::output::{json, word};
use super::watch::Watch;
use anyhow::bail;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::{self as pb, NodeEvent};
use chrono::DateTime;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

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

    /// Says a line between the steps.
    fn speaker(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let bar = self.bar.clone();
        move |line| match &bar {
            Some(bar) => bar.println(line),
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

/// How many of many are done: a bar on a terminal, a line a step elsewhere.
pub(super) struct Count {
    bar: Option<ProgressBar>,
    all: usize,
    what: &'static str,
}

impl Count {
    /// None is done yet.
    pub(super) fn new(all: usize, what: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(u64::try_from(all).unwrap_or(u64::MAX));
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} {msg}") {
                bar.set_style(style.progress_chars("##-"));
            }
            bar.set_message(what);
            bar
        });
        Self { bar, all, what }
    }

    /// So many are done.
    pub(super) fn reached(&self, done: usize) {
        match &self.bar {
            Some(bar) => bar.set_position(u64::try_from(done).unwrap_or(u64::MAX)),
            None => eprintln!("{done} of {} {}", self.all, self.what),
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Waits until a node is in one of the wanted states, showing every step.
pub(super) async fn wait_for(
    watch: Watch,
    wanted: &[State],
    at_most: Duration,
) -> anyhow::Result<pb::Node> {
    let done = |node: &pb::Node| {
        let status = node.status.clone().unwrap_or_default();
        if wanted.contains(&status.state()) {
            return Ok(true);
        }
        if matches!(status.state(), State::Failed | State::Retired) {
            bail!(
                "{} is {}: {}",
                node.name,
                word(status.state().as_str_name(), "STATE_"),
                status.status_reason
            );
        }
        Ok(false)
    };
    wait_until(watch, at_most, done).await
}

/// Waits until a node is so, showing every step.
pub(super) async fn wait_until(
    mut watch: Watch,
    at_most: Duration,
    done: impl Fn(&pb::Node) -> anyhow::Result<bool>,
) -> anyhow::Result<pb::Node> {
    let steps = Steps::new();
    watch.say(steps.speaker());
    let mut last = pb::Node::default();
    let watched = async {
        while let Some(answer) = watch.next().await? {
            if let Some(event) = &answer.event {
                steps.show(event);
            }
            last = answer.node.unwrap_or_default();
            // The node may be ahead of the steps that led there.
            if watch.is_complete() && done(&last)? {
                return Ok(());
            }
        }
        bail!("{} is gone", last.name)
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
pub(super) async fn follow(mut watch: Watch, as_json: bool) -> anyhow::Result<()> {
    while let Some(answer) = watch.next().await? {
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
