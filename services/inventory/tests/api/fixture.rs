//! A supplier with machines, made through the API as everybody makes them.

use berth_core::{AccountId, LeaseId};
use berth_inventory::api::Api;
use berth_proto::api::v1::{Money, Requirements};
use berth_proto::inventory::v1 as pb;
use berth_proto::inventory::v1::fleet_service_server::FleetService as _;
use berth_proto::inventory::v1::inventory_service_server::InventoryService as _;
use prost_types::Duration;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub(crate) use pb::machine_status::State;

/// Made by ssh-keygen.
pub(crate) const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDy1CS6YST1nzzIrugSy+k4EuO3HCFajimiQ+zegrpr8";
/// Of [`HOST_KEY`].
pub(crate) const FINGERPRINT: &str = "SHA256:ma75pPsnLPi65QKAW+qKiUw+CyyqXr5Enp6PIE1c7/k";
pub(crate) const GIB: u64 = 1 << 30;

pub(crate) fn id() -> String {
    Uuid::now_v7().to_string()
}

pub(crate) fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

pub(crate) fn euro(micros: i64) -> Money {
    Money {
        currency: "EUR".to_owned(),
        micros,
    }
}

/// The fields that a refusal names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt as _;
    let details = status.get_details_bad_request().unwrap();
    details
        .field_violations
        .into_iter()
        .map(|v| v.field)
        .collect()
}

/// The stable reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().unwrap().reason
}

/// One replica, and its task, which ends with the set.
pub(crate) fn serve(db: PgPool) -> (Api, Arc<JoinSet<()>>) {
    let (api, reserving) = Api::new(db);
    let mut tasks = JoinSet::new();
    tasks.spawn(reserving);
    (api, Arc::new(tasks))
}

/// An account with a supplier.
#[derive(Clone)]
pub(crate) struct Yard {
    pub(crate) api: Api,
    pub(crate) account: AccountId,
    pub(crate) supplier: String,
    pub(crate) _tasks: Arc<JoinSet<()>>,
}

impl Yard {
    pub(crate) async fn new(db: PgPool) -> Self {
        let (api, tasks) = serve(db);
        let yard = Self::of(&api).await;
        Self {
            _tasks: tasks,
            ..yard
        }
    }

    /// Another account in the same inventory.
    pub(crate) async fn of(api: &Api) -> Self {
        let mut yard = Self {
            api: api.clone(),
            account: AccountId::generate(),
            supplier: String::new(),
            _tasks: Arc::default(),
        };
        let message = pb::CreateSupplierRequest {
            request_id: id(),
            name: "hetz".to_owned(),
        };
        let made = yard.api.create_supplier(yard.request(message)).await;
        yard.supplier = made.unwrap().into_inner().supplier.unwrap().id;
        yard
    }

