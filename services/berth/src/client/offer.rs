//! `berth offer`: machines at a price.

use super::context::ContextArgs;
use super::output::{OutputArgs, duration, money, price, span, table, word};
use super::request_id;
use berth_proto::api::v1::Money;
use berth_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use berth_proto::inventory::v1::{self as pb, Offer};
use clap::{Args, Subcommand};

/// What can be done with offers.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Offer a machine
    Create(Create),
    /// List open offers, cheapest first
    List(OutputArgs),
    /// Withdraw an offer; running leases go on
    Close(Close),
}

/// Arguments of `create`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  berth offer create gpu-1 --price '1.20 EUR' --min-term 1h --max-term 90d")]
pub(crate) struct Create {
    /// Name or id of the machine
    machine: String,
    /// Price of an hour
    #[arg(long, value_parser = price)]
    price: Money,
    /// Shortest lease
    #[arg(long, value_parser = duration)]
    min_term: Option<prost_types::Duration>,
    /// Longest lease
    #[arg(long, value_parser = duration)]
    max_term: Option<prost_types::Duration>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `close`.
#[derive(Debug, Args)]
pub(crate) struct Close {
    /// Id of the offer
    offer: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    let mut client = InventoryServiceClient::new(context.load()?.channel()?);
    let (offers, output) = match command {
        Command::List(output) => {
            let mut all = Vec::new();
            let mut page_token = String::new();
            loop {
                let request = pb::ListOffersRequest {
                    page_size: 200,
                    page_token,
                    ..pb::ListOffersRequest::default()
                };
                let page = client.list_offers(request).await?.into_inner();
                all.extend(page.offers);
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break (all, output);
                }
            }
        }
        Command::Create(create) => {
            let get = pb::GetMachineRequest {
                machine_id: create.machine.clone(),
            };
            let machine = client.get_machine(get).await?.into_inner().machine;
            let request = pb::CreateOfferRequest {
                request_id: request_id(),
                spec: Some(pb::OfferSpec {
                    machine_id: machine.map_or(create.machine, |machine| machine.id),
                    price_per_hour: Some(create.price),
                    min_term: create.min_term,
                    max_term: create.max_term,
                }),
            };
            let answer = client.create_offer(request).await?.into_inner();
            (answer.offer.into_iter().collect(), create.output)
        }
        Command::Close(close) => {
            let request = pb::CloseOfferRequest {
                request_id: request_id(),
                offer_id: close.offer,
            };
            let answer = client.close_offer(request).await?.into_inner();
            (answer.offer.into_iter().collect(), close.output)
        }
    };
    let answer = pb::ListOffersResponse {
        offers,
        next_page_token: String::new(),
    };
    output.print(&answer, |answer| {
        let rows = answer.offers.iter().map(row).collect();
        table(
            ["id", "machine", "state", "free", "price per hour", "term"],
            rows,
        )
    })
}

fn row(offer: &Offer) -> [String; 6] {
    let spec = offer.spec.clone().unwrap_or_default();
    let status = offer.status.clone().unwrap_or_default();
    let term = match (spec.min_term.as_ref(), spec.max_term.as_ref()) {
        (None, None) => "any".to_owned(),
        (min, None) => format!("from {}", span(min)),
        (None, max) => format!("to {}", span(max)),
        (min, max) => format!("{} to {}", span(min), span(max)),
    };
    [
        offer.id.clone(),
        status.machine_name.clone(),
        word(status.state().as_str_name(), "STATE_"),
        if status.machine_available {
            "yes"
        } else {
            "no"
        }
        .to_owned(),
        money(spec.price_per_hour.as_ref()),
        term,
    ]
}
