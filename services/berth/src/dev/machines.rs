//! The demo machines: enrolled, set up, verified and offered as a supplier
//! would, through the public API.

use super::say;
use crate::client::{Authed, Context};
use anyhow::{Context as _, bail, ensure};
use berth_core::{Currency, Money};
use berth_proto::inventory::v1 as inventory;
use berth_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use berth_proto::inventory::v1::machine_status::State;
use berth_proto::leasing::v1 as leasing;
use berth_proto::leasing::v1::leasing_service_client::LeasingServiceClient;
use berth_proto::provisioning::v1 as provisioning;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::signing::v1 as signing;
use berth_proto::signing::v1::signing_service_client::SigningServiceClient;
use berth_rig::Machine;
use berth_runtime::wire;
use std::time::{Duration, Instant};
use tonic::Code;
use uuid::Uuid;

/// How long the services may take to answer for the first time.
const SERVICES: Duration = Duration::from_secs(60);
/// How long the verification of all machines may take.
const VERIFIED: Duration = Duration::from_secs(120);
const SUPPLIER: &str = "demo";

/// Sees that every machine is enrolled, verified and on offer, and that the
/// account can pay. Does nothing the second time.
pub(super) async fn enroll(context: &Context, machines: &[Machine]) -> anyhow::Result<()> {
    let channel = context.channel()?;
    let mut inventory = InventoryServiceClient::new(channel.clone());
    wait_for_services(&channel).await?;
    let supplier = supplier(&mut inventory).await?;
    let mut enrolled = Vec::new();
    for (number, machine) in machines.iter().enumerate() {
        let id = enroll_one(&channel, &supplier, machine).await?;
        offer(&mut inventory, &id, number).await?;
        enrolled.push(id);
    }
    fund(channel.clone()).await?;
    say("verifying machines");
    for id in enrolled {
        verified(&mut inventory, &id).await?;
    }
    Ok(())
}

