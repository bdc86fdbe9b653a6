//! The leasing API: one method an rpc, each a single call.

mod convert;
mod events;
mod leases;
mod ledger;
mod webhook_service;
mod webhooks;

pub use webhook_service::Webhooks;

use crate::inventory::Inventory;
use berth_core::Result;
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::leasing_service_server::LeasingService;
use berth_runtime::{pg, status};
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tonic::{Request, Response, Status};

/// Serves the API from a database and an inventory.
#[derive(Debug, Clone)]
pub struct Api {
    db: PgPool,
    inventory: Inventory,
}

impl Api {
    /// Serves what this database keeps; machines come from this inventory.
    #[must_use]
    pub fn new(db: PgPool, inventory: Inventory) -> Self {
        Self { db, inventory }
    }

    async fn connection(&self) -> Result<PoolConnection<Postgres>> {
        self.db.acquire().await.map_err(pg::error)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl LeasingService for Api {
    async fn create_lease(
        &self,
        request: Request<pb::CreateLeaseRequest>,
    ) -> Answer<pb::CreateLeaseResponse> {
        status::reply(leases::create(self, request).await)
    }

    async fn get_lease(
        &self,
        request: Request<pb::GetLeaseRequest>,
    ) -> Answer<pb::GetLeaseResponse> {
        status::reply(leases::get(self, request).await)
    }

    async fn list_leases(
        &self,
        request: Request<pb::ListLeasesRequest>,
    ) -> Answer<pb::ListLeasesResponse> {
        status::reply(leases::list(self, request).await)
    }

    async fn extend_lease(
        &self,
        request: Request<pb::ExtendLeaseRequest>,
    ) -> Answer<pb::ExtendLeaseResponse> {
        status::reply(leases::extend(self, request).await)
    }

    async fn end_lease(
        &self,
        request: Request<pb::EndLeaseRequest>,
    ) -> Answer<pb::EndLeaseResponse> {
        status::reply(leases::end(self, request).await)
    }

    async fn credit_account(
        &self,
        request: Request<pb::CreditAccountRequest>,
    ) -> Answer<pb::CreditAccountResponse> {
        status::reply(ledger::credit(self, request).await)
    }

    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Answer<pb::GetBalanceResponse> {
        status::reply(ledger::balance(self, request).await)
    }

    async fn list_ledger_entries(
        &self,
        request: Request<pb::ListLedgerEntriesRequest>,
    ) -> Answer<pb::ListLedgerEntriesResponse> {
        status::reply(ledger::entries(self, request).await)
    }

    async fn list_account_events(
        &self,
        request: Request<pb::ListAccountEventsRequest>,
    ) -> Answer<pb::ListAccountEventsResponse> {
        status::reply(events::list(self, request).await)
    }
}
