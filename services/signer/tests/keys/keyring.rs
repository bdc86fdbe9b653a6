//! Keys at rest in a real Vault, and in memory.

use crate::made::{key, public_key};
use crate::vault::Server;
use berth_secrets::SignerPath;
use berth_signer::domain::Root;
use berth_signer::keyring::{Expected, KeyError, Keyring, Report, Stored};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::JoinSet;
use uuid::Uuid;

const DATABASE: Uuid = Uuid::from_u128(1);
const ANOTHER: Uuid = Uuid::from_u128(2);

fn keys(numbers: impl IntoIterator<Item = u8>) -> Expected {
    let held = numbers.into_iter().map(|number| (public_key(number), 0));
    Expected {
        held: held.collect(),
        withdrawn: BTreeMap::new(),
    }
}

/// Puts a record in a key's place that no signer wrote.
async fn forge(server: &Server, number: u8, fields: &[(&str, &str)]) {
    let vault = server.login("signer").await;
    let path = SignerPath::validator(&public_key(number).0);
    let fields: BTreeMap<_, _> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    vault.destroy_record(&path).await.unwrap();
    let written = vault.write_record(&path, &fields, 0).await.unwrap();
    assert_eq!(written, Some(1));
}

async fn ciphertext(server: &Server, number: u8) -> String {
    let path = SignerPath::validator(&public_key(number).0);
    let record = server
        .login("signer")
        .await
        .read_record(&path)
        .await
        .unwrap();
    record.unwrap().fields["ciphertext"].clone()
}

#[tokio::test]
async fn a_key_that_one_replica_stored_another_loads_and_signs_with() {
    let server = Server::start().await;
    let one = Keyring::new(server.login("signer").await, DATABASE);
    let other = Keyring::new(server.login("signer").await, DATABASE);
    assert_eq!(one.store(&key(1)).await, Ok(Stored::New));
    assert!(one.get(&public_key(1)).is_none());
    assert!(other.get(&public_key(1)).is_none());
    let report = other.load(&keys([1])).await;
    assert_eq!((report.expected, report.loaded), (1, 1));
    assert_eq!(other.report(), report);
    let root = Root([7; 32]);
    let signature = other.get(&public_key(1)).unwrap().sign(&root);
    assert!(public_key(1).signed(&root, &signature));
}

#[tokio::test]
async fn one_bad_key_does_not_stop_the_rest() {
    let server = Server::start().await;
    let ring = Keyring::new(server.login("signer").await, DATABASE);
    for number in 1..=25 {
        ring.store(&key(number)).await.unwrap();
    }
    let (mine, elsewhere) = (DATABASE.to_string(), ANOTHER.to_string());
    let (first, sound) = (ciphertext(&server, 1).await, ciphertext(&server, 25).await);
    let torn = &first[..first.len() - 8];
    forge(&server, 1, &[("database_id", &mine), ("ciphertext", torn)]).await;
    forge(
        &server,
        2,
        &[("database_id", &elsewhere), ("ciphertext", "x")],
    )
    .await;
    // Another key's ciphertext, and one of another database, moved here.
    forge(
        &server,
        3,
        &[("database_id", &mine), ("ciphertext", &sound)],
    )
    .await;
    forge(&server, 4, &[("ciphertext", &sound)]).await;
    forge(&server, 5, &[("database_id", &mine)]).await;
    let fresh = Keyring::new(server.login("signer").await, DATABASE);
    let report = fresh.load(&keys(1..=26)).await;
    assert_eq!((report.expected, report.loaded), (26, 20));
    let problem = |number| &report.problems[&public_key(number)];
    for number in [1, 3, 4, 5] {
        let problem = problem(number);
        assert!(
            matches!(problem, KeyError::Damaged(_)),
            "{number}: {problem}"
        );
    }
    assert_eq!(*problem(2), KeyError::AnotherDatabase(elsewhere));
    assert_eq!(*problem(26), KeyError::Missing);
    for number in 6..=25 {
        assert!(fresh.get(&public_key(number)).is_some(), "{number}");
    }
}

#[tokio::test]
async fn two_signers_on_two_databases_cannot_both_hold_a_key() {
    let server = Server::start().await;
    let one = Keyring::new(server.login("signer").await, DATABASE);
    let other = Keyring::new(server.login("signer").await, ANOTHER);
    one.store(&key(1)).await.unwrap();
    let held = KeyError::AnotherDatabase(DATABASE.to_string());
    assert_eq!(other.store(&key(1)).await, Err(held.clone()));
    assert_eq!(other.remove(&public_key(1)).await, Err(held.clone()));
    let report = other.load(&keys([1])).await;
    assert_eq!(report.problems, [(public_key(1), held)].into());
    assert!(other.get(&public_key(1)).is_none());
    // The record may be rewritten; what it holds stays bound to its database.
    let moved = ciphertext(&server, 1).await;
    let claimed = [
        ("database_id", &*ANOTHER.to_string()),
        ("ciphertext", &moved),
    ];
    forge(&server, 1, &claimed).await;
    let report = other.load(&keys([1])).await;
    assert!(matches!(
        report.problems[&public_key(1)],
        KeyError::Damaged(_)
    ));
    other.remove(&public_key(1)).await.unwrap();
    assert_eq!(other.store(&key(1)).await, Ok(Stored::New));
}

