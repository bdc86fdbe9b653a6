//! `berth lease`: the right to use a machine until a time.

use super::context::{Authed, ContextArgs};
use super::exit::NotInTime;
use super::output::{OutputArgs, duration, fields, money, price, table, time, word};
use super::request_id;
use anyhow::Context as _;
use berth_proto::api::v1::{Money, Requirements};
use berth_proto::inventory::v1::ListOffersRequest;
use berth_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use berth_proto::leasing::v1::lease_status::State;
use berth_proto::leasing::v1::leasing_service_client::LeasingServiceClient;
use berth_proto::leasing::v1::{self as pb, Lease};
use clap::{Args, Subcommand};
use comfy_table::Table;
use std::time::{Duration, Instant};

/// What can be done with leases.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lease a machine
    Create(Create),
    /// List leases, newest first
    List(OutputArgs),
    /// Show one lease and what it has cost
    Show(One),
    /// Move the end of a lease
    Extend(Extend),
    /// End a lease; its machine is wiped
    End(End),
}

/// Arguments of `create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth lease create --offer offer-0198… --term 7d --wait
  berth lease create --max-price 1.00 --cores 8 --memory-gib 32 --dry-run")]
pub(crate) struct Create {
    /// This offer
    #[arg(long, conflicts_with = "max_price")]
    offer: Option<String>,
    /// Or the cheapest that fits, at most at this price an hour
    #[arg(long, value_parser = price, required_unless_present = "offer")]
    max_price: Option<Money>,
    /// Processors that the machine must have
    #[arg(long, default_value_t = 0)]
    cores: u32,
    /// Memory that it must have, in GiB
    #[arg(long, default_value_t = 0)]
    memory_gib: u64,
    /// Free disk that it must have, in GiB
    #[arg(long, default_value_t = 0)]
    disk_gib: u64,
    /// GPUs that it must have
    #[arg(long, default_value_t = 0)]
    gpus: u32,
    /// How long
    #[arg(long, default_value = "24h", value_parser = duration)]
    term: prost_types::Duration,
    /// Name for people
    #[arg(long, default_value = "")]
    display_name: String,
    /// Wait until the machine may be used
    #[arg(long)]
    wait: bool,
    /// Show the offers that could be taken, and lease nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// A lease by id.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Id
    lease: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `extend`.
#[derive(Debug, Args)]
pub(crate) struct Extend {
    /// Id
    lease: String,
    /// How much later it ends
    #[arg(long, value_parser = duration)]
    by: prost_types::Duration,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `end`.
#[derive(Debug, Args)]
pub(crate) struct End {
    /// Id
    lease: String,
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

type Client = LeasingServiceClient<Authed>;

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    let channel = context.load()?.channel()?;
    let mut client = LeasingServiceClient::new(channel.clone());
    match command {
        Command::Create(create) if create.dry_run => candidates(channel, create).await,
        Command::Create(create) => self::create(&mut client, create).await,
        Command::List(output) => list(&mut client, output).await,
        Command::Show(one) => {
            let lease = get(&mut client, &one.lease).await?;
            print(one.output, lease)
        }
        Command::Extend(extend) => {
            let request = pb::ExtendLeaseRequest {
                request_id: request_id(),
                lease_id: extend.lease,
                by: Some(extend.by),
                etag: String::new(),
            };
            let answer = client.extend_lease(request).await?.into_inner();
            print(extend.output, answer.lease)
        }
        Command::End(end) if end.dry_run => {
            let lease = get(&mut client, &end.lease).await?;
            eprintln!("Would end this lease, stop every node on its machine and wipe it:");
            print(end.output, lease)
        }
        Command::End(end) => {
            let request = pb::EndLeaseRequest {
                request_id: request_id(),
                lease_id: end.lease,
                ..pb::EndLeaseRequest::default()
            };
            let answer = client.end_lease(request).await?.into_inner();
            print(end.output, answer.lease)
        }
    }
}

async fn create(client: &mut Client, create: Create) -> anyhow::Result<()> {
    let request = pb::CreateLeaseRequest {
        request_id: request_id(),
        spec: Some(pb::LeaseSpec {
            offer_id: create.offer.unwrap_or_default(),
            requirements: create.max_price.is_some().then(|| Requirements {
                cpu_cores: create.cores,
                memory_bytes: create.memory_gib << 30,
                disk_bytes: create.disk_gib << 30,
                gpu_count: create.gpus,
                ..Requirements::default()
            }),
            max_price_per_hour: create.max_price,
            term: Some(create.term),
            display_name: create.display_name,
        }),
    };
    let mut lease = client.create_lease(request).await?.into_inner().lease;
    let begun = Instant::now();
    while create.wait && lease.as_ref().is_some_and(is_pending) {
        let current = lease.take().context("an answer without a lease")?;
        if begun.elapsed() > Duration::from_mins(2) {
            let why = current.status.unwrap_or_default().status_reason;
            return Err(NotInTime(format!("{} is still pending: {why}", current.id)).into());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        lease = get(client, &current.id).await?;
    }
    print(create.output, lease)
}

fn is_pending(lease: &Lease) -> bool {
    lease
        .status
        .as_ref()
        .is_some_and(|status| status.state() == State::Pending)
}

/// The offers that a lease could be made from, cheapest first.
async fn candidates(channel: Authed, create: Create) -> anyhow::Result<()> {
    let mut inventory = InventoryServiceClient::new(channel);
    let request = ListOffersRequest {
        page_size: 200,
        ..ListOffersRequest::default()
    };
    let mut offers = inventory.list_offers(request).await?.into_inner();
    offers.offers.retain(|offer| {
        let free = offer
            .status
            .as_ref()
            .is_some_and(|status| status.machine_available);
        let wanted = create.offer.as_ref().is_none_or(|id| *id == offer.id);
        let price = offer
            .spec
            .as_ref()
            .and_then(|spec| spec.price_per_hour.as_ref());
        let affordable = match (&create.max_price, price) {
            (Some(max), Some(price)) => {
                max.currency == price.currency && price.micros <= max.micros
            }
            _ => true,
        };
        free && wanted && affordable
    });
    eprintln!("Would lease the first of these that has the hardware; nothing was leased:");
    create.output.print(&offers, |offers| {
        let rows = offers.offers.iter().map(|offer| {
            let price = offer
                .spec
                .as_ref()
                .and_then(|spec| spec.price_per_hour.as_ref());
            let machine = offer
                .status
                .as_ref()
                .map(|status| status.machine_name.clone());
            [offer.id.clone(), machine.unwrap_or_default(), money(price)]
        });
        table(["id", "machine", "price per hour"], rows.collect())
    })
}

async fn get(client: &mut Client, lease: &str) -> anyhow::Result<Option<Lease>> {
    let request = pb::GetLeaseRequest {
        lease_id: lease.to_owned(),
    };
    Ok(client.get_lease(request).await?.into_inner().lease)
}

async fn list(client: &mut Client, output: OutputArgs) -> anyhow::Result<()> {
    let mut all = pb::ListLeasesResponse::default();
    loop {
        let request = pb::ListLeasesRequest {
            page_size: 200,
            page_token: std::mem::take(&mut all.next_page_token),
            ..pb::ListLeasesRequest::default()
        };
        let page = client.list_leases(request).await?.into_inner();
        all.leases.extend(page.leases);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    output.print(&all, |all| {
        let rows = all.leases.iter().map(|lease| {
            let status = lease.status.clone().unwrap_or_default();
            [
                lease.id.clone(),
                word(status.state().as_str_name(), "STATE_"),
                status.machine_id.clone(),
                money(status.price_per_hour.as_ref()),
                money(status.cost.as_ref()),
                time(status.expire_time.as_ref()),
                status.warnings.join("; "),
            ]
        });
        table(
            [
                "id",
                "state",
                "machine",
                "price per hour",
                "cost",
                "ends (UTC)",
                "warnings",
            ],
            rows.collect(),
        )
    })
}

fn print(output: OutputArgs, lease: Option<Lease>) -> anyhow::Result<()> {
    output.print(&pb::GetLeaseResponse { lease }, |answer| {
        answer.lease.as_ref().map_or_else(Table::new, describe)
    })
}

fn describe(lease: &Lease) -> Table {
    let status = lease.status.clone().unwrap_or_default();
    let reason = if status.close_reason == 0 {
        String::new()
    } else {
        word(status.close_reason().as_str_name(), "CLOSE_REASON_")
    };
    fields(vec![
        ("id", lease.id.clone()),
        ("state", word(status.state().as_str_name(), "STATE_")),
        ("reason", status.status_reason.clone()),
        ("warnings", status.warnings.join("; ")),
        ("closed by", reason),
        ("machine", status.machine_id.clone()),
        ("offer", status.offer_id.clone()),
        ("price per hour", money(status.price_per_hour.as_ref())),
        ("cost", money(status.cost.as_ref())),
        ("began (UTC)", time(status.start_time.as_ref())),
        ("ends (UTC)", time(status.expire_time.as_ref())),
        ("ended (UTC)", time(status.end_time.as_ref())),
    ])
}
