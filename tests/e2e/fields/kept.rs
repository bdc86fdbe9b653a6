//! What must be the same afterwards: every table, and the errors in the logs.

use berth_tests::{Berth, eventually};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Tables that change by themselves: work that is taken up again, and what is
/// written about requests that were admitted.
const RESTLESS: &[&str] = &["audit", "work"];

/// The database that Vault keeps what it knows in.
const VAULT: &str = "berth_openbao";

/// How long what was made may need to come to rest.
const REST: Duration = Duration::from_secs(30);

/// Waits until nothing moves, once nothing is left to be taken up by itself: leases
/// are charged, and nodes look for machines.
pub(super) fn quiet(berth: &Berth) {
    let mut before = everything(berth);
    eventually("everything is at rest", REST, || {
        for database in ["berth_leasing", "berth_monitoring", "berth_provisioning"] {
            let later = "update work set not_before = now() + interval '1 hour' \
                         where not_before < now() + interval '30 minutes' returning kind";
            let moved = berth.sql(database, later);
            if !moved.is_empty() {
                return Err(format!("work in {database}: {moved}"));
            }
        }
        let now = everything(berth);
        let moved: Vec<_> = now
            .iter()
            .filter(|(table, rows)| before.get(*table) != Some(*rows))
            .collect();
        let moved = format!("{moved:?}");
        let still = before == now;
        before = now;
        if still { Ok(()) } else { Err(moved) }
    });
}

/// Each table, with the number of its rows and a sum of what they hold.
pub(super) fn everything(berth: &Berth) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for database in berth.databases() {
        if database == VAULT {
            all.insert("secrets".to_owned(), secrets(berth));
            continue;
        }
        let tables = "select tablename from pg_tables where schemaname = 'public' order by 1";
        let tables = berth.sql(&database, tables);
        let tables = tables.lines().filter(|table| !RESTLESS.contains(table));
        let each = tables.map(|table| {
            format!(
                "select '{table}', count(*), md5(coalesce(string_agg(t::text, ',' order by t::text), '')) \
                 from \"{table}\" t"
            )
        });
        let each: Vec<String> = each.collect();
        for line in berth.sql(&database, &each.join(" union all ")).lines() {
            let (table, rows) = line.split_once('|').expect("two columns");
            all.insert(format!("{database}.{table}"), rows.to_owned());
        }
    }
    all
}

/// How many secrets and versions of them Vault has, and a sum of what they are,
/// encrypted: whatever is written is encrypted anew. Certificates and tokens are not
/// among them, since they are renewed by themselves.
fn secrets(berth: &Berth) -> String {
    let table = "select table_name from information_schema.columns \
                 where column_name = 'parent_path'";
    let table = berth.sql(VAULT, table);
    let rows = format!(
        "select count(*), md5(string_agg(path || key || md5(value), ',' order by path, key)) \
         from \"{}\" where path ~ '/logical/.*/(metadata|versions)/'",
        table.trim()
    );
    let rows = berth.sql(VAULT, &rows);
    assert!(
        !rows.starts_with("0|"),
        "Vault has no secrets: look elsewhere"
    );
    rows
}

/// Every line of a log that a person must look at.
pub(super) fn errors(berth: &Berth) -> Vec<String> {
    let logs = fs::read_dir(berth.dir().join("logs")).unwrap();
    let mut all = Vec::new();
    for path in logs.map(|entry| entry.unwrap().path()) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let found = text.lines().filter(|line| line.contains(" ERROR "));
        all.extend(found.map(|line| format!("{}: {line}", path.display())));
    }
    all
}