    /// A request of the account.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.account);
        request
    }

    pub(crate) fn enrollment(&self, name: &str, host: u8) -> pb::EnrollMachineRequest {
        pb::EnrollMachineRequest {
            request_id: id(),
            name: name.to_owned(),
            spec: Some(pb::MachineSpec {
                supplier_id: self.supplier.clone(),
                address: format!("192.0.2.{host}"),
                host_key: FINGERPRINT.to_owned(),
                claim: Some(pb::HardwareClaim {
                    cpu_cores: 8,
                    memory_bytes: 32 * GIB,
                    ..Default::default()
                }),
                region: "de-fra".to_owned(),
                ..Default::default()
            }),
        }
    }

    pub(crate) async fn enroll(&self, name: &str, host: u8) -> pb::Machine {
        let request = self.request(self.enrollment(name, host));
        let answer = self.api.enroll_machine(request).await.unwrap();
        answer.into_inner().machine.unwrap()
    }

    pub(crate) async fn get(&self, machine: &str) -> pb::Machine {
        let message = pb::GetMachineRequest {
            machine_id: machine.to_owned(),
        };
        let answer = self.api.get_machine(self.request(message)).await.unwrap();
        answer.into_inner().machine.unwrap()
    }

    pub(crate) async fn verify(&self, machine: &str) -> Result<pb::Machine, Status> {
        let message = pb::VerifyMachineRequest {
            request_id: id(),
            machine_id: machine.to_owned(),
        };
        let answer = self.api.verify_machine(self.request(message)).await?;
        Ok(answer.into_inner().machine.unwrap())
    }

    pub(crate) async fn cordon(&self, machine: &str) -> Result<pb::Machine, Status> {
        let message = pb::CordonMachineRequest {
            request_id: id(),
            machine_id: machine.to_owned(),
        };
        let answer = self.api.cordon_machine(self.request(message)).await?;
        Ok(answer.into_inner().machine.unwrap())
    }

    pub(crate) async fn uncordon(&self, machine: &str) -> Result<pb::Machine, Status> {
        let message = pb::UncordonMachineRequest {
            request_id: id(),
            machine_id: machine.to_owned(),
        };
        let answer = self.api.uncordon_machine(self.request(message)).await?;
        Ok(answer.into_inner().machine.unwrap())
    }

    pub(crate) async fn retire(&self, machine: &str) -> Result<pb::Machine, Status> {
        let message = pb::RetireMachineRequest {
            request_id: id(),
            machine_id: machine.to_owned(),
        };
        let answer = self.api.retire_machine(self.request(message)).await?;
        Ok(answer.into_inner().machine.unwrap())
    }

    pub(crate) async fn offer(&self, machine: &str, micros: i64) -> Result<pb::Offer, Status> {
        let message = pb::CreateOfferRequest {
            request_id: id(),
            spec: Some(pb::OfferSpec {
                machine_id: machine.to_owned(),
                price_per_hour: Some(euro(micros)),
                min_term: None,
                max_term: Some(seconds(30 * 86400)),
            }),
        };
        let answer = self.api.create_offer(self.request(message)).await?;
        Ok(answer.into_inner().offer.unwrap())
    }

    /// What provisioning would find to do with a machine.
    pub(crate) async fn work(&self, machine: &str) -> Option<pb::MachineWork> {
        let message = pb::ListMachineWorkRequest { page_size: 0 };
        let answer = self.api.list_machine_work(Request::new(message)).await;
        let work = answer.unwrap().into_inner().work;
        work.into_iter()
            .find(|work| work.machine.as_ref().unwrap().id == machine)
    }

    /// Records a verification that found these facts.
    pub(crate) async fn measured(
        &self,
        machine: &str,
        attempt: i64,
        facts: pb::Facts,
    ) -> Result<pb::Machine, Status> {
        let message = pb::RecordVerificationRequest {
            machine_id: machine.to_owned(),
            attempt,
            facts: Some(facts),
            host_key: HOST_KEY.to_owned(),
            ..Default::default()
        };
        let answer = self.api.record_verification(Request::new(message)).await?;
        Ok(answer.into_inner().machine.unwrap())
    }

    /// Records a wipe; an empty problem is success.
    pub(crate) async fn wiped(
        &self,
        machine: &str,
        attempt: i64,
        problem: &str,
    ) -> Result<pb::Machine, Status> {
        let message = pb::RecordWipeRequest {
            machine_id: machine.to_owned(),
            attempt,
            report: "removed 2 containers".to_owned(),
            problem: problem.to_owned(),
            transient: false,
        };
        let answer = self.api.record_wipe(Request::new(message)).await?;
        Ok(answer.into_inner().machine.unwrap())
    }

    /// Verifies a machine that has these facts: it is wiped and measured.
    pub(crate) async fn verified(
        &self,
        machine: &str,
        facts: pb::Facts,
    ) -> Result<pb::Machine, Status> {
        let attempt = self.begun(machine).await;
        self.measured(machine, attempt, facts).await
    }

    /// Begins to verify a machine; the number under which it is measured, now
    /// that it was wiped.
    pub(crate) async fn begun(&self, machine: &str) -> i64 {
        self.verify(machine).await.unwrap();
        let wipe = self.work(machine).await.unwrap();
        assert_eq!(wipe.kind(), pb::machine_work::Kind::Wipe);
        let wiped = self.wiped(machine, wipe.attempt, "").await.unwrap();
        assert_eq!(state(&wiped), State::Verifying);
        let measure = self.work(machine).await.unwrap();
        assert_eq!(measure.kind(), pb::machine_work::Kind::Verify);
        measure.attempt
    }

    /// A machine that is verified and offered.
    pub(crate) async fn free(&self, name: &str, host: u8, micros: i64) -> (String, String) {
        self.free_with(name, host, micros, facts()).await
    }

    pub(crate) async fn free_with(
        &self,
        name: &str,
        host: u8,
        micros: i64,
        facts: pb::Facts,
    ) -> (String, String) {
        let machine = self.enroll(name, host).await.id;
        let verified = self.verified(&machine, facts).await.unwrap();
        assert_eq!(state(&verified), State::Available, "{verified:?}");
        let offer = self.offer(&machine, micros).await.unwrap();
        (machine, offer.id)
    }

    pub(crate) async fn reserve(
        &self,
        wish: pb::ReserveMachineRequest,
    ) -> Result<pb::ReserveMachineResponse, Status> {
        let answer = self.api.reserve_machine(Request::new(wish)).await;
        answer.map(Response::into_inner)
    }

    pub(crate) async fn confirm(&self, lease: LeaseId) -> Result<(), Status> {
        let message = pb::ConfirmReservationRequest {
            lease_id: lease.to_string(),
        };
        let answer = self.api.confirm_reservation(Request::new(message)).await;
        answer.map(|_| ())
    }

    pub(crate) async fn release(&self, lease: LeaseId) {
        let message = pb::ReleaseMachineRequest {
            lease_id: lease.to_string(),
        };
        let answer = self.api.release_machine(Request::new(message)).await;
        assert!(answer.unwrap().into_inner().released);
    }

    pub(crate) async fn report(&self, machine: &str, problem: &str) {
        let message = pb::ReportMachineProblemRequest {
            machine_id: machine.to_owned(),
            problem: problem.to_owned(),
        };
        let answer = self.api.report_machine_problem(Request::new(message)).await;
        answer.unwrap();
    }
}

