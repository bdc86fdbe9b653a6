//! The reasons that callers may rely on: what the code gives and what
//! `docs/errors.md` promises are the same list.

use crate::none;
use crate::tree::{files, product};
use std::collections::BTreeSet;

const PAGE: &str = "docs/errors.md";

/// What stands before a reason where an error is made.
const BEFORE: &[&str] = &[
    "reason: ",
    "precondition(",
    "exhausted(",
    "unauthenticated(",
    "forbidden(",
];

/// Reasons of the errors that a piece of code makes.
fn given(code: &str) -> BTreeSet<&str> {
    BEFORE
        .iter()
        .flat_map(|before| {
            code.match_indices(before)
                .map(|(at, b)| &code[at + b.len()..])
        })
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .filter(|reason| is_reason(reason))
        .collect()
}

/// Reasons in the second column of the page's table.
fn promised(page: &str) -> BTreeSet<&str> {
    page.lines()
        .filter_map(|line| line.strip_prefix('|')?.split('|').nth(1))
        .map(str::trim)
        .filter(|cell| is_reason(cell))
        .collect()
}

fn is_reason(text: &str) -> bool {
    text.len() > 3 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[test]
fn every_reason_is_documented_and_every_documented_reason_exists() {
    let page = files("errors.md").remove(0);
    assert_eq!(page.path, PAGE);
    let promised = promised(&page.text);
    let mut all = String::new();
    let mut wrong = Vec::new();
    for file in files(".rs")
        .iter()
        .filter(|f| f.path.starts_with("services/"))
    {
        let code: String = product(&file.text)
            .flat_map(|(_, line)| [line, "\n"])
            .collect();
        for reason in given(&code).difference(&promised) {
            wrong.push(format!(
                "{}: add {reason} to the table of {PAGE}.",
                file.path
            ));
        }
        all.push_str(&code);
    }
    for reason in promised
        .iter()
        .filter(|r| !all.contains(&format!("\"{r}\"")))
    {
        wrong.push(format!("{PAGE}: nothing gives {reason}: remove its row."));
    }
    none(&wrong);
}

#[test]
fn a_reason_is_found_where_an_error_is_made_and_where_it_is_promised() {
    let code = "Error::precondition(\n    \"LEASE_STATE\", x); E { reason: \"NO_CAPACITY\" }";
    assert_eq!(given(code), BTreeSet::from(["LEASE_STATE", "NO_CAPACITY"]));
    assert_eq!(given("reason: \"the disk is full\""), BTreeSet::new());
    assert_eq!(
        promised("| code | reason |\n| ABORTED | STALE_ETAG | x |"),
        BTreeSet::from(["STALE_ETAG"])
    );
}
