//! The signer, scripted: it keeps fences, grants and bindings by its rules, and can
//! be away, cut off or made to forget. It signs nothing, and says so.

use crate::outside::{Answer, World, unscripted};
use crate::support::{CHAIN, wish};
use berth_core::Error;
use berth_proto::provisioning::v1 as provisioning;
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::grant_service_server::GrantService;
use berth_proto::signing::v1::signing_service_server::SigningService;
use berth_proto::signing::v1::validator_status::State;
use berth_runtime::status::from_error;
use std::collections::BTreeMap;
use tonic::{Code, Request, Response, Status};

/// What only validators of the chain below have.
const VALIDATORS_ONLY: &str = r#"
[[components]]
name = "client"
roles = ["validator"]
image = { repository = "berth/test", tag = "1", digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111" }
command = ["--signer", "{signer.url}", "--fees", "{settings.fee_recipient}"]
user = "10001:10001"
memory = "256MiB"
cpu_millis = 500

[settings.fee_recipient]
type = "text"
help = "Who gets the fees of blocks"
pattern = "0x[0-9a-f]{40}"

[pinned]
genesis_validators_root = "0x0101010101010101010101010101010101010101010101010101010101010101"
genesis_time = "1700000000"
seconds_per_slot = "12"
preset = "minimal"
forks = "phase0 0 0x00000001, altair 0 0x01000001"
"#;

/// The chain of these tests whose validators sign through the signer.
pub(crate) fn chain() -> String {
    CHAIN.replace("\"testchain\"", "\"signchain\"") + VALIDATORS_ONLY
}

/// A public key, told apart by two digits.
pub(crate) fn key(digits: &str) -> String {
    format!("0x{}", digits.repeat(48))
}

/// A wish for a node of that chain with these validators.
pub(crate) fn wish_for(name: &str, keys: &[String]) -> provisioning::LaunchNodeRequest {
    let mut wish = wish(name);
    let spec = wish.spec.as_mut().unwrap();
    spec.chain = "signchain".to_owned();
    spec.set_role(provisioning::Role::Validator);
    spec.validators = keys.to_vec();
    let fees = ("fee_recipient".to_owned(), format!("0x{}", "fe".repeat(20)));
    spec.settings.extend([fees]);
    wish
}

/// What the signer was told.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Put(pb::PutChainRequest),
    Bind(pb::BindValidatorsRequest),
    Advance(pb::AdvanceFenceRequest),
    Grant(pb::GrantRequest),
}

impl Call {
    fn line(&self) -> String {
        match self {
            Self::Put(put) => format!("signer chain {}", put.chain.as_ref().unwrap().name),
            Self::Bind(bind) => {
                let count = bind.public_keys.len();
                format!("signer bind {count} under {}", bind.fence)
            }
            Self::Advance(advance) => format!("signer fence moves under {}", advance.fence),
            Self::Grant(grant) => format!("signer grant under {}", grant.fence),
        }
    }
}

/// A node, as the signer knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) fence: u64,
    pub(crate) granted: bool,
}

/// What it knows, and what it does next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signer {
    pub(crate) chains: BTreeMap<String, pb::SigningChain>,
    /// By public key.
    pub(crate) validators: BTreeMap<String, pb::Validator>,
    pub(crate) nodes: BTreeMap<String, Held>,
    /// Everything that had an effect or was refused for its fence.
    pub(crate) calls: Vec<Call>,
    /// Instead of an answer.
    pub(crate) refuse: Option<Status>,
}

impl Signer {
    /// Gives it a key.
    pub(crate) fn import(&mut self, key: &str) {
        let mut validator = pb::Validator {
            public_key: key.to_owned(),
            spec: Some(pb::ValidatorSpec {
                chain: "signchain".to_owned(),
                ..pb::ValidatorSpec::default()
            }),
            status: Some(pb::ValidatorStatus::default()),
            ..pb::Validator::default()
        };
        validator.status.as_mut().unwrap().set_state(State::Active);
        self.validators.insert(key.to_owned(), validator);
    }

    /// What it knows of a validator.
    pub(crate) fn status(&mut self, key: &str) -> &mut pb::ValidatorStatus {
        let validator = self.validators.get_mut(key).unwrap();
        validator.status.as_mut().unwrap()
    }

    /// The node and the fence under which a validator signs now.
    pub(crate) fn signs(&self, key: &str) -> Option<(String, u64)> {
        let node = self.validators[key].status.clone().unwrap().node_id;
        let held = self.nodes.get(&node).filter(|held| held.granted)?;
        Some((node, held.fence))
    }

    /// Does what a call asks, by the rules of the signer.
    pub(crate) fn apply(&mut self, call: &Call) -> Result<(), Status> {
        match call {
            Call::Put(put) => {
                let chain = put.chain.clone().unwrap();
                self.chains.insert(chain.name.clone(), chain);
                Ok(())
            }
            Call::Bind(bind) => self.bind(bind),
            Call::Advance(advance) => {
                let held = self.nodes.entry(advance.node_id.clone()).or_default();
                refuse_below(advance.fence, held.fence)?;
                if advance.fence > held.fence {
                    *held = Held {
                        fence: advance.fence,
                        granted: false,
                    };
                }
                Ok(())
            }
            Call::Grant(grant) => {
                let held = self.nodes.get_mut(&grant.node_id);
                let held = held.ok_or_else(|| Status::new(Code::NotFound, "no such node"))?;
                if grant.fence != held.fence {
                    return Err(fenced(grant.fence, held.fence));
                }
                held.granted = true;
                Ok(())
            }
        }
    }

