//! What leasing asks of inventory. Every call may be repeated.

use crate::domain::{Grant, Lease, Requirements, Wish};
use berth_core::{Error, LeaseId, Result};
use berth_proto::api::v1 as api_pb;
use berth_proto::inventory::v1 as pb;
use berth_proto::inventory::v1::fleet_service_client::FleetServiceClient;
use berth_runtime::{clients, status, wire};
use chrono::TimeDelta;
use tonic::transport::Channel;

/// Inventory, seen from leasing; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inventory {
    fleet: FleetServiceClient<Channel>,
}

impl Inventory {
    /// Inventory at the other end of a channel.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self {
            fleet: FleetServiceClient::new(channel),
        }
    }

    /// Holds a machine for the lease; the same lease gets the same machine.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] when none fits; those of the call.
    pub(crate) async fn reserve(&self, lease: &Lease) -> Result<Grant> {
        let mut request = pb::ReserveMachineRequest {
            lease_id: lease.id.to_string(),
            term: Some(wire::duration(lease.term)),
            ..Default::default()
        };
        match &lease.wish {
            Wish::Offer(offer) => request.offer_id = offer.to_string(),
            Wish::Cheapest {
                requirements,
                max_price,
            } => {
                request.requirements = Some(requirements.clone().into());
                request.max_price_per_hour = Some(wire::money(*max_price));
            }
        }
        let mut fleet = self.fleet.clone();
        let answer = fleet.reserve_machine(clients::request(request)).await;
        let answer = answer
            .map_err(|status| status::to_error(&status))?
            .into_inner();
        grant(&answer).map_err(Error::internal)
    }

    /// Makes the reservation a lease.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when the lease holds nothing; those of the call.
    pub(crate) async fn confirm(&self, lease: LeaseId) -> Result<()> {
        let request = pb::ConfirmReservationRequest {
            lease_id: lease.to_string(),
        };
        let mut fleet = self.fleet.clone();
        let answer = fleet.confirm_reservation(clients::request(request)).await;
        answer
            .map(|_| ())
            .map_err(|status| status::to_error(&status))
    }

    /// Gives back whatever the lease holds, and keeps it from getting more.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(crate) async fn release(&self, lease: LeaseId) -> Result<bool> {
        let request = pb::ReleaseMachineRequest {
            lease_id: lease.to_string(),
        };
        let mut fleet = self.fleet.clone();
        let answer = fleet.release_machine(clients::request(request)).await;
        answer
            .map(|answer| answer.into_inner().released)
            .map_err(|status| status::to_error(&status))
    }
}

fn grant(answer: &pb::ReserveMachineResponse) -> Result<Grant> {
    let price = wire::required("price_per_hour", answer.price_per_hour.as_ref())?;
    Ok(Grant {
        machine_id: wire::parse("machine_id", &answer.machine_id)?,
        offer_id: wire::parse("offer_id", &answer.offer_id)?,
        price: wire::positive_money("price_per_hour", price)?,
        max_term: answer.max_term.map(|term| TimeDelta::seconds(term.seconds)),
    })
}

impl From<Requirements> for api_pb::Requirements {
    fn from(needs: Requirements) -> Self {
        Self {
            cpu_cores: needs.cpu_cores,
            memory_bytes: needs.memory_bytes,
            disk_bytes: needs.disk_bytes,
            disk_read_iops: needs.disk_read_iops,
            disk_write_iops: needs.disk_write_iops,
            cpu_flags: needs.cpu_flags,
            gpu_count: needs.gpu_count,
            gpu_memory_bytes: needs.gpu_memory_bytes,
            gpu_driver: needs.gpu_driver,
            smt_off: needs.smt_off,
        }
    }
}
