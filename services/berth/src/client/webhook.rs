//! `berth webhook`: URLs that are told what an account should know.

use super::context::{Authed, ContextArgs};
use super::output::{OutputArgs, fields, table, time, word};
use super::request_id;
use anyhow::{Context as _, bail};
use berth_proto::leasing::v1::webhook_service_client::WebhookServiceClient;
use berth_proto::leasing::v1::{self as pb, Webhook, WebhookAnswer};
use clap::{Args, Subcommand};

/// What can be done with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a webhook and show the key of its signatures, once
    Create(Create),
    /// List webhooks, newest first
    List(OutputArgs),
    /// Send a signed event now, and say what came of it
    Test(One),
    /// List what was sent and what waits, newest first
    Deliveries(Deliveries),
    /// Tell a webhook again that was disabled
    Enable(One),
    /// Forget a webhook, its key and its deliveries
    Delete(Delete),
}

/// Arguments of `create`.
#[derive(Debug, Args)]
#[command(
    after_help = "Topics: lease.ends_soon, lease.unpaid, lease.paid, lease.ended, balance.low

Examples:
  berth webhook create https://hooks.example.org/berth
  berth webhook create https://hooks.example.org/pager --events lease.unpaid,balance.low"
)]
pub(crate) struct Create {
    /// Where to send: https, at a public address
    url: String,
    /// Topics to send; all when absent
    #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
    events: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// A webhook by id.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  berth webhook test webhook-0198…")]
pub(crate) struct One {
    /// Id
    webhook: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `deliveries`.
#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    /// Id
    webhook: String,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=200))]
    limit: i32,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Id
    webhook: String,
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

type Client = WebhookServiceClient<Authed>;

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    let mut client = WebhookServiceClient::new(context.load()?.channel()?);
    match command {
        Command::Create(create) => self::create(&mut client, create).await,
        Command::List(output) => list(&mut client, output).await,
        Command::Test(one) => test(&mut client, one).await,
        Command::Deliveries(deliveries) => self::deliveries(&mut client, deliveries).await,
        Command::Enable(one) => {
            let request = pb::EnableWebhookRequest {
                request_id: request_id(),
                webhook_id: one.webhook,
                etag: String::new(),
            };
            let answer = client.enable_webhook(request).await?.into_inner();
            show(one.output, answer.webhook)
        }
        Command::Delete(delete) => self::delete(&mut client, delete).await,
    }
}

async fn create(client: &mut Client, create: Create) -> anyhow::Result<()> {
    let request = pb::CreateWebhookRequest {
        request_id: request_id(),
        spec: Some(pb::WebhookSpec {
            url: create.url,
            topics: create.events,
        }),
    };
    let answer = client.create_webhook(request).await?.into_inner();
    if !create.output.is_json() {
        let id = answer.webhook.as_ref().map(|webhook| webhook.id.as_str());
        eprintln!(
            "Keep the secret: it is shown this once. Then: berth webhook test {}",
            id.unwrap_or_default()
        );
    }
    create.output.print(&answer, |answer| {
        let webhook = answer.webhook.clone().unwrap_or_default();
        let spec = webhook.spec.unwrap_or_default();
        fields(vec![
            ("id", webhook.id),
            ("url", spec.url),
            ("topics", topics(&spec.topics)),
            ("secret", answer.secret.clone()),
        ])
    })
}

async fn list(client: &mut Client, output: OutputArgs) -> anyhow::Result<()> {
    let request = pb::ListWebhooksRequest {
        page_size: 200,
        page_token: String::new(),
    };
    let answer = client.list_webhooks(request).await?.into_inner();
    print(output, &answer)
}

fn show(output: OutputArgs, webhook: Option<Webhook>) -> anyhow::Result<()> {
    let webhooks = webhook.into_iter().collect();
    let answer = pb::ListWebhooksResponse {
        webhooks,
        next_page_token: String::new(),
    };
    print(output, &answer)
}