/// Every service answers, through the gateway.
async fn wait_for_services(channel: &Authed) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut inventory = InventoryServiceClient::new(channel.clone());
    let mut leasing = LeasingServiceClient::new(channel.clone());
    let mut provisioning = ProvisioningServiceClient::new(channel.clone());
    let mut signing = SigningServiceClient::new(channel.clone());
    loop {
        let (inventory, leasing, provisioning, signing) = tokio::join!(
            inventory.list_suppliers(inventory::ListSuppliersRequest::default()),
            leasing.get_balance(leasing::GetBalanceRequest::default()),
            provisioning.list_chains(provisioning::ListChainsRequest::default()),
            signing.list_validators(signing::ListValidatorsRequest::default()),
        );
        let answers = [
            inventory.err(),
            leasing.err(),
            provisioning.err(),
            signing.err(),
        ];
        let Some(problem) = answers.into_iter().flatten().next() else {
            return Ok(());
        };
        ensure!(
            begun.elapsed() < SERVICES,
            "the services do not answer: {problem}; their logs are in the data folder"
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn supplier(inventory: &mut InventoryServiceClient<Authed>) -> anyhow::Result<String> {
    let get = inventory::GetSupplierRequest {
        supplier_id: SUPPLIER.to_owned(),
    };
    let supplier = match inventory.get_supplier(get).await {
        Ok(found) => found.into_inner().supplier,
        Err(status) if status.code() == Code::NotFound => {
            let create = inventory::CreateSupplierRequest {
                request_id: Uuid::now_v7().to_string(),
                name: SUPPLIER.to_owned(),
            };
            inventory
                .create_supplier(create)
                .await?
                .into_inner()
                .supplier
        }
        Err(status) => return Err(status.into()),
    };
    Ok(supplier.context("an answer without a supplier")?.id)
}

/// Enrolls a machine, and runs on it the command that a supplier would run.
async fn enroll_one(channel: &Authed, supplier: &str, machine: &Machine) -> anyhow::Result<String> {
    let enroll = inventory::EnrollMachineRequest {
        request_id: Uuid::now_v7().to_string(),
        name: machine.name().to_owned(),
        spec: Some(inventory::MachineSpec {
            supplier_id: supplier.to_owned(),
            address: machine.address().to_string(),
            host_key: machine.host_key().to_owned(),
            region: "demo".to_owned(),
            ..inventory::MachineSpec::default()
        }),
    };
    let enrolled = InventoryServiceClient::new(channel.clone())
        .enroll_machine(enroll)
        .await?
        .into_inner()
        .machine
        .context("an answer without a machine")?;
    let setup = provisioning::GetMachineSetupRequest {
        machine_id: enrolled.id.clone(),
        user: String::new(),
    };
    let command = ProvisioningServiceClient::new(channel.clone())
        .get_machine_setup(setup)
        .await?
        .into_inner()
        .command;
    let machine = machine.clone();
    let output =
        tokio::task::spawn_blocking(move || machine.exec(&["sh", "-c", &command])).await??;
    ensure!(
        output.status.success(),
        "setting up {} failed: {}",
        enrolled.name,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(enrolled.id)
}

/// Later machines cost more, so that the cheapest is always the same.
async fn offer(
    inventory: &mut InventoryServiceClient<Authed>,
    machine_id: &str,
    number: usize,
) -> anyhow::Result<()> {
    let open = inventory::ListOffersRequest {
        machine_id: machine_id.to_owned(),
        ..inventory::ListOffersRequest::default()
    };
    if !inventory
        .list_offers(open)
        .await?
        .into_inner()
        .offers
        .is_empty()
    {
        return Ok(());
    }
    let cents = 40 + 5 * i64::try_from(number)?;
    let create = inventory::CreateOfferRequest {
        request_id: Uuid::now_v7().to_string(),
        spec: Some(inventory::OfferSpec {
            machine_id: machine_id.to_owned(),
            price_per_hour: Some(wire::money(Money::new(Currency::EUR, cents * 10_000))),
            ..inventory::OfferSpec::default()
        }),
    };
    inventory.create_offer(create).await?;
    Ok(())
}

/// Gives the demo account something to spend, once.
async fn fund(channel: Authed) -> anyhow::Result<()> {
    let mut leasing = LeasingServiceClient::new(channel);
    let balances = leasing
        .get_balance(leasing::GetBalanceRequest::default())
        .await?
        .into_inner()
        .balances;
    if balances.is_empty() {
        let credit = leasing::CreditAccountRequest {
            request_id: Uuid::now_v7().to_string(),
            amount: Some(wire::money(Money::new(Currency::EUR, 100_000_000))),
            memo: "demo money".to_owned(),
            ..leasing::CreditAccountRequest::default()
        };
        leasing.credit_account(credit).await?;
    }
    Ok(())
}

async fn verified(
    inventory: &mut InventoryServiceClient<Authed>,
    machine_id: &str,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut asked = false;
    loop {
        let get = inventory::GetMachineRequest {
            machine_id: machine_id.to_owned(),
        };
        let machine = inventory.get_machine(get).await?.into_inner().machine;
        let machine = machine.context("an answer without a machine")?;
        let status = machine.status.unwrap_or_default();
        match status.state() {
            State::Available
            | State::Cordoned
            | State::Reserved
            | State::Leased
            | State::Wiping
            | State::Retired => return Ok(()),
            State::Enrolling | State::Faulty if !asked => {
                let verify = inventory::VerifyMachineRequest {
                    request_id: Uuid::now_v7().to_string(),
                    machine_id: machine_id.to_owned(),
                };
                inventory.verify_machine(verify).await?;
                asked = true;
            }
            State::Faulty => bail!("{} is faulty: {}", machine.name, status.status_reason),
            State::Enrolling | State::Verifying | State::Unspecified => {}
        }
        ensure!(
            begun.elapsed() < VERIFIED,
            "{} was not verified in time: {}",
            machine.name,
            status.status_reason
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
