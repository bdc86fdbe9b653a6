//! `berth machine`: enrolling and looking after machines.

use super::context::{Authed, ContextArgs};
use super::exit::NotInTime;
use super::output::{OutputArgs, bytes, fields, table, time, word};
use super::request_id;
use anyhow::{Context as _, bail, ensure};
use berth_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use berth_proto::inventory::v1::machine_status::State;
use berth_proto::inventory::v1::{self as pb, Machine};
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use berth_proto::provisioning::v1::{GetMachineSetupRequest, ScanHostKeyRequest};
use clap::{Args, Subcommand};
use comfy_table::Table;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};
use tonic::Code;

/// What can be done with machines.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a machine, and print the command to run on it
    Enroll(Box<Enroll>),
    /// List machines
    List(OutputArgs),
    /// Show one machine with its measured hardware
    Show(One),
    /// Measure a machine again
    Verify(Verify),
    /// Keep a machine out of new placement
    Cordon(One),
    /// Let a machine take placements again
    Uncordon(One),
    /// Cordon a machine, and list what would have to move
    Drain(super::drain::Drain),
    /// Take a machine out for good
    Retire(Retire),
}

/// Arguments of `enroll`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth machine enroll gpu-1 --supplier acme --address 203.0.113.7 --scan
  berth machine enroll gpu-1 --supplier acme --address 203.0.113.7:2222 \\
      --fingerprint SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU

Run the printed command on the machine as root, then:
  berth machine verify gpu-1 --wait")]
