//! A leasing service on a database, beside an inventory with machines that
//! answers over mTLS on loopback.

use crate::pki::Authority;
use berth_core::AccountId;
use berth_leasing::api::Api;
use berth_leasing::domain::Policy;
use berth_leasing::{Inventory, reconcile};
use berth_proto::api::v1::Money;
use berth_proto::inventory::v1 as inventory_pb;
use berth_proto::inventory::v1::fleet_service_server::FleetService as _;
use berth_proto::inventory::v1::inventory_service_server::InventoryService as _;
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::leasing_service_server::LeasingService as _;
use berth_runtime::identity::{Identity, Trust};
use berth_runtime::reconcile::Reconciler;
use berth_runtime::tasks::Tasks;
use berth_runtime::{clients, server};
use chrono::TimeDelta;
use prost_types::Duration;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tonic::{Request, Status};
use uuid::Uuid;

pub(crate) use inventory_pb::machine_status::State as MachineState;
pub(crate) use pb::lease_status::{CloseReason, State};

/// Price of an hour of the fixture's machines; a second is no whole share of it.
pub(crate) const PRICE: i64 = 1_000_000;

/// Charges often and is patient for a minute.
pub(crate) const POLICY: Policy = Policy {
    charge_every: TimeDelta::seconds(1),
    grace: TimeDelta::seconds(60),
};

pub(crate) fn id() -> String {
    Uuid::now_v7().to_string()
}

pub(crate) fn euro(micros: i64) -> Money {
    Money {
        currency: "EUR".to_owned(),
        micros,
    }
}

pub(crate) fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

/// The fields that a refusal names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt as _;
    let details = status.get_details_bad_request().unwrap();
    details
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}

/// The stable reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().unwrap().reason
}

/// Leasing, inventory and one account.
pub(crate) struct House {
    pub(crate) api: Api,
    pub(crate) db: PgPool,
    pub(crate) account: AccountId,
    pub(crate) reconciler: Reconciler,
    inventory: berth_inventory::api::Api,
    supplier: AccountId,
    authority: Authority,
    identity: Identity,
    _tasks: Tasks,
}

impl House {
    /// With so many free machines, and an account that has some money.
    pub(crate) async fn new(db: PgPool, machines: u8, balance: i64) -> Self {
        let house = Self::disconnected(db, machines, balance).await;
        house.connect();
        house
    }

    /// The same, while leasing has no certificate to reach inventory with.
    pub(crate) async fn disconnected(db: PgPool, machines: u8, balance: i64) -> Self {
        let authority = Authority::new();
        let database = inventory_database(&db).await;
        let (inventory, reserving) = berth_inventory::api::Api::new(database);
        let listener = server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tasks = Tasks::new();
        let serve = server::serve(
            listener,
            authority.identity("inventory"),
            Trust::Services,
            berth_inventory::routes(inventory.clone()).unwrap(),
            tasks.stop(),
        );
        tasks.spawn("inventory", serve);
        tasks.spawn("reservations", reserving);

        let identity = Identity::pending();
        let client = Inventory::new(clients::channel("inventory", &address, &identity));
        let house = Self {
            api: Api::new(db.clone(), client.clone()),
            reconciler: reconcile::reconciler(db.clone(), client, POLICY),
            db,
            account: AccountId::generate(),
            inventory,
            supplier: AccountId::generate(),
            authority,
            identity,
            _tasks: tasks,
        };
        house.supply(machines).await;
        if balance > 0 {
            house.credit(balance).await;
        }
        house
    }

    /// Gives leasing its certificate.
    pub(crate) fn connect(&self) {
        self.identity
            .replace(&self.authority.issue("leasing"))
            .unwrap();
    }