#[tokio::test]
async fn of_two_databases_that_store_a_key_at_once_one_holds_it() {
    let server = Server::start().await;
    let mut stores = JoinSet::new();
    for number in 0..16 {
        let database = if number % 2 == 0 { DATABASE } else { ANOTHER };
        let ring = Keyring::new(server.login("signer").await, database);
        stores.spawn(async move { (database, ring.store(&key(1)).await) });
    }
    let outcomes = stores.join_all().await;
    let holders: BTreeSet<_> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.is_ok())
        .map(|(database, _)| *database)
        .collect();
    let new = |(_, outcome): &&(Uuid, _)| *outcome == Ok(Stored::New);
    assert_eq!(holders.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(new).count(), 1, "{outcomes:?}");
    let refused =
        |(_, outcome): &&(Uuid, Result<_, _>)| matches!(outcome, Err(KeyError::AnotherDatabase(_)));
    assert_eq!(outcomes.iter().filter(refused).count(), 8, "{outcomes:?}");
}

#[tokio::test]
async fn what_is_no_longer_expected_is_dropped_and_what_is_removed_is_gone() {
    let server = Server::start().await;
    let ring = Keyring::new(server.login("signer").await, DATABASE);
    for number in 1..=3 {
        ring.store(&key(number)).await.unwrap();
    }
    ring.load(&keys([2, 3])).await;
    assert!(ring.get(&public_key(1)).is_none());
    for _ in 0..2 {
        ring.remove(&public_key(2)).await.unwrap();
        assert!(ring.get(&public_key(2)).is_none());
    }
    let report = ring.load(&keys([1, 2, 3])).await;
    let wanted = Report {
        expected: 3,
        loaded: 2,
        problems: [(public_key(2), KeyError::Missing)].into(),
    };
    assert_eq!(report, Arc::new(wanted));
}

#[tokio::test]
async fn without_vault_what_is_loaded_stays_and_the_rest_is_reported() {
    let server = Server::start().await;
    let ring = Keyring::new(server.login("signer").await, DATABASE);
    ring.store(&key(1)).await.unwrap();
    ring.load(&keys([1])).await;
    server.stop().await;
    let report = ring.load(&keys(1..=100)).await;
    assert_eq!((report.expected, report.loaded), (100, 1));
    assert!(ring.get(&public_key(1)).is_some());
    for problem in report.problems.values() {
        assert!(matches!(problem, KeyError::Vault(_)), "{problem:?}");
    }
    assert!(matches!(ring.store(&key(2)).await, Err(KeyError::Vault(_))));
    assert!(ring.get(&public_key(2)).is_none());
}

#[tokio::test]
async fn a_keyring_shows_no_key() {
    let server = Server::start().await;
    let ring = Keyring::new(server.login("signer").await, DATABASE);
    ring.store(&key(1)).await.unwrap();
    ring.load(&keys([1])).await;
    let shown = format!("{ring:?}");
    assert!(shown.contains("SigningKey(REDACTED)"), "{shown}");
    assert!(
        !ciphertext(&server, 1)
            .await
            .contains(&hex::encode(*key(1).to_bytes()))
    );
}

#[tokio::test]
async fn a_withdrawn_key_is_dropped_until_its_row_is_released_up_to_that() {
    let server = Server::start().await;
    let ring = Keyring::new(server.login("signer").await, DATABASE);
    let another = Keyring::new(server.login("signer").await, ANOTHER);
    for number in 1..=2 {
        ring.store(&key(number)).await.unwrap();
    }
    another.store(&key(3)).await.unwrap();
    // Written twice, and for a key that another database has as well.
    for number in [1, 2, 1, 2] {
        let key = public_key(1);
        ring.withdrawals().remember(&key, number).await.unwrap();
    }
    ring.withdrawals()
        .remember(&public_key(3), 1)
        .await
        .unwrap();
    assert_eq!(another.load(&keys([3])).await.loaded, 1);
    for (released, loaded) in [(0, 1), (1, 1), (2, 2), (1, 1)] {
        let mut expected = keys([1, 2]);
        expected.held.insert(public_key(1), released);
        let report = ring.load(&expected).await;
        assert_eq!(report.loaded, loaded, "released up to {released}");
        let problem = (released < 2).then_some(&KeyError::Withdrawn);
        assert_eq!(report.problems.get(&public_key(1)), problem);
        assert_eq!(ring.get(&public_key(1)).is_some(), released == 2);
    }
}

#[tokio::test]
async fn what_was_withdrawn_while_vault_was_away_is_remembered_at_the_next_load() {
    let server = Server::start().await;
    let ring = Keyring::new(server.login("signer").await, DATABASE);
    let expected = Expected {
        withdrawn: [(public_key(1), 0), (public_key(2), 3)].into(),
        ..Expected::default()
    };
    for _ in 0..2 {
        ring.load(&expected).await;
        let known = ring.withdrawals().all().await.unwrap();
        assert_eq!(known, [(public_key(1), 1), (public_key(2), 4)].into());
    }
}
