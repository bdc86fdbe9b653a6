//! What each layer of a service may name: `domain` decides, `store` keeps,
//! `api` and `reconcile` connect the two.

use crate::none;
use crate::tree::{File, files, product, says};

/// Crates below `services/` that are no services: they have no layers.
const NOT_SERVICES: &[&str] = &["berth", "core", "input", "process", "runtime", "secrets"];

/// A rule: where it holds, the words that break it, why, and the way out.
struct Rule {
    holds: fn(&str) -> bool,
    words: &'static [&'static str],
    fix: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        holds: |path| layer(path) == Some("domain"),
        words: &["tonic", "berth_proto", "prost", "http"],
        fix: "domain knows no transport; convert in api/convert.rs",
    },
    Rule {
        holds: |path| layer(path) == Some("domain"),
        words: &["async", ".await", "tokio", "berth_secrets", "reqwest"],
        fix: "domain does no I/O; take the value as an argument and return a decision",
    },
    Rule {
        holds: |path| layer(path) == Some("domain"),
        words: &["now()", "SystemTime", "Instant"],
        fix: "domain has no clock; take the time as an argument",
    },
    Rule {
        holds: |path| layer(path) == Some("domain"),
        words: &[
            "PgConnection",
            "PgPool",
            "sqlx::query",
            "crate::store",
            "crate::api",
            "crate::reconcile",
        ],
        fix: "domain stands below the other layers; let them call it",
    },
    Rule {
        holds: |path| layer(path) == Some("store"),
        words: &[
            "tonic",
            "berth_proto",
            "prost",
            "crate::api",
            "crate::reconcile",
        ],
        fix: "store knows the database and the domain only; convert above it",
    },
    Rule {
        holds: |path| in_service(path) && layer(path) != Some("store"),
        words: &[
            "sqlx::query",
            "sqlx::query_as",
            "sqlx::query_scalar",
            "query_as",
            "query_scalar",
            "QueryBuilder",
            "raw_sql",
        ],
        fix: "SQL stands in store/ only; write a function there that takes &mut PgConnection",
    },
    Rule {
        holds: |path| path.starts_with("services/provisioning/src/domain/plan"),
        words: &["berth_provisioner"],
        fix: "the plan is made of our own values; carry it out in reconcile/",
    },
];

fn in_service(path: &str) -> bool {
    service(path).is_some()
}

/// The path below `src/` of a service.
fn service(path: &str) -> Option<&str> {
    let (name, rest) = path.strip_prefix("services/")?.split_once('/')?;
    (!NOT_SERVICES.contains(&name)).then_some(())?;
    rest.strip_prefix("src/")
}

/// The folder, or the file of that name, directly below `src/`.
fn layer(path: &str) -> Option<&str> {
    let first = service(path)?.split('/').next()?;
    Some(first.trim_end_matches(".rs"))
}

fn check(file: &File) -> Vec<String> {
    let mut wrong = Vec::new();
    for rule in RULES.iter().filter(|rule| (rule.holds)(&file.path)) {
        for (number, line) in product(&file.text) {
            if let Some(word) = rule.words.iter().find(|word| says(line, word)) {
                wrong.push(format!("{}:{number}: `{word}`: {}.", file.path, rule.fix));
            }
        }
    }
    wrong
}

#[test]
fn layers_keep_to_their_side() {
    none(&files(".rs").iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn a_word_in_the_wrong_layer_is_found() {
    let found = |path: &str, text: &str| {
        check(&File {
            path: path.to_owned(),
            text: text.to_owned(),
        })
        .len()
    };
    let domain = "services/leasing/src/domain/lease.rs";
    let store = "services/leasing/src/store/leases.rs";
    let api = "services/leasing/src/api/leases.rs";
    assert_eq!(found(domain, "use tonic::Status;"), 1);
    assert_eq!(found(domain, "async fn end() {}"), 1);
    assert_eq!(found(domain, "let t = berth_core::now();"), 1);
    assert_eq!(found(domain, "use crate::store::leases;"), 1);
    assert_eq!(found(store, "use berth_proto::leasing::v1 as pb;"), 1);
    assert_eq!(found(api, "sqlx::query(\"select 1\")"), 1);
    assert_eq!(
        found(
            "services/provisioning/src/domain/plan.rs",
            "use berth_provisioner::Step;"
        ),
        1
    );
    // What is allowed stays silent: comments, tests, and the right layer.
    assert_eq!(found(domain, "/// No tonic here.\nfn end() {}"), 0);
    assert_eq!(
        found(domain, "#[cfg(test)]\nmod tests { use berth_core::now; }"),
        0
    );
    assert_eq!(found(store, "sqlx::query(\"select 1\").await"), 0);
    assert_eq!(
        found("services/runtime/src/once.rs", "sqlx::query(\"select 1\")"),
        0
    );
}
