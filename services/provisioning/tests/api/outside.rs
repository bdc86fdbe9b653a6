//! Leasing, inventory, monitoring and (in `signer`) the signer, scripted: they answer over real gRPC what
//! a test wrote down, and remember what they were told.

use crate::effects::Effects;
use crate::signer::Signer;
use crate::site::ScriptedSite;
use berth_core::{AccountId, LeaseId, MachineId};
use berth_proto::inventory::v1 as inventory;
use berth_proto::inventory::v1::fleet_service_server::{FleetService, FleetServiceServer};
use berth_proto::leasing::v1 as leasing;
use berth_proto::leasing::v1::lease_status::{CloseReason, State as LeaseState};
use berth_proto::leasing::v1::leasing_service_server::{LeasingService, LeasingServiceServer};
use berth_proto::monitoring::v1 as monitoring;
use berth_proto::monitoring::v1::health::State as HealthState;
use berth_proto::monitoring::v1::monitoring_service_server::{
    MonitoringService, MonitoringServiceServer,
};
use berth_proto::monitoring::v1::target_service_server::{TargetService, TargetServiceServer};
use berth_proto::signing::v1::grant_service_server::GrantServiceServer;
use berth_proto::signing::v1::signing_service_server::SigningServiceServer;
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};

pub(crate) type Answer<T> = Result<Response<T>, Status>;

/// What leasing holds back for a lease.
pub(crate) const HOLD: i64 = 1_000_000;

/// What the others know and were told.
pub(crate) struct Known {
    pub(crate) machine: inventory::Machine,
    /// Who lends it; anybody when absent.
    pub(crate) lender: Option<AccountId>,
    /// Leases by the request that made them.
    pub(crate) leases: BTreeMap<String, leasing::Lease>,
    /// The state that a new lease has.
    pub(crate) new_lease: LeaseState,
    /// Instead of a new lease.
    pub(crate) refuse: Option<Status>,
    pub(crate) work: Vec<inventory::MachineWork>,
    pub(crate) verified: Vec<inventory::RecordVerificationRequest>,
    pub(crate) wiped: Vec<inventory::RecordWipeRequest>,
    pub(crate) problems: Vec<String>,
    pub(crate) target: Option<monitoring::PutTargetRequest>,
    pub(crate) health: HealthState,
    pub(crate) duty: Option<monitoring::Duty>,
    pub(crate) ended: Vec<String>,
    /// What leasing holds back for each lease, and gives back when it ends.
    pub(crate) ledger: Vec<(String, i64)>,
    pub(crate) signer: Signer,
    /// The machine whose log holds what the signer was told, in order.
    pub(crate) site: Option<Arc<ScriptedSite>>,
}

/// The other services.
#[derive(Clone)]
pub(crate) struct World {
    known: Arc<Mutex<Known>>,
    /// What a test watches and breaks.
    pub(crate) effects: Arc<Effects>,
}

