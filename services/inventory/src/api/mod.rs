//! The inventory API: one method an rpc, each a single call.

mod convert;
mod fleet;
mod machines;
mod offers;
mod suppliers;

use crate::batch::Reservations;
use berth_core::Result;
use berth_proto::inventory::v1 as pb;
use berth_proto::inventory::v1::fleet_service_server::FleetService;
use berth_proto::inventory::v1::inventory_service_server::InventoryService;
use berth_runtime::{pg, status};
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tonic::{Request, Response, Status};

/// Serves the API from a database.
#[derive(Debug, Clone)]
pub struct Api {
    db: PgPool,
    reservations: Reservations,
}

impl Api {
    /// Serves what this database keeps. The future gives machines to leases and is a
    /// task of the service.
    pub fn new(db: PgPool) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (reservations, reserving) = Reservations::new(db.clone());
        (Self { db, reservations }, reserving)
    }

    async fn connection(&self) -> Result<PoolConnection<Postgres>> {
        self.db.acquire().await.map_err(pg::error)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl InventoryService for Api {
    async fn create_supplier(
        &self,
        request: Request<pb::CreateSupplierRequest>,
    ) -> Answer<pb::CreateSupplierResponse> {
        status::reply(suppliers::create(self, request).await)
    }

    async fn get_supplier(
        &self,
        request: Request<pb::GetSupplierRequest>,
    ) -> Answer<pb::GetSupplierResponse> {
        status::reply(suppliers::get(self, request).await)
    }

    async fn list_suppliers(
        &self,
        request: Request<pb::ListSuppliersRequest>,
    ) -> Answer<pb::ListSuppliersResponse> {
        status::reply(suppliers::list(self, request).await)
    }

    async fn enroll_machine(
        &self,
        request: Request<pb::EnrollMachineRequest>,
    ) -> Answer<pb::EnrollMachineResponse> {
        status::reply(machines::enroll(self, request).await)
    }

    async fn get_machine(
        &self,
        request: Request<pb::GetMachineRequest>,
    ) -> Answer<pb::GetMachineResponse> {
        status::reply(machines::get(self, request).await)
    }

    async fn list_machines(
        &self,
        request: Request<pb::ListMachinesRequest>,
    ) -> Answer<pb::ListMachinesResponse> {
        status::reply(machines::list(self, request).await)
    }

    async fn update_machine(
        &self,
        request: Request<pb::UpdateMachineRequest>,
    ) -> Answer<pb::UpdateMachineResponse> {
        status::reply(machines::update(self, request).await)
    }

    async fn verify_machine(
        &self,
        request: Request<pb::VerifyMachineRequest>,
    ) -> Answer<pb::VerifyMachineResponse> {
        status::reply(machines::verify(self, request).await)
    }

    async fn cordon_machine(
        &self,
        request: Request<pb::CordonMachineRequest>,
    ) -> Answer<pb::CordonMachineResponse> {
        status::reply(machines::cordon(self, request).await)
    }

    async fn uncordon_machine(
        &self,
        request: Request<pb::UncordonMachineRequest>,
    ) -> Answer<pb::UncordonMachineResponse> {
        status::reply(machines::uncordon(self, request).await)
    }

    async fn retire_machine(
        &self,
        request: Request<pb::RetireMachineRequest>,
    ) -> Answer<pb::RetireMachineResponse> {
        status::reply(machines::retire(self, request).await)
    }

    async fn create_offer(
        &self,
        request: Request<pb::CreateOfferRequest>,
    ) -> Answer<pb::CreateOfferResponse> {
        status::reply(offers::create(self, request).await)
    }

    async fn get_offer(
        &self,
        request: Request<pb::GetOfferRequest>,
    ) -> Answer<pb::GetOfferResponse> {
        status::reply(offers::get(self, request).await)
    }

    async fn list_offers(
        &self,
        request: Request<pb::ListOffersRequest>,
    ) -> Answer<pb::ListOffersResponse> {
        status::reply(offers::list(self, request).await)
    }

    async fn close_offer(
        &self,
        request: Request<pb::CloseOfferRequest>,
    ) -> Answer<pb::CloseOfferResponse> {
        status::reply(offers::close(self, request).await)
    }
}

#[tonic::async_trait]
impl FleetService for Api {
    async fn reserve_machine(
        &self,
        request: Request<pb::ReserveMachineRequest>,
    ) -> Answer<pb::ReserveMachineResponse> {
        status::reply(fleet::reserve(self, request.get_ref()).await)
    }

    async fn confirm_reservation(
        &self,
        request: Request<pb::ConfirmReservationRequest>,
    ) -> Answer<pb::ConfirmReservationResponse> {
        status::reply(fleet::confirm(self, request.get_ref()).await)
    }

    async fn release_machine(
        &self,
        request: Request<pb::ReleaseMachineRequest>,
    ) -> Answer<pb::ReleaseMachineResponse> {
        status::reply(fleet::release(self, request.get_ref()).await)
    }

    async fn resolve_machine(
        &self,
        request: Request<pb::ResolveMachineRequest>,
    ) -> Answer<pb::ResolveMachineResponse> {
        status::reply(fleet::resolve(self, request.get_ref()).await)
    }

    async fn list_machine_work(
        &self,
        request: Request<pb::ListMachineWorkRequest>,
    ) -> Answer<pb::ListMachineWorkResponse> {
        status::reply(fleet::list_work(self, request.get_ref()).await)
    }

    async fn record_verification(
        &self,
        request: Request<pb::RecordVerificationRequest>,
    ) -> Answer<pb::RecordVerificationResponse> {
        status::reply(fleet::record_verification(self, request.into_inner()).await)
    }

    async fn record_wipe(
        &self,
        request: Request<pb::RecordWipeRequest>,
    ) -> Answer<pb::RecordWipeResponse> {
        status::reply(fleet::record_wipe(self, request.get_ref()).await)
    }

    async fn report_machine_problem(
        &self,
        request: Request<pb::ReportMachineProblemRequest>,
    ) -> Answer<pb::ReportMachineProblemResponse> {
        status::reply(fleet::report_problem(self, request.get_ref()).await)
    }
}