pub(crate) fn state(machine: &pb::Machine) -> State {
    machine.status.as_ref().unwrap().state()
}

pub(crate) fn why(machine: &pb::Machine) -> &str {
    &machine.status.as_ref().unwrap().status_reason
}

/// What an honest machine of the fixture measures.
pub(crate) fn facts() -> pb::Facts {
    pb::Facts {
        cpu_model: "AMD EPYC 9354P".to_owned(),
        cpu_cores: 8,
        smt: true,
        cpu_flags: ["avx2", "sha_ni", "aes"].map(str::to_owned).to_vec(),
        memory_bytes: 31 * GIB,
        disks: vec![pb::Disk {
            mount: "/".to_owned(),
            size_bytes: 500 * GIB,
            free_bytes: 450 * GIB,
            read_iops: 40_000,
            write_iops: 20_000,
        }],
        nics: vec![pb::Nic {
            name: "eth0".to_owned(),
            speed_mbit: 10_000,
            addresses: vec!["192.0.2.1/24".to_owned()],
        }],
        kernel: "6.1.0-37-amd64".to_owned(),
        os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        docker_version: "20.10.24".to_owned(),
        gpus: Vec::new(),
        clock_offset_ms: 3,
    }
}

/// A wish for any machine at up to so much.
pub(crate) fn any(lease: LeaseId, micros: i64) -> pb::ReserveMachineRequest {
    pb::ReserveMachineRequest {
        lease_id: lease.to_string(),
        offer_id: String::new(),
        requirements: Some(Requirements::default()),
        max_price_per_hour: Some(euro(micros)),
        term: Some(seconds(86400)),
    }
}