impl World {
    pub(crate) fn new(machine: MachineId) -> Self {
        let known = Known {
            machine: inventory::Machine {
                id: machine.to_string(),
                name: "scripted".to_owned(),
                spec: Some(inventory::MachineSpec {
                    address: "192.0.2.7:22".to_owned(),
                    host_key: crate::site::HOST_KEY.to_owned(),
                    ..inventory::MachineSpec::default()
                }),
                status: Some(inventory::MachineStatus {
                    facts: Some(inventory::Facts {
                        cpu_cores: 4,
                        memory_bytes: 8 << 30,
                        ..inventory::Facts::default()
                    }),
                    ..inventory::MachineStatus::default()
                }),
                ..inventory::Machine::default()
            },
            lender: None,
            leases: BTreeMap::new(),
            new_lease: LeaseState::Active,
            refuse: None,
            work: Vec::new(),
            verified: Vec::new(),
            wiped: Vec::new(),
            problems: Vec::new(),
            target: None,
            health: HealthState::Healthy,
            duty: None,
            ended: Vec::new(),
            ledger: Vec::new(),
            signer: Signer::default(),
            site: None,
        };
        Self {
            known: Arc::new(Mutex::new(known)),
            effects: Arc::default(),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// A lease of an account's own.
    pub(crate) fn add_lease(&self, state: LeaseState) -> LeaseId {
        let id = LeaseId::generate();
        let mut known = self.known();
        let lease = lease(&known, id, state);
        known.leases.insert(id.to_string(), lease);
        id
    }

    /// Ends all leases.
    pub(crate) fn end_leases(&self, reason: CloseReason) {
        let mut known = self.known();
        let ids: Vec<_> = known
            .leases
            .values()
            .map(|lease| lease.id.clone())
            .collect();
        for id in ids {
            known.close(&id, reason);
        }
    }

    /// Answers on a port of its own.
    pub(crate) async fn serve(&self, tasks: &mut JoinSet<()>) -> Channel {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder()
            .add_service(LeasingServiceServer::new(self.clone()))
            .add_service(FleetServiceServer::new(self.clone()))
            .add_service(MonitoringServiceServer::new(self.clone()))
            .add_service(TargetServiceServer::new(self.clone()))
            .add_service(GrantServiceServer::new(self.clone()))
            .add_service(SigningServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tasks.spawn(async move { server.await.unwrap() });
        Endpoint::from_shared(address).unwrap().connect_lazy()
    }

    /// Does what a request asks for, where the test lets it.
    pub(crate) async fn effect<T>(
        &self,
        what: &str,
        mut act: impl FnMut() -> Answer<T>,
    ) -> Answer<T> {
        let lost = || Status::new(Code::Unavailable, "the connection broke, as scripted");
        let pass = self.effects.pass(what.to_owned(), lost, || ready(act()));
        pass.await
    }

    fn find(&self, id: &str) -> Result<leasing::Lease, Status> {
        let known = self.known();
        let found = known.leases.values().find(|lease| lease.id == id).cloned();
        found.ok_or_else(|| Status::new(Code::NotFound, format!("lease `{id}` not found")))
    }
}

impl Known {
    /// Closes a lease, once, and gives back what was held for it.
    fn close(&mut self, id: &str, reason: CloseReason) {
        let mut leases = self.leases.values_mut();
        let lease = leases.find(|lease| lease.id == id).unwrap();
        let status = lease.status.as_mut().unwrap();
        if status.state() != LeaseState::Closed {
            status.set_state(LeaseState::Closed);
            status.set_close_reason(reason);
            self.ledger.push((id.to_owned(), HOLD));
        }
    }
}

fn lease(known: &Known, id: LeaseId, state: LeaseState) -> leasing::Lease {
    let mut status = leasing::LeaseStatus {
        machine_id: known.machine.id.clone(),
        ..leasing::LeaseStatus::default()
    };
    status.set_state(state);
    leasing::Lease {
        id: id.to_string(),
        status: Some(status),
        ..leasing::Lease::default()
    }
}

pub(crate) fn unscripted<T>() -> Answer<T> {
    Err(Status::unimplemented("not scripted"))
}

#[tonic::async_trait]
impl LeasingService for World {
    async fn create_lease(
        &self,
        request: Request<leasing::CreateLeaseRequest>,
    ) -> Answer<leasing::CreateLeaseResponse> {
        let request_id = request.into_inner().request_id;
        let make = || {
            let mut known = self.known();
            if let Some(refusal) = &known.refuse {
                return Err(refusal.clone());
            }
            if !known.leases.contains_key(&request_id) {
                let new = lease(&known, LeaseId::generate(), known.new_lease);
                known.ledger.push((new.id.clone(), -HOLD));
                known.leases.insert(request_id.clone(), new);
            }
            let lease = known.leases.get(&request_id).cloned();
            Ok(Response::new(leasing::CreateLeaseResponse { lease }))
        };
        self.effect("lease create", make).await
    }

    async fn get_lease(
        &self,
        request: Request<leasing::GetLeaseRequest>,
    ) -> Answer<leasing::GetLeaseResponse> {
        let lease = Some(self.find(&request.into_inner().lease_id)?);
        Ok(Response::new(leasing::GetLeaseResponse { lease }))
    }

    async fn end_lease(
        &self,
        request: Request<leasing::EndLeaseRequest>,
    ) -> Answer<leasing::EndLeaseResponse> {
        let id = request.into_inner().lease_id;
        let end = || {
            self.find(&id)?;
            let mut known = self.known();
            known.ended.push(id.clone());
            known.close(&id, CloseReason::Owner);
            drop(known);
            let lease = Some(self.find(&id)?);
            Ok(Response::new(leasing::EndLeaseResponse { lease }))
        };
        self.effect("lease end", end).await
    }

    async fn list_leases(
        &self,
        _: Request<leasing::ListLeasesRequest>,
    ) -> Answer<leasing::ListLeasesResponse> {
        unscripted()
    }

    async fn extend_lease(
        &self,
        _: Request<leasing::ExtendLeaseRequest>,
    ) -> Answer<leasing::ExtendLeaseResponse> {
        unscripted()
    }

    async fn credit_account(
        &self,
        _: Request<leasing::CreditAccountRequest>,
    ) -> Answer<leasing::CreditAccountResponse> {
        unscripted()
    }

    async fn get_balance(
        &self,
        _: Request<leasing::GetBalanceRequest>,
    ) -> Answer<leasing::GetBalanceResponse> {
        unscripted()
    }

    async fn list_account_events(
        &self,
        _: Request<leasing::ListAccountEventsRequest>,
    ) -> Answer<leasing::ListAccountEventsResponse> {
        unscripted()
    }

    async fn list_ledger_entries(
        &self,
        _: Request<leasing::ListLedgerEntriesRequest>,
    ) -> Answer<leasing::ListLedgerEntriesResponse> {
        unscripted()
    }
}

#[tonic::async_trait]
impl FleetService for World {
    async fn resolve_machine(
        &self,
        request: Request<inventory::ResolveMachineRequest>,
    ) -> Answer<inventory::ResolveMachineResponse> {
        let account = request.into_inner().account_id;
        let known = self.known();
        let lender = known.lender.map(|lender| lender.to_string());
        if !account.is_empty() && lender.is_some_and(|lender| lender != account) {
            return Err(Status::new(Code::NotFound, "no such machine"));
        }
        Ok(Response::new(inventory::ResolveMachineResponse {
            machine: Some(known.machine.clone()),
        }))
    }

    async fn list_machine_work(
        &self,
        _: Request<inventory::ListMachineWorkRequest>,
    ) -> Answer<inventory::ListMachineWorkResponse> {
        let work = self.known().work.clone();
        Ok(Response::new(inventory::ListMachineWorkResponse { work }))
    }

    async fn record_verification(
        &self,
        request: Request<inventory::RecordVerificationRequest>,
    ) -> Answer<inventory::RecordVerificationResponse> {
        self.known().verified.push(request.into_inner());
        Ok(Response::new(
            inventory::RecordVerificationResponse::default(),
        ))
    }

    async fn record_wipe(
        &self,
        request: Request<inventory::RecordWipeRequest>,
    ) -> Answer<inventory::RecordWipeResponse> {
        let record = request.into_inner();
        let keep = || {
            let mut known = self.known();
            known.wiped.push(record.clone());
            if record.problem.is_empty() {
                let mine = |work: &inventory::MachineWork| work.attempt == record.attempt;
                if !known.work.iter().any(mine) {
                    let late = "no wipe of this attempt is under way";
                    return Err(Status::new(Code::FailedPrecondition, late));
                }
                known.work.retain(|work| !mine(work));
            }
            Ok(Response::new(inventory::RecordWipeResponse::default()))
        };
        self.effect("inventory wiped", keep).await
    }

    async fn report_machine_problem(
        &self,
        request: Request<inventory::ReportMachineProblemRequest>,
    ) -> Answer<inventory::ReportMachineProblemResponse> {
        self.known().problems.push(request.into_inner().problem);
        Ok(Response::new(
            inventory::ReportMachineProblemResponse::default(),
        ))
    }

    async fn reserve_machine(
        &self,
        _: Request<inventory::ReserveMachineRequest>,
    ) -> Answer<inventory::ReserveMachineResponse> {
        unscripted()
    }

    async fn confirm_reservation(
        &self,
        _: Request<inventory::ConfirmReservationRequest>,
    ) -> Answer<inventory::ConfirmReservationResponse> {
        unscripted()
    }

    async fn release_machine(
        &self,
        _: Request<inventory::ReleaseMachineRequest>,
    ) -> Answer<inventory::ReleaseMachineResponse> {
        unscripted()
    }
}

#[tonic::async_trait]
impl TargetService for World {
    async fn put_target(
        &self,
        request: Request<monitoring::PutTargetRequest>,
    ) -> Answer<monitoring::PutTargetResponse> {
        let target = request.into_inner();
        let put = || {
            self.known().target = Some(target.clone());
            Ok(Response::new(monitoring::PutTargetResponse::default()))
        };
        self.effect("monitoring expect", put).await
    }

    async fn delete_target(
        &self,
        _: Request<monitoring::DeleteTargetRequest>,
    ) -> Answer<monitoring::DeleteTargetResponse> {
        let forget = || {
            self.known().target = None;
            Ok(Response::new(monitoring::DeleteTargetResponse::default()))
        };
        self.effect("monitoring forget", forget).await
    }
}

#[tonic::async_trait]
impl MonitoringService for World {
    type WatchHealthStream = BoxStream<'static, Result<monitoring::WatchHealthResponse, Status>>;

    async fn get_health(
        &self,
        _: Request<monitoring::GetHealthRequest>,
    ) -> Answer<monitoring::GetHealthResponse> {
        let known = self.known();
        let mut health = monitoring::Health {
            fence: known.target.as_ref().map_or(0, |target| target.fence),
            reasons: vec!["as scripted".to_owned()],
            duty: known.duty.clone(),
            ..monitoring::Health::default()
        };
        health.set_state(known.health);
        Ok(Response::new(monitoring::GetHealthResponse {
            health: Some(health),
        }))
    }

    async fn watch_health(
        &self,
        _: Request<monitoring::WatchHealthRequest>,
    ) -> Answer<Self::WatchHealthStream> {
        unscripted()
    }

    async fn query_samples(
        &self,
        _: Request<monitoring::QuerySamplesRequest>,
    ) -> Answer<monitoring::QuerySamplesResponse> {
        unscripted()
    }
}
