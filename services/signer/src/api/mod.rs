//! The signer's gRPC API: one method an rpc, each a single call.

mod convert;
mod custody;
mod exits;
mod grants;
mod keys;
mod protection;
mod validators;

use crate::Present;
use crate::keyring::Keyring;
use crate::keys::Keys;
use crate::sealing::{NoSealingKey, SealingKey};
use berth_core::{Error, Result};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::grant_service_server::GrantService;
use berth_proto::signing::v1::signing_service_server::SigningService;
use berth_runtime::{pg, status};
use berth_secrets::Vault;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use std::sync::Arc;
use tokio::sync::OnceCell;
use tonic::{Request, Response, Status};

/// Serves the API from a database and a Vault.
#[derive(Clone)]
pub struct Api {
    db: PgPool,
    vault: Vault,
    keys: Keys,
    sealing: Arc<OnceCell<SealingKey>>,
    present: Present,
}

impl Api {
    /// Serves what this database keeps, with keys of this Vault and keyring.
    #[must_use]
    pub fn new(db: PgPool, vault: Vault, keyring: Arc<Keyring>, present: Present) -> Self {
        Self {
            keys: Keys::new(db.clone(), keyring),
            db,
            vault,
            sealing: Arc::default(),
            present,
        }
    }

    /// Where keys come in, for the other listeners of this process.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    async fn connection(&self) -> Result<PoolConnection<Postgres>> {
        self.db.acquire().await.map_err(pg::error)
    }

    /// What owners seal to; read once.
    async fn sealing(&self) -> Result<&SealingKey> {
        let obtained = self
            .sealing
            .get_or_try_init(|| SealingKey::obtain(&self.vault));
        obtained.await.map_err(|error| match error {
            NoSealingKey::Vault(_) => Error::unavailable(error),
            NoSealingKey::Damaged | NoSealingKey::Refused => Error::internal(error),
        })
    }

    /// The present, in Unix seconds.
    fn now(&self) -> Result<u64> {
        (self.present)()
            .map_err(|refusal| Error::precondition(refusal.reason.name(), refusal.to_string()))
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrantService for Api {
    async fn put_chain(
        &self,
        request: Request<pb::PutChainRequest>,
    ) -> Answer<pb::PutChainResponse> {
        status::reply(grants::put_chain(self, request).await)
    }

    async fn bind_validators(
        &self,
        request: Request<pb::BindValidatorsRequest>,
    ) -> Answer<pb::BindValidatorsResponse> {
        status::reply(grants::bind(self, request).await)
    }

    async fn advance_fence(
        &self,
        request: Request<pb::AdvanceFenceRequest>,
    ) -> Answer<pb::AdvanceFenceResponse> {
        status::reply(grants::advance(self, request).await)
    }

    async fn grant(&self, request: Request<pb::GrantRequest>) -> Answer<pb::GrantResponse> {
        status::reply(grants::grant(self, request).await)
    }
}

#[tonic::async_trait]
impl SigningService for Api {
    async fn get_sealing_key(
        &self,
        request: Request<pb::GetSealingKeyRequest>,
    ) -> Answer<pb::GetSealingKeyResponse> {
        status::reply(keys::sealing_key(self, request).await)
    }

    async fn import_keys(
        &self,
        request: Request<pb::ImportKeysRequest>,
    ) -> Answer<pb::ImportKeysResponse> {
        status::reply(keys::import(self, request).await)
    }

    async fn generate_keys(
        &self,
        request: Request<pb::GenerateKeysRequest>,
    ) -> Answer<pb::GenerateKeysResponse> {
        status::reply(keys::generate(self, request).await)
    }

    async fn get_validator(
        &self,
        request: Request<pb::GetValidatorRequest>,
    ) -> Answer<pb::GetValidatorResponse> {
        status::reply(validators::get(self, request).await)
    }

    async fn list_validators(
        &self,
        request: Request<pb::ListValidatorsRequest>,
    ) -> Answer<pb::ListValidatorsResponse> {
        status::reply(validators::list(self, request).await)
    }

    async fn update_validator(
        &self,
        request: Request<pb::UpdateValidatorRequest>,
    ) -> Answer<pb::UpdateValidatorResponse> {
        status::reply(validators::update(self, request).await)
    }

    async fn disable_validator(
        &self,
        request: Request<pb::DisableValidatorRequest>,
    ) -> Answer<pb::DisableValidatorResponse> {
        status::reply(validators::disable(self, request).await)
    }

    async fn enable_validator(
        &self,
        request: Request<pb::EnableValidatorRequest>,
    ) -> Answer<pb::EnableValidatorResponse> {
        status::reply(validators::enable(self, request).await)
    }

    async fn remove_validator(
        &self,
        request: Request<pb::RemoveValidatorRequest>,
    ) -> Answer<pb::RemoveValidatorResponse> {
        status::reply(validators::remove(self, request).await)
    }

    async fn export_protection(
        &self,
        request: Request<pb::ExportProtectionRequest>,
    ) -> Answer<pb::ExportProtectionResponse> {
        status::reply(protection::export(self, request).await)
    }

    async fn import_protection(
        &self,
        request: Request<pb::ImportProtectionRequest>,
    ) -> Answer<pb::ImportProtectionResponse> {
        status::reply(protection::import(self, request).await)
    }

    async fn sign_voluntary_exit(
        &self,
        request: Request<pb::SignVoluntaryExitRequest>,
    ) -> Answer<pb::SignVoluntaryExitResponse> {
        status::reply(exits::sign(self, request).await)
    }
}