fn print(output: OutputArgs, answer: &pb::ListWebhooksResponse) -> anyhow::Result<()> {
    output.print(answer, |answer| {
        let rows = answer.webhooks.iter().map(|webhook| {
            let spec = webhook.spec.clone().unwrap_or_default();
            let status = webhook.status.clone().unwrap_or_default();
            [
                webhook.id.clone(),
                word(status.state().as_str_name(), "STATE_"),
                spec.url,
                topics(&spec.topics),
                time(status.success_time.as_ref()),
                status.status_reason,
            ]
        });
        let head = [
            "id",
            "state",
            "url",
            "topics",
            "last success (UTC)",
            "reason",
        ];
        table(head, rows.collect())
    })
}

fn topics(topics: &[String]) -> String {
    if topics.is_empty() {
        "all".to_owned()
    } else {
        topics.join(", ")
    }
}

async fn test(client: &mut Client, one: One) -> anyhow::Result<()> {
    let request = pb::TestWebhookRequest {
        request_id: request_id(),
        webhook_id: one.webhook,
    };
    let response = client.test_webhook(request).await?.into_inner();
    one.output.print(&response, |response| {
        let answer = response.answer.clone().unwrap_or_default();
        fields(vec![
            ("status", status(&answer)),
            ("latency", latency(&answer)),
            ("to do", answer.problem),
        ])
    })?;
    let answer = response.answer.context("an answer without an answer")?;
    if !answer.problem.is_empty() {
        bail!("the receiver did not take the event: {}", answer.problem);
    }
    Ok(())
}

fn status(answer: &WebhookAnswer) -> String {
    if answer.http_status == 0 {
        "no answer".to_owned()
    } else {
        answer.http_status.to_string()
    }
}

fn latency(answer: &WebhookAnswer) -> String {
    answer.latency.as_ref().map_or_else(String::new, |latency| {
        format!(
            "{} ms",
            latency.seconds * 1000 + i64::from(latency.nanos) / 1_000_000
        )
    })
}

async fn deliveries(client: &mut Client, deliveries: Deliveries) -> anyhow::Result<()> {
    let request = pb::ListWebhookDeliveriesRequest {
        webhook_id: deliveries.webhook,
        page_size: deliveries.limit,
        page_token: String::new(),
    };
    let answer = client.list_webhook_deliveries(request).await?.into_inner();
    deliveries.output.print(&answer, |answer| {
        let rows = answer.deliveries.iter().map(|delivery| {
            let event = delivery.event.clone().unwrap_or_default();
            let answer = delivery.answer.clone().unwrap_or_default();
            [
                event.id,
                event.topic,
                word(delivery.state().as_str_name(), "STATE_"),
                delivery.attempts.to_string(),
                delivery.answer.as_ref().map(status).unwrap_or_default(),
                latency(&answer),
                time(delivery.attempt_time.as_ref()),
                time(delivery.next_time.as_ref()),
                answer.problem,
            ]
        });
        let head = [
            "event",
            "topic",
            "state",
            "tries",
            "status",
            "latency",
            "last (UTC)",
            "next (UTC)",
            "problem",
        ];
        table(head, rows.collect())
    })
}

async fn delete(client: &mut Client, delete: Delete) -> anyhow::Result<()> {
    if delete.dry_run {
        let request = pb::GetWebhookRequest {
            webhook_id: delete.webhook,
        };
        let answer = client.get_webhook(request).await?.into_inner();
        eprintln!("Would forget this webhook, its key and what waits for it:");
        return show(delete.output, answer.webhook);
    }
    let request = pb::DeleteWebhookRequest {
        request_id: request_id(),
        webhook_id: delete.webhook,
        etag: String::new(),
    };
    let answer = client.delete_webhook(request).await?.into_inner();
    delete.output.print(&answer, |_| fields(Vec::new()))
}