    /// A request of the account.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.account);
        request
    }

    /// Adds free machines at [`PRICE`] for at most a day.
    pub(crate) async fn supply(&self, machines: u8) {
        let name = format!("s{}", Uuid::now_v7());
        let message = inventory_pb::CreateSupplierRequest {
            request_id: id(),
            name: name.clone(),
        };
        self.inventory
            .create_supplier(self.supplied(message))
            .await
            .unwrap();
        for host in 1..=machines {
            let machine = self.machine(&name, host).await;
            let offer = self.supplied(inventory_pb::CreateOfferRequest {
                request_id: id(),
                spec: Some(inventory_pb::OfferSpec {
                    machine_id: machine,
                    price_per_hour: Some(euro(PRICE)),
                    min_term: None,
                    max_term: Some(seconds(86400)),
                }),
            });
            self.inventory.create_offer(offer).await.unwrap();
        }
    }

    /// A request of the account that lends the machines.
    fn supplied<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.supplier);
        request
    }

    async fn machine(&self, supplier: &str, host: u8) -> String {
        let spec = inventory_pb::MachineSpec {
            supplier_id: supplier.to_owned(),
            address: format!("192.0.2.{host}"),
            host_key: "SHA256:ma75pPsnLPi65QKAW+qKiUw+CyyqXr5Enp6PIE1c7/k".to_owned(),
            ..Default::default()
        };
        let message = inventory_pb::EnrollMachineRequest {
            request_id: id(),
            name: format!("{supplier}-m{host}"),
            spec: Some(spec),
        };
        let made = self.inventory.enroll_machine(self.supplied(message)).await;
        let machine = made.unwrap().into_inner().machine.unwrap().id;
        let verify = self.supplied(inventory_pb::VerifyMachineRequest {
            request_id: id(),
            machine_id: machine.clone(),
        });
        self.inventory.verify_machine(verify).await.unwrap();
        let wiped = inventory_pb::RecordWipeRequest {
            machine_id: machine.clone(),
            attempt: 1,
            ..Default::default()
        };
        self.inventory
            .record_wipe(Request::new(wiped))
            .await
            .unwrap();
        let measured = inventory_pb::RecordVerificationRequest {
            machine_id: machine.clone(),
            attempt: 2,
            facts: Some(inventory_pb::Facts {
                cpu_cores: 8,
                ..Default::default()
            }),
            ..Default::default()
        };
        let recorded = self
            .inventory
            .record_verification(Request::new(measured))
            .await;
        recorded.unwrap();
        machine
    }

    /// The state of a machine.
    pub(crate) async fn machine_state(&self, machine: &str) -> MachineState {
        let message = inventory_pb::ResolveMachineRequest {
            machine_id: machine.to_owned(),
            account_id: String::new(),
        };
        let answer = self.inventory.resolve_machine(Request::new(message)).await;
        let machine = answer.unwrap().into_inner().machine.unwrap();
        machine.status.unwrap().state()
    }

    /// How many machines are in a state.
    pub(crate) async fn machines(&self, state: MachineState) -> usize {
        let request = self.supplied(inventory_pb::ListMachinesRequest {
            state: state.into(),
            ..Default::default()
        });
        let answer = self.inventory.list_machines(request).await.unwrap();
        answer.into_inner().machines.len()
    }

    pub(crate) async fn credit(&self, micros: i64) {
        let message = pb::CreditAccountRequest {
            request_id: id(),
            amount: Some(euro(micros)),
            ..Default::default()
        };
        self.api
            .credit_account(self.request(message))
            .await
            .unwrap();
    }

    pub(crate) async fn balance(&self) -> (i64, i64) {
        let message = pb::GetBalanceRequest {};
        let answer = self.api.get_balance(self.request(message)).await.unwrap();
        match answer.into_inner().balances.as_slice() {
            [] => (0, 0),
            [only] => (
                only.amount.as_ref().unwrap().micros,
                only.spend_per_hour.as_ref().unwrap().micros,
            ),
            several => panic!("{several:?}"),
        }
    }

    /// A request for any machine at [`PRICE`].
    pub(crate) fn wish(&self) -> pb::CreateLeaseRequest {
        pb::CreateLeaseRequest {
            request_id: id(),
            spec: Some(pb::LeaseSpec {
                max_price_per_hour: Some(euro(PRICE)),
                term: Some(seconds(7200)),
                display_name: "validator-1".to_owned(),
                ..Default::default()
            }),
        }
    }

    pub(crate) async fn create(
        &self,
        message: pb::CreateLeaseRequest,
    ) -> Result<pb::Lease, Status> {
        let answer = self.api.create_lease(self.request(message)).await?;
        Ok(answer.into_inner().lease.unwrap())
    }

    /// An active lease of so many seconds.
    pub(crate) async fn lease_of(&self, length: i64) -> pb::Lease {
        let mut wish = self.wish();
        wish.spec.as_mut().unwrap().term = Some(seconds(length));
        let lease = self.create(wish).await.unwrap();
        assert_eq!(state(&lease), State::Active, "{lease:?}");
        lease
    }

    /// An active lease.
    pub(crate) async fn lease(&self) -> pb::Lease {
        let lease = self.create(self.wish()).await.unwrap();
        assert_eq!(state(&lease), State::Active, "{lease:?}");
        lease
    }

    pub(crate) async fn get(&self, lease: &str) -> pb::Lease {
        let message = pb::GetLeaseRequest {
            lease_id: lease.to_owned(),
        };
        let answer = self.api.get_lease(self.request(message)).await.unwrap();
        answer.into_inner().lease.unwrap()
    }

    pub(crate) async fn list(&self, state: State) -> Vec<pb::Lease> {
        let message = pb::ListLeasesRequest {
            state: state.into(),
            ..Default::default()
        };
        let answer = self.api.list_leases(self.request(message)).await.unwrap();
        answer.into_inner().leases
    }

    pub(crate) async fn end(&self, lease: &str) -> Result<pb::Lease, Status> {
        let message = pb::EndLeaseRequest {
            request_id: id(),
            lease_id: lease.to_owned(),
            ..Default::default()
        };
        let answer = self.api.end_lease(self.request(message)).await?;
        Ok(answer.into_inner().lease.unwrap())
    }

    /// Does all the work that there is, as if nothing had to be waited for,
    /// until the lease is in a state.
    pub(crate) async fn until(&self, lease: &str, wanted: State) -> pb::Lease {
        for _ in 0..20 {
            let lease = self.get(lease).await;
            if state(&lease) == wanted {
                return lease;
            }
            self.turn().await;
        }
        panic!(
            "{lease} never became {wanted:?}: {:?}",
            self.get(lease).await
        );
    }

    /// One step, due or not.
    pub(crate) async fn turn(&self) {
        sqlx::query("update work set not_before = now()")
            .execute(&self.db)
            .await
            .unwrap();
        self.reconciler.turn().await.unwrap();
    }

    /// Lets time pass for all leases, and for what was told of them.
    pub(crate) async fn pass(&self, seconds: i64) {
        for shift in [
            "update lease set start_time = start_time - $1, expire_time = expire_time - $1,
                 charged_until = charged_until - $1, unpaid_since = unpaid_since - $1,
                 end_time = end_time - $1",
            "update account_event set occasion = occasion - $1, stop_time = stop_time - $1",
            "update balance set forecast_time = forecast_time - $1",
        ] {
            sqlx::query(shift)
                .bind(TimeDelta::seconds(seconds))
                .execute(&self.db)
                .await
                .unwrap();
        }
    }

    /// What the account was told, oldest first.
    pub(crate) async fn events(&self) -> Vec<pb::AccountEvent> {
        let message = pb::ListAccountEventsRequest::default();
        let request = self.request(message);
        let answer = self.api.list_account_events(request).await.unwrap();
        let mut events = answer.into_inner().events;
        events.reverse();
        events
    }

    /// The topics of those.
    pub(crate) async fn topics(&self) -> Vec<String> {
        let events = self.events().await;
        events.into_iter().map(|event| event.topic).collect()
    }

    /// The sum of the whole ledger, and of what this account was charged.
    pub(crate) async fn books(&self) -> (i64, i64) {
        sqlx::query_as(
            "select coalesce(sum(micros), 0)::bigint,
                    coalesce(-sum(micros) filter (
                        where book = 'account' and kind = 'charge' and account_id = $1), 0)::bigint
             from entry",
        )
        .bind(self.account)
        .fetch_one(&self.db)
        .await
        .unwrap()
    }
}

/// A schema of its own in the test's database.
async fn inventory_database(db: &PgPool) -> PgPool {
    sqlx::query("create schema inventory")
        .execute(db)
        .await
        .unwrap();
    let options = db.connect_options().as_ref().clone();
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .connect_with(options.options([("search_path", "inventory")]))
        .await
        .unwrap();
    berth_inventory::store::MIGRATIONS.run(&pool).await.unwrap();
    pool
}

pub(crate) fn state(lease: &pb::Lease) -> State {
    lease.status.as_ref().unwrap().state()
}

/// How many whole seconds the lease ran, and what it cost.
pub(crate) fn ran(lease: &pb::Lease) -> (i64, i64) {
    let status = lease.status.as_ref().unwrap();
    let nanos = |time: &prost_types::Timestamp| {
        i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
    };
    let ran = nanos(status.end_time.as_ref().unwrap()) - nanos(status.start_time.as_ref().unwrap());
    let seconds = i64::try_from(ran / 1_000_000_000).unwrap();
    (seconds, status.cost.as_ref().unwrap().micros)
}
