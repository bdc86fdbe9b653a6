//! Launching validators: what is refused before anything is written.

use crate::signer::{chain, key, wish_for};
use crate::support::{Alone, Whole, from, get, names_field, register_text};
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_proto::signing::v1::validator_status::State as ValidatorState;
use berth_provisioning::store::MIGRATIONS;
use sqlx::PgPool;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

async fn refused(all: &Whole, wish: pb::LaunchNodeRequest) -> Status {
    let refused = all.api.launch_node(from(all.account, wish)).await;
    let none = get(&all.api, all.account, "n1").await;
    assert_eq!(none.unwrap_err().code(), Code::NotFound);
    refused.unwrap_err()
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn validators_that_cannot_sign_there_are_named_all_at_once(db: PgPool) {
    let all = Whole::new(db).await;
    register_text(&all.api, all.account, &chain())
        .await
        .unwrap();
    {
        let signer = &mut all.world.known().signer;
        for digits in ["aa", "bb", "cc", "dd"] {
            signer.import(&key(digits));
        }
        signer.status(&key("bb")).node_id = "node-1".to_owned();
        signer.status(&key("cc")).set_state(ValidatorState::Removed);
        let other = signer.validators.get_mut(&key("dd")).unwrap();
        other.spec.as_mut().unwrap().chain = "testchain".to_owned();
    }
    let keys = ["aa", "bb", "cc", "dd", "ee"].map(key);
    let wrong = refused(&all, wish_for("n1", &keys)).await;
    let problems = wrong.get_details_bad_request().unwrap().field_violations;
    let problems: Vec<_> = problems
        .iter()
        .map(|one| (one.field.as_str(), one.description.as_str()))
        .collect();
    assert_eq!(
        problems,
        [
            (
                "spec.validators[1]",
                "signs on node-1; retire that node first"
            ),
            ("spec.validators[2]", "was removed, and its key with it"),
            ("spec.validators[3]", "is a validator of chain `testchain`"),
            (
                "spec.validators[4]",
                "is not with the signer; import its key"
            ),
        ]
    );
    let malformed = ["0x12".to_owned(), key("aa"), key("AA")];
    let wrong = refused(&all, wish_for("n1", &malformed)).await;
    names_field(&wrong, "spec.validators[0]");
    names_field(&wrong, "spec.validators[2]");
    let many: Vec<_> = (0..1001).map(|n| format!("0x{n:096x}")).collect();
    names_field(
        &refused(&all, wish_for("n1", &many)).await,
        "spec.validators",
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_role_that_cannot_sign_is_refused_with_its_reason(db: PgPool) {
    let all = Whole::new(db).await;
    register_text(&all.api, all.account, &chain())
        .await
        .unwrap();
    all.world.known().signer.import(&key("aa"));
    let wish = || wish_for("n1", &[key("aa")]);
    names_field(&refused(&all, wish_for("n1", &[])).await, "spec.validators");

    let mut full = wish();
    full.spec.as_mut().unwrap().set_role(pb::Role::Full);
    names_field(&refused(&all, full).await, "spec.validators");

    let mut free = wish();
    free.spec.as_mut().unwrap().settings.clear();
    let wrong = refused(&all, free).await;
    names_field(&wrong, "spec.settings.fee_recipient");

    let mut unpinned = wish();
    let spec = unpinned.spec.as_mut().unwrap();
    spec.chain = "testchain".to_owned();
    spec.settings.clear();
    let wrong = refused(&all, unpinned).await;
    assert_eq!(reason(&wrong), "CHAIN_NOT_LAUNCHABLE");
    assert!(wrong.message().contains("lacks genesis_validators_root"));

    let local = chain().replace("\"signchain\"", "\"localchain\"");
    let local = local
        .replace(
            "custody = \"remote-signer\"",
            "custody = \"external-state\"",
        )
        .replace("\"--signer\", \"{signer.url}\", ", "");
    register_text(&all.api, all.account, &local).await.unwrap();
    let mut by_hand = wish();
    by_hand.spec.as_mut().unwrap().chain = "localchain".to_owned();
    let wrong = refused(&all, by_hand).await;
    assert_eq!(wrong.code(), Code::FailedPrecondition);
    assert!(wrong.message().contains("on the machine"), "{wrong:?}");

    all.world.known().signer.refuse = Some(Status::new(Code::Unavailable, "as scripted"));
    let wrong = refused(&all, wish()).await;
    assert_eq!(wrong.code(), Code::Unavailable);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn without_a_signer_no_validator_is_launched(db: PgPool) {
    let all = Alone::new(db).await;
    register_text(&all.api, all.account, &chain())
        .await
        .unwrap();
    let wish = wish_for("n1", &[key("aa")]);
    let refused = all.api.launch_node(from(all.account, wish)).await;
    assert_eq!(reason(&refused.unwrap_err()), "ROLE_NOT_AVAILABLE");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_chain_is_known_to_the_signer_once_it_is_registered(db: PgPool) {
    let all = Whole::new(db).await;
    assert!(all.world.known().signer.chains.is_empty());
    all.world.known().signer.refuse = Some(Status::new(Code::Unavailable, "as scripted"));
    let wrong = register_text(&all.api, all.account, &chain()).await;
    assert_eq!(wrong.unwrap_err().code(), Code::Unavailable);
    all.world.known().signer.refuse = None;
    register_text(&all.api, all.account, &chain())
        .await
        .unwrap();
    assert!(all.world.known().signer.chains.contains_key("signchain"));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_launch_that_is_repeated_finds_its_own_node(db: PgPool) {
    let all = Whole::new(db).await;
    register_text(&all.api, all.account, &chain())
        .await
        .unwrap();
    all.world.known().signer.import(&key("aa"));
    let wish = wish_for("n1", &[key("aa")]);
    let launch = async || {
        let answer = all.api.launch_node(from(all.account, wish.clone())).await;
        answer.unwrap().into_inner().node.unwrap().id
    };
    let first = launch().await;
    all.until_state("n1", State::Running).await;
    assert_eq!(launch().await, first);
    let mut again = wish.clone();
    again.request_id = crate::support::request_id();
    again.name = "n2".to_owned();
    let wrong = all.api.launch_node(from(all.account, again)).await;
    names_field(&wrong.unwrap_err(), "spec.validators[0]");
}
