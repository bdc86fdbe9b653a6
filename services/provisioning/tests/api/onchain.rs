//! What the chain knows of a validator, and exits that are handed in. The beacon
//! node is scripted: it keeps a validator and a pool by the chain's rules.

use crate::signer::{chain, key, wish_for};
use crate::site::Speaks;
use crate::support::{Whole, from, names_field, register_text, request_id};
use berth_core::AccountId;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_proto::provisioning::v1::validator_on_chain::State as OnChain;
use berth_provisioning::store::MIGRATIONS;
use sqlx::PgPool;
use std::sync::{Arc, Mutex};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The chain of these tests began in 2023, so that this lies ahead of any epoch now.
const AHEAD: u64 = 1 << 40;

/// What the beacon node has.
#[derive(Clone)]
struct Chain {
    key: String,
    status: &'static str,
    active_epochs: u64,
    pool: Vec<String>,
    /// Instead of taking an exit.
    refuses: Option<&'static str>,
    /// Instead of any answer.
    odd: Option<(u16, &'static str)>,
    posted: usize,
}

type Beacon = Arc<Mutex<Chain>>;

fn speaks(beacon: &Beacon) -> Speaks {
    let beacon = Arc::clone(beacon);
    Box::new(move |path, body| {
        let mut chain = beacon.lock().unwrap();
        if let Some((status, text)) = chain.odd {
            return (status, text.to_owned());
        }
        match (path.split('?').next().unwrap(), body) {
            ("/eth/v1/beacon/states/head/validators", None) => (200, chain.validator(path)),
            ("/eth/v1/config/spec", None) => {
                let epochs = chain.active_epochs;
                let spec = format!(r#"{{"data":{{"SHARD_COMMITTEE_PERIOD":"{epochs}"}}}}"#);
                (200, spec)
            }
            ("/eth/v1/beacon/pool/voluntary_exits", None) => {
                (200, format!(r#"{{"data":[{}]}}"#, chain.pool.join(",")))
            }
            ("/eth/v1/beacon/pool/voluntary_exits", Some(exit)) => {
                chain.posted += 1;
                if let Some(why) = chain.refuses {
                    return (400, why.to_owned());
                }
                if chain.pool.iter().any(|known| known == exit) {
                    return (500, "ALREADY_EXISTS".to_owned());
                }
                chain.pool.push(exit.to_owned());
                (200, String::new())
            }
            asked => panic!("{asked:?}"),
        }
    })
}

impl Chain {
    fn validator(&self, path: &str) -> String {
        if !path.ends_with(&self.key) {
            return r#"{"data":[]}"#.to_owned();
        }
        let far = u64::MAX;
        format!(
            r#"{{"data":[{{"index":"7","balance":"32000000001","status":"{}","validator":
            {{"pubkey":"{}","activation_epoch":"2","exit_epoch":"{far}",
            "withdrawable_epoch":"{far}"}}}}]}}"#,
            self.status, self.key
        )
    }
}

/// A node that runs with two validators, of which the chain knows the first.
async fn running(db: PgPool) -> (Whole, Beacon) {
    let all = Whole::new(db).await;
    let api = "\n[api]\nkind = \"ethereum-beacon\"\nport = \"rpc\"\n";
    register_text(&all.api, all.account, &(chain() + api))
        .await
        .unwrap();
    let beacon = Arc::new(Mutex::new(Chain {
        key: key("aa"),
        status: "active_ongoing",
        active_epochs: 64,
        pool: Vec::new(),
        refuses: None,
        odd: None,
        posted: 0,
    }));
    all.site.standing().speaks = Some(speaks(&beacon));
    launch(&all, "n1", &["aa", "bb"]).await;
    all.until_state("n1", State::Running).await;
    (all, beacon)
}

async fn launch(all: &Whole, name: &str, keys: &[&str]) {
    let keys: Vec<String> = keys.iter().map(|digits| key(digits)).collect();
    for key in &keys {
        all.world.known().signer.import(key);
    }
    let wish = wish_for(name, &keys);
    all.api.launch_node(from(all.account, wish)).await.unwrap();
}

fn exit(index: u64) -> String {
    let signature = "ab".repeat(96);
    format!(
        r#"{{"message":{{"epoch":"3","validator_index":"{index}"}},"signature":"0x{signature}"}}"#
    )
}

async fn look_up(
    all: &Whole,
    account: AccountId,
    key: String,
) -> Result<pb::ValidatorOnChain, Status> {
    let message = pb::GetValidatorOnChainRequest { public_key: key };
    let answer = all
        .api
        .get_validator_on_chain(from(account, message))
        .await?;
    Ok(answer.into_inner().validator.unwrap())
}

