//! What a control plane stands on, Vault and Postgres, taken away while there is
//! work. One control plane lives through all of it; each row says its name
//! before it begins.

use crate::{LAUNCH, launch};
use berth_tests::{Berth, Shape, Sight, eventually};
use serde_json::Value;

/// What the client exits with when it is worth another try.
const AGAIN: Option<i32> = Some(7);
/// The node that lives through it.
const NODE: &str = "patient";

#[test]
fn work_waits_for_vault_and_postgres_and_goes_on_by_itself() {
    let mut berth = Berth::start_on_small_disk(Shape {
        machines: 1,
        replicas: 1,
    });
    berth.register(Berth::COSMOS);
    berth.row("Vault is sealed", vault_is_sealed);
    berth.row("Postgres is killed", postgres_is_killed);
    berth.row("the disk of Postgres is full", the_disk_is_full);
    berth.row("a lease ends while Vault is sealed", a_lease_ends);
    berth.stop();
}

fn vault_is_sealed(berth: &Berth) {
    berth.seal_vault();
    launch(berth, NODE);
    eventually("the node says why it waits", LAUNCH, || {
        let status = berth.node(NODE)["status"].take();
        let reason = status["statusReason"].as_str().unwrap_or_default();
        if reason.contains("is sealed") {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    // It is unsealed when it is started again.
    berth.kill_vault();
    berth.node_becomes(NODE, "STATE_RUNNING", LAUNCH);
    berth.node_is_healthy(NODE, LAUNCH);
}

fn postgres_is_killed(berth: &Berth) {
    let mut told = Told::of(berth);
    assert!(told.credit(berth), "it takes a credit");
    berth.kill_postgres();
    // While it is away, and until it is back.
    eventually("credits are taken again", LAUNCH, || {
        if told.credit(berth) {
            Ok(())
        } else {
            Err(told.said.clone())
        }
    });
    told.is_kept(berth);
    berth.node_is_healthy(NODE, LAUNCH);
    berth.node_becomes(NODE, "STATE_RUNNING", LAUNCH);
}

fn the_disk_is_full(berth: &Berth) {
    let mut told = Told::of(berth);
    berth.fill_postgres_disk(true);
    // What has its place on the disk already is still taken.
    let refused = (0..500).any(|_| !told.credit(berth));
    assert!(refused, "a disk without room takes no end of rows");
    berth.fill_postgres_disk(false);
    eventually("credits are taken again", LAUNCH, || {
        if told.credit(berth) {
            Ok(())
        } else {
            Err(told.said.clone())
        }
    });
    told.is_kept(berth);
    berth.node_is_healthy(NODE, LAUNCH);
    berth.node_becomes(NODE, "STATE_RUNNING", LAUNCH);
}

/// The node is fenced and its lease paid without Vault; the machine, where its
/// containers still run, is free to nobody before it was wiped.
fn a_lease_ends(berth: &Berth) {
    let status = berth.node(NODE)["status"].take();
    let lease_id = status["leaseId"].as_str().unwrap();
    let machine_id = status["placement"]["machineId"].as_str().unwrap();
    let computer = berth.computer(machine_id);
    berth.seal_vault();
    // A session that stands needs no certificate: through it the wipe would go on.
    computer.run(&["pkill", "-f", "^sshd: berth"]).unwrap();
    // No term is short enough for a test, so its end is moved in the database.
    let id = lease_id.trim_start_matches("lease-");
    let ends = format!(
        "update lease set expire_time = clock_timestamp() where id = '{id}' returning state"
    );
    assert_eq!(berth.sql("berth_leasing", &ends), "active");

    let failed = berth.node_becomes(NODE, "STATE_FAILED", LAUNCH)["status"].take();
    let reason = failed["statusReason"].as_str().unwrap();
    assert!(reason.starts_with("lease ended: "), "{reason}");
    assert_eq!(failed["placement"]["state"], "STATE_FENCED", "{failed}");
    let lease = is_closed(berth, lease_id);
    assert_eq!(lease["closeReason"], "CLOSE_REASON_EXPIRED", "{lease}");
    let paid = format!("{}|t", lease["cost"]["micros"].as_str().unwrap());
    assert_eq!(charged(berth, id), paid, "{lease}");

    machine_becomes(berth, machine_id, "STATE_WIPING", "is sealed");
    let sight = Sight::of(&computer);
    assert_eq!(sight.containers.len(), 2, "{sight:?}");
    berth.kill_vault();
    machine_becomes(berth, machine_id, "STATE_AVAILABLE", "");
    assert_eq!(Sight::of(&computer), Sight::default(), "it is clean");
    assert_eq!(
        is_closed(berth, lease_id),
        lease,
        "nothing was charged since"
    );
    assert_eq!(charged(berth, id), paid);
}

/// Waits until a lease is over, and returns its status.
fn is_closed(berth: &Berth, lease_id: &str) -> Value {
    eventually("the lease is closed", LAUNCH, || {
        let status = berth.run(&["lease", "show", lease_id])["lease"]["status"].take();
        if status["state"] == "STATE_CLOSED" {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
}

/// Waits until a machine is in a state, for a reason with these words.
fn machine_becomes(berth: &Berth, machine_id: &str, state: &str, words: &str) {
    eventually(&format!("the machine is {state}"), LAUNCH, || {
        let status = berth.machine(machine_id)["status"].take();
        let reason = status["statusReason"].as_str().unwrap_or_default();
        if status["state"] == state && reason.contains(words) {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

/// What a lease took from the account, and whether that is of all its seconds and
/// no more.
fn charged(berth: &Berth, lease: &str) -> String {
    let statement = format!(
        "select (select -sum(micros) from entry where lease_id = lease.id and book = 'account'), \
                expire_time - charged_until >= '0 s' and expire_time - charged_until < '1 s' \
         from lease where id = '{lease}'"
    );
    berth.sql("berth_leasing", &statement)
}

/// What the account has, by the answers that came.
struct Told {
    before: i64,
    taken: i64,
    /// Nobody knows of those whose answer was a loss.
    unknown: i64,
    said: String,
}

impl Told {
    fn of(berth: &Berth) -> Self {
        Self {
            before: balance(berth),
            taken: 0,
            unknown: 0,
            said: String::new(),
        }
    }

    /// Whether a credit of one is taken; else it is worth another try.
    fn credit(&mut self, berth: &Berth) -> bool {
        let answer = berth.ask(&["account", "credit", "1.00 EUR"]);
        self.said = answer.said;
        if answer.code == Some(0) {
            self.taken += 1;
            return true;
        }
        assert_eq!(answer.code, AGAIN, "{}", self.said);
        self.unknown += 1;
        false
    }

    /// Nothing that was acknowledged is lost, and nothing was taken twice.
    fn is_kept(&self, berth: &Berth) {
        let grown = balance(berth) - self.before;
        let bounds = self.taken..=self.taken + self.unknown;
        assert!(bounds.contains(&grown), "{grown} of {bounds:?}");
    }
}

/// All that was ever credited, in whole units.
fn balance(berth: &Berth) -> i64 {
    let statement = "select coalesce(sum(micros), 0)::bigint / 1000000 from entry \
                     where kind = 'credit' and book = 'account'";
    berth.sql("berth_leasing", statement).parse().unwrap()
}
