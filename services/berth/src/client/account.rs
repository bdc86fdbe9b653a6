//! `berth account`: what an account has and owes.

use super::context::ContextArgs;
use super::output::{OutputArgs, money, price, table, time, word};
use super::request_id;
use berth_proto::api::v1::Money;
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::leasing_service_client::LeasingServiceClient;
use clap::{Args, Subcommand};

/// What can be done with an account.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add money to an account; for administrators
    Credit(Credit),
    /// Show what the account has, and how long that lasts
    Balance(OutputArgs),
    /// List what the account was told: what stops soon, what was not paid, what ended
    Events(Events),
    /// List the lines of the account's statement, newest first
    Statement(Statement),
}

/// Arguments of `credit`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  berth account credit '250.00 EUR' --memo 'invoice 2026-117'")]
pub(crate) struct Credit {
    /// How much
    #[arg(value_parser = price)]
    amount: Money,
    /// Whose account; the caller's own when absent
    #[arg(long, default_value = "")]
    account: String,
    /// What for
    #[arg(long, default_value = "")]
    memo: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `statement`.
#[derive(Debug, Args)]
pub(crate) struct Statement {
    /// At most this many lines
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=200))]
    limit: i32,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth account events
  berth account events --lease lease-0198… --output json | jq -r '.events[].message'")]
pub(crate) struct Events {
    /// Only what is about this lease
    #[arg(long, default_value = "")]
    lease: String,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=200))]
    limit: i32,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    let mut client = LeasingServiceClient::new(context.load()?.channel()?);
    match command {
        Command::Credit(credit) => {
            let request = pb::CreditAccountRequest {
                request_id: request_id(),
                account_id: credit.account,
                amount: Some(credit.amount),
                memo: credit.memo,
            };
            let answer = client.credit_account(request).await?.into_inner();
            let balances = pb::GetBalanceResponse {
                balances: answer.balance.into_iter().collect(),
            };
            balance(credit.output, &balances)
        }
        Command::Balance(output) => {
            let answer = client.get_balance(pb::GetBalanceRequest::default()).await?;
            balance(output, &answer.into_inner())
        }
        Command::Events(events) => {
            let request = pb::ListAccountEventsRequest {
                page_size: events.limit,
                page_token: String::new(),
                lease_id: events.lease,
            };
            let answer = client.list_account_events(request).await?.into_inner();
            events.output.print(&answer, |answer| {
                let rows = answer.events.iter().map(|event| {
                    [
                        time(event.create_time.as_ref()),
                        event.topic.clone(),
                        time(event.stop_time.as_ref()),
                        event.message.clone(),
                    ]
                });
                table(
                    ["time (UTC)", "topic", "stops (UTC)", "message"],
                    rows.collect(),
                )
            })
        }
        Command::Statement(statement) => {
            let request = pb::ListLedgerEntriesRequest {
                page_size: statement.limit,
                page_token: String::new(),
            };
            let answer = client.list_ledger_entries(request).await?.into_inner();
            statement.output.print(&answer, |answer| {
                let rows = answer.entries.iter().map(|entry| {
                    [
                        time(entry.create_time.as_ref()),
                        word(entry.kind().as_str_name(), "KIND_"),
                        money(entry.amount.as_ref()),
                        money(entry.balance.as_ref()),
                        entry.lease_id.clone(),
                        entry.memo.clone(),
                    ]
                });
                table(
                    ["time (UTC)", "kind", "amount", "balance", "lease", "memo"],
                    rows.collect(),
                )
            })
        }
    }
}

fn balance(output: OutputArgs, answer: &pb::GetBalanceResponse) -> anyhow::Result<()> {
    output.print(answer, |answer| {
        let rows = answer.balances.iter().map(|balance| {
            [
                money(balance.amount.as_ref()),
                money(balance.spend_per_hour.as_ref()),
                time(balance.empty_time.as_ref()),
                balance.warning.clone(),
            ]
        });
        table(
            ["balance", "spend per hour", "empty (UTC)", "warning"],
            rows.collect(),
        )
    })
}