async fn publish(all: &Whole, signed_exit: String) -> Result<pb::ValidatorOnChain, Status> {
    let message = pb::PublishVoluntaryExitRequest {
        request_id: request_id(),
        public_key: key("aa"),
        signed_exit,
    };
    let asked = from(all.account, message);
    let answer = all.api.publish_voluntary_exit(asked).await?;
    Ok(answer.into_inner().validator.unwrap())
}

fn reason(refused: Result<pb::ValidatorOnChain, Status>) -> (String, String) {
    let status = refused.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let reason = status.get_details_error_info().unwrap().reason;
    (reason, status.message().to_owned())
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_exit_is_handed_in_once_and_known_afterwards(db: PgPool) {
    let (all, beacon) = running(db).await;
    let known = look_up(&all, all.account, key("AA").replace("0X", "0x"))
        .await
        .unwrap();
    assert_eq!((known.index, known.balance_gwei), (7, 32_000_000_001));
    assert_eq!(known.state(), OnChain::ActiveOngoing);
    assert_eq!(
        (known.earliest_exit_epoch, known.exit_epoch),
        (Some(66), None)
    );
    assert!(known.current_epoch > 600_000, "{known:?}");

    publish(&all, exit(7)).await.unwrap();
    assert_eq!(beacon.lock().unwrap().pool, [exit(7)]);
    // This node refuses what it has; its pool tells.
    publish(&all, exit(7)).await.unwrap();
    assert_eq!(beacon.lock().unwrap().posted, 2);
    beacon.lock().unwrap().status = "active_exiting";
    let known = publish(&all, exit(7)).await.unwrap();
    assert_eq!(known.state(), OnChain::ActiveExiting);
    let chain = beacon.lock().unwrap().clone();
    assert_eq!((chain.posted, chain.pool.len()), (2, 1));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_exit_that_the_chain_would_not_take_is_refused_by_name(db: PgPool) {
    let (all, beacon) = running(db).await;
    let change = |change: fn(&mut Chain)| change(&mut beacon.lock().unwrap());
    for (bad, field) in [("{}".to_owned(), "signed_exit"), (exit(8), "signed_exit")] {
        names_field(&publish(&all, bad).await.unwrap_err(), field);
    }
    change(|chain| chain.active_epochs = AHEAD);
    let (why, message) = reason(publish(&all, exit(7)).await);
    assert_eq!(why, "EXIT_TOO_EARLY");
    assert!(message.contains(&(AHEAD + 2).to_string()), "{message}");
    assert_eq!(beacon.lock().unwrap().posted, 0);

    change(|chain| {
        chain.active_epochs = 64;
        chain.refuses = Some("bad\nsignature");
    });
    let (why, message) = reason(publish(&all, exit(7)).await);
    assert_eq!(why, "EXIT_REFUSED");
    assert!(
        message.ends_with("answered 400: bad signature"),
        "{message}"
    );

    for odd in [(503, "syncing"), (200, "<html>"), (200, "{\"data\":7}")] {
        beacon.lock().unwrap().odd = Some(odd);
        assert_eq!(reason(publish(&all, exit(7)).await).0, "MACHINE_ERROR");
    }
    change(|chain| chain.odd = None);
    let unknown = look_up(&all, all.account, key("bb")).await;
    assert_eq!(reason(unknown).0, "NOT_ON_CHAIN");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn only_a_validator_of_ones_own_running_node_is_asked_for(db: PgPool) {
    let (all, _beacon) = running(db).await;
    let wrong = look_up(&all, all.account, "0x12".to_owned()).await;
    names_field(&wrong.unwrap_err(), "public_key");
    let nobodys = look_up(&all, all.account, key("cc")).await;
    let anothers = look_up(&all, AccountId::generate(), key("aa")).await;
    let (nobodys, anothers) = (reason(nobodys), reason(anothers));
    assert_eq!(nobodys.0, "VALIDATOR_UNBOUND");
    assert_eq!(nobodys, anothers);

    let message = pb::StopNodeRequest {
        request_id: request_id(),
        node_id: "n1".to_owned(),
    };
    all.api.stop_node(from(all.account, message)).await.unwrap();
    let (why, message) = reason(publish(&all, exit(7)).await);
    assert_eq!(why, "NODE_STATE");
    assert!(message.contains("`n1` is STOPPING"), "{message}");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_chain_without_an_api_says_so(db: PgPool) {
    let all = Whole::new(db).await;
    register_text(&all.api, all.account, &chain())
        .await
        .unwrap();
    launch(&all, "n1", &["aa"]).await;
    all.until_state("n1", State::Running).await;
    let refused = look_up(&all, all.account, key("aa")).await;
    assert_eq!(reason(refused).0, "NO_CHAIN_API");
}