    fn bind(&mut self, bind: &pb::BindValidatorsRequest) -> Result<(), Status> {
        let held = *self.nodes.entry(bind.node_id.clone()).or_default();
        refuse_below(bind.fence, held.fence)?;
        for key in &bind.public_keys {
            let Some(validator) = self.validators.get(key) else {
                return Err(Status::new(Code::NotFound, "no such validator"));
            };
            let node = &validator.status.as_ref().unwrap().node_id;
            if !node.is_empty() && *node != bind.node_id {
                let error = Error::precondition("VALIDATOR_BOUND", format!("{key} is of {node}"));
                return Err(from_error(&error));
            }
        }
        for (key, validator) in &mut self.validators {
            let status = validator.status.as_mut().unwrap();
            if bind.public_keys.contains(key) {
                status.node_id.clone_from(&bind.node_id);
            } else if status.node_id == bind.node_id {
                status.node_id.clear();
            }
        }
        Ok(())
    }
}

fn refuse_below(have: u64, want: u64) -> Result<(), Status> {
    if have < want {
        return Err(fenced(have, want));
    }
    Ok(())
}

fn fenced(have: u64, want: u64) -> Status {
    from_error(&Error::Fenced { have, want })
}

impl World {
    async fn told<T: Default>(&self, call: Call) -> Answer<T> {
        self.effect(&call.line(), || self.hear(&call)).await
    }

    fn hear<T: Default>(&self, call: &Call) -> Answer<T> {
        let mut known = self.known();
        if let Some(refusal) = &known.signer.refuse {
            return Err(refusal.clone());
        }
        if let Some(site) = &known.site {
            site.standing().log.push(call.line());
        }
        let done = known.signer.apply(call);
        known.signer.calls.push(call.clone());
        done.map(|()| Response::new(T::default()))
    }
}

#[tonic::async_trait]
impl GrantService for World {
    async fn put_chain(
        &self,
        request: Request<pb::PutChainRequest>,
    ) -> Answer<pb::PutChainResponse> {
        self.told(Call::Put(request.into_inner())).await
    }

    async fn bind_validators(
        &self,
        request: Request<pb::BindValidatorsRequest>,
    ) -> Answer<pb::BindValidatorsResponse> {
        self.told(Call::Bind(request.into_inner())).await
    }

    async fn advance_fence(
        &self,
        request: Request<pb::AdvanceFenceRequest>,
    ) -> Answer<pb::AdvanceFenceResponse> {
        self.told(Call::Advance(request.into_inner())).await
    }

    async fn grant(&self, request: Request<pb::GrantRequest>) -> Answer<pb::GrantResponse> {
        self.told(Call::Grant(request.into_inner())).await
    }
}

#[tonic::async_trait]
impl SigningService for World {
    async fn get_validator(
        &self,
        request: Request<pb::GetValidatorRequest>,
    ) -> Answer<pb::GetValidatorResponse> {
        let known = self.known();
        if let Some(refusal) = &known.signer.refuse {
            return Err(refusal.clone());
        }
        let key = request.into_inner().public_key;
        let validator = known.signer.validators.get(&key).cloned();
        if validator.is_none() {
            return Err(Status::new(Code::NotFound, "no such validator"));
        }
        Ok(Response::new(pb::GetValidatorResponse { validator }))
    }

    async fn get_sealing_key(
        &self,
        _: Request<pb::GetSealingKeyRequest>,
    ) -> Answer<pb::GetSealingKeyResponse> {
        unscripted()
    }

    async fn import_keys(
        &self,
        _: Request<pb::ImportKeysRequest>,
    ) -> Answer<pb::ImportKeysResponse> {
        unscripted()
    }

    async fn generate_keys(
        &self,
        _: Request<pb::GenerateKeysRequest>,
    ) -> Answer<pb::GenerateKeysResponse> {
        unscripted()
    }

    async fn list_validators(
        &self,
        _: Request<pb::ListValidatorsRequest>,
    ) -> Answer<pb::ListValidatorsResponse> {
        unscripted()
    }

    async fn update_validator(
        &self,
        _: Request<pb::UpdateValidatorRequest>,
    ) -> Answer<pb::UpdateValidatorResponse> {
        unscripted()
    }

    async fn disable_validator(
        &self,
        _: Request<pb::DisableValidatorRequest>,
    ) -> Answer<pb::DisableValidatorResponse> {
        unscripted()
    }

    async fn enable_validator(
        &self,
        _: Request<pb::EnableValidatorRequest>,
    ) -> Answer<pb::EnableValidatorResponse> {
        unscripted()
    }

    async fn export_protection(
        &self,
        _: Request<pb::ExportProtectionRequest>,
    ) -> Answer<pb::ExportProtectionResponse> {
        unscripted()
    }

    async fn import_protection(
        &self,
        _: Request<pb::ImportProtectionRequest>,
    ) -> Answer<pb::ImportProtectionResponse> {
        unscripted()
    }

    async fn sign_voluntary_exit(
        &self,
        _: Request<pb::SignVoluntaryExitRequest>,
    ) -> Answer<pb::SignVoluntaryExitResponse> {
        unscripted()
    }

    async fn remove_validator(
        &self,
        _: Request<pb::RemoveValidatorRequest>,
    ) -> Answer<pb::RemoveValidatorResponse> {
        unscripted()
    }
}