pub(crate) struct Enroll {
    /// Name for the machine
    name: String,
    /// Who lends it; made when it is new
    #[arg(long)]
    supplier: String,
    /// Where its sshd listens: ADDRESS[:PORT]
    #[arg(long)]
    address: String,
    /// User that Berth signs in as
    #[arg(long, default_value = "berth")]
    user: String,
    /// The machine's host key, as in `/etc/ssh/ssh_host_ed25519_key.pub`
    #[arg(long, group = "pin")]
    host_key: Option<String>,
    /// Fingerprint of the host key (SHA256:…)
    #[arg(long, group = "pin")]
    fingerprint: Option<String>,
    /// Ask the machine for its host key and confirm it by typing it back
    #[arg(long, group = "pin")]
    scan: bool,
    /// Where the machine stands
    #[arg(long, default_value = "")]
    region: String,
    /// Processors that the machine is said to have
    #[arg(long, default_value_t = 0)]
    claim_cores: u32,
    /// Memory that it is said to have, in GiB
    #[arg(long, default_value_t = 0)]
    claim_memory_gib: u64,
    /// GPUs that it is said to have
    #[arg(long, default_value_t = 0)]
    claim_gpus: u32,
    /// Model of the GPUs, as `nvidia-smi` prints it
    #[arg(long, default_value = "")]
    claim_gpu_model: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// A machine by name or id.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Name or id
    machine: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Name or id
    machine: String,
    /// Wait for the result
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `retire`.
#[derive(Debug, Args)]
pub(crate) struct Retire {
    /// Name or id
    machine: String,
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) type Client = InventoryServiceClient<Authed>;

pub(super) async fn run(context: &ContextArgs, command: Command) -> anyhow::Result<()> {
    let channel = context.load()?.channel()?;
    let mut client = InventoryServiceClient::new(channel.clone());
    match command {
        Command::Enroll(enroll) => self::enroll(channel, *enroll).await,
        Command::List(output) => list(&mut client, output).await,
        Command::Show(one) => {
            let machine = get(&mut client, &one.machine).await?;
            print(one.output, machine)
        }
        Command::Verify(verify) => self::verify(&mut client, verify).await,
        Command::Cordon(one) => {
            let request = pb::CordonMachineRequest {
                request_id: request_id(),
                machine_id: one.machine,
            };
            let answer = client.cordon_machine(request).await?.into_inner();
            print(one.output, answer.machine)
        }
        Command::Uncordon(one) => {
            let request = pb::UncordonMachineRequest {
                request_id: request_id(),
                machine_id: one.machine,
            };
            let answer = client.uncordon_machine(request).await?.into_inner();
            print(one.output, answer.machine)
        }
        Command::Drain(drain) => super::drain::run(channel, drain).await,
        Command::Retire(retire) => self::retire(&mut client, retire).await,
    }
}

async fn enroll(channel: Authed, enroll: Enroll) -> anyhow::Result<()> {
    let mut client = InventoryServiceClient::new(channel.clone());
    let mut provisioning = ProvisioningServiceClient::new(channel);
    let host_key = match (enroll.host_key, enroll.fingerprint, enroll.scan) {
        (Some(key), _, _) => key,
        (None, Some(fingerprint), _) => fingerprint,
        (None, None, true) => scan(&mut provisioning, &enroll.address).await?,
        (None, None, false) => bail!(
            "say which host key the machine has: --host-key, --fingerprint, or --scan to see it"
        ),
    };
    let request = pb::EnrollMachineRequest {
        request_id: request_id(),
        name: enroll.name,
        spec: Some(pb::MachineSpec {
            supplier_id: supplier(&mut client, &enroll.supplier).await?,
            address: enroll.address,
            user: enroll.user.clone(),
            host_key,
            region: enroll.region,
            claim: Some(pb::HardwareClaim {
                cpu_cores: enroll.claim_cores,
                memory_bytes: enroll.claim_memory_gib << 30,
                gpu_count: enroll.claim_gpus,
                gpu_model: enroll.claim_gpu_model,
                ..pb::HardwareClaim::default()
            }),
        }),
    };
    let machine = client.enroll_machine(request).await?.into_inner().machine;
    let machine = machine.context("an answer without a machine")?;
    let setup = GetMachineSetupRequest {
        machine_id: machine.id.clone(),
        user: enroll.user,
    };
    let command = provisioning
        .get_machine_setup(setup)
        .await?
        .into_inner()
        .command;
    let name = machine.name.clone();
    if enroll.output.is_json() {
        return print(enroll.output, Some(machine));
    }
    eprintln!("{name} is enrolled. Run this on it as root, as often as you like:\n");
    println!("{command}");
    eprintln!("\nThen: berth machine verify {name} --wait");
    Ok(())
}

/// Shows the host key, and takes it only from a person who types it back.
async fn scan(
    provisioning: &mut ProvisioningServiceClient<Authed>,
    address: &str,
) -> anyhow::Result<String> {
    let request = ScanHostKeyRequest {
        address: address.to_owned(),
    };
    let seen = provisioning.scan_host_key(request).await?.into_inner();
    ensure!(
        std::io::stdin().is_terminal(),
        "{address} shows {}; compare it with the machine's own and pass --fingerprint",
        seen.fingerprint
    );
    eprintln!("{address} shows the host key {}", seen.fingerprint);
    eprint!("Compare it with the machine's console, then type it here: ");
    std::io::stderr().flush()?;
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    ensure!(
        typed.trim() == seen.fingerprint,
        "that is not what the machine shows; nothing was enrolled"
    );
    Ok(seen.host_key)
}

async fn supplier(client: &mut Client, name: &str) -> anyhow::Result<String> {
    let request = pb::GetSupplierRequest {
        supplier_id: name.to_owned(),
    };
    let supplier = match client.get_supplier(request).await {
        Ok(answer) => answer.into_inner().supplier,
        Err(status) if status.code() == Code::NotFound && !name.starts_with("supplier-") => {
            let request = pb::CreateSupplierRequest {
                request_id: request_id(),
                name: name.to_owned(),
            };
            client.create_supplier(request).await?.into_inner().supplier
        }
        Err(status) => return Err(status.into()),
    };
    Ok(supplier.context("an answer without a supplier")?.id)
}

pub(super) async fn get(client: &mut Client, machine: &str) -> anyhow::Result<Option<Machine>> {
    let request = pb::GetMachineRequest {
        machine_id: machine.to_owned(),
    };
    Ok(client.get_machine(request).await?.into_inner().machine)
}

async fn list(client: &mut Client, output: OutputArgs) -> anyhow::Result<()> {
    let mut all = pb::ListMachinesResponse::default();
    loop {
        let request = pb::ListMachinesRequest {
            page_size: 200,
            page_token: std::mem::take(&mut all.next_page_token),
            ..pb::ListMachinesRequest::default()
        };
        let page = client.list_machines(request).await?.into_inner();
        all.machines.extend(page.machines);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    output.print(&all, |all| {
        let rows = all.machines.iter().map(row).collect();
        table(
            [
                "name", "id", "state", "cores", "memory", "gpus", "address", "reason",
            ],
            rows,
        )
    })
}

fn row(machine: &Machine) -> [String; 8] {
    let spec = machine.spec.clone().unwrap_or_default();
    let status = machine.status.clone().unwrap_or_default();
    let facts = status.facts.clone().unwrap_or_default();
    [
        machine.name.clone(),
        machine.id.clone(),
        state(&status),
        facts.cpu_cores.to_string(),
        bytes(facts.memory_bytes),
        facts.gpus.len().to_string(),
        spec.address,
        status.status_reason,
    ]
}

fn state(status: &pb::MachineStatus) -> String {
    let state = word(status.state().as_str_name(), "STATE_");
    if status.cordoned && status.state() != State::Cordoned {
        format!("{state} (cordoned)")
    } else {
        state
    }
}

async fn verify(client: &mut Client, verify: Verify) -> anyhow::Result<()> {
    let request = pb::VerifyMachineRequest {
        request_id: request_id(),
        machine_id: verify.machine.clone(),
    };
    let mut machine = client.verify_machine(request).await?.into_inner().machine;
    let begun = Instant::now();
    while verify.wait && machine.as_ref().is_some_and(|machine| machine.reconciling) {
        if begun.elapsed() > Duration::from_mins(5) {
            let why = machine
                .and_then(|machine| machine.status)
                .unwrap_or_default();
            let text = format!(
                "{} is not verified yet: {}",
                verify.machine, why.status_reason
            );
            return Err(NotInTime(text).into());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        machine = get(client, &verify.machine).await?;
    }
    let faulty = machine
        .as_ref()
        .and_then(|machine| machine.status.as_ref())
        .is_some_and(|status| status.state() == State::Faulty);
    print(verify.output, machine)?;
    ensure!(!(verify.wait && faulty), "{} is faulty", verify.machine);
    Ok(())
}

async fn retire(client: &mut Client, retire: Retire) -> anyhow::Result<()> {
    if retire.dry_run {
        let machine = get(client, &retire.machine).await?;
        eprintln!("Would retire this machine for good and close its offer:");
        return print(retire.output, machine);
    }
    let request = pb::RetireMachineRequest {
        request_id: request_id(),
        machine_id: retire.machine,
    };
    let answer = client.retire_machine(request).await?.into_inner();
    print(retire.output, answer.machine)
}

fn print(output: OutputArgs, machine: Option<Machine>) -> anyhow::Result<()> {
    output.print(&pb::GetMachineResponse { machine }, |answer| {
        answer.machine.as_ref().map_or_else(Table::new, describe)
    })
}

fn describe(machine: &Machine) -> Table {
    let spec = machine.spec.clone().unwrap_or_default();
    let status = machine.status.clone().unwrap_or_default();
    let mut rows = vec![
        ("name", machine.name.clone()),
        ("id", machine.id.clone()),
        ("state", state(&status)),
        ("reason", status.status_reason.clone()),
        ("address", spec.address),
        ("region", spec.region),
        ("lease", status.lease_id.clone()),
        ("verified", time(status.verify_time.as_ref())),
    ];
    if let Some(facts) = &status.facts {
        let gpus = facts.gpus.iter().map(|gpu| {
            format!(
                "{} {} driver {} CUDA {}",
                gpu.model,
                bytes(gpu.memory_bytes),
                gpu.driver,
                gpu.cuda
            )
        });
        let disks = facts.disks.iter().map(|disk| {
            let (free, size) = (bytes(disk.free_bytes), bytes(disk.size_bytes));
            format!(
                "{} {free} free of {size}, {} read and {} write IOPS",
                disk.mount, disk.read_iops, disk.write_iops
            )
        });
        let smt = if facts.smt { "SMT on" } else { "SMT off" };
        rows.extend([
            (
                "cpu",
                format!("{} × {}, {smt}", facts.cpu_cores, facts.cpu_model),
            ),
            ("memory", bytes(facts.memory_bytes)),
            ("disks", disks.collect::<Vec<_>>().join("\n")),
            ("gpus", gpus.collect::<Vec<_>>().join("\n")),
            ("system", format!("{}, kernel {}", facts.os, facts.kernel)),
            ("docker", facts.docker_version.clone()),
            ("clock", format!("{} ms off", facts.clock_offset_ms)),
        ]);
    }
    fields(rows)
}
