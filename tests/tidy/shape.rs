//! How a Rust file looks, and what a test may not do.

use crate::none;
use crate::tree::{File, code, files, says};

const MAX_LINES: usize = 500;

/// The one kind of file in which a test may sleep: a helper that asks again
/// until something is so, or fails after a deadline.
const POLLING: &str = "/eventually.rs";

/// In two pieces, or this file would find itself.
const SLEEP: &str = concat!("sl", "eep(");

fn check(file: &File) -> Vec<String> {
    let path = &file.path;
    let mut wrong = Vec::new();
    if !file.text.starts_with("//!") {
        wrong.push(format!(
            "{path}: open with `//!`: what the file is and, where true, what it leaves out."
        ));
    }
    let lines = file.text.lines().count();
    if lines > MAX_LINES {
        wrong.push(format!(
            "{path}: {lines} lines, more than {MAX_LINES}: split it at a noun."
        ));
    }
    for (number, line) in code(&file.text) {
        let mut forbid = |word: &str, fix: &str| {
            if line.trim_start().starts_with(word) {
                wrong.push(format!("{path}:{number}: `{word}`: {fix}."));
            }
        };
        forbid("#[allow", "write #[expect(…, reason = \"…\")]");
        forbid("#![allow", "write #![expect(…, reason = \"…\")]");
        forbid(
            "#[ignore",
            "a test runs or is deleted; put long runs into make soak",
        );
    }
    wrong.extend(sleeps(file));
    wrong
}

/// Sleeps in test code: they are too short on a busy machine and waste time on
/// an idle one.
fn sleeps(file: &File) -> Vec<String> {
    if file.path.ends_with(POLLING) {
        return Vec::new();
    }
    // The rig is a library that makes machines; its tests are in its tests/.
    let is_test = file.path.contains("/tests/")
        || (file.path.starts_with("tests/") && !file.path.starts_with("tests/rig/src/"));
    code(&file.text)
        .skip_while(|(_, line)| !is_test && line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| says(line, SLEEP))
        .map(|(number, _)| {
            format!(
                "{}:{number}: a test sleeps: wait for the thing itself, or ask again in a \
                 helper that stands in `{POLLING}`.",
                file.path
            )
        })
        .collect()
}

#[test]
fn every_rust_file_says_what_it_is_and_stays_readable() {
    none(&files(".rs").iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn a_file_out_of_shape_is_found() {
    let found = |path: &str, text: &str| {
        check(&File {
            path: path.to_owned(),
            text: format!("{text}\n"),
        })
        .len()
    };
    let test = "services/leasing/tests/leases.rs";
    assert_eq!(found("a.rs", "fn main() {}"), 1);
    assert_eq!(
        found("a.rs", &format!("//! A.{}", "\n".repeat(MAX_LINES))),
        1
    );
    assert_eq!(found("a.rs", concat!("//! A.\n#[al", "low(dead_code)]")), 1);
    assert_eq!(found(test, concat!("//! A.\n#[ig", "nore]")), 1);
    let sleep = concat!("//! A.\ntokio::time::sl", "eep(second).await;");
    assert_eq!(found(test, sleep), 1);
    assert_eq!(found("services/leasing/src/lib.rs", sleep), 0);
    assert_eq!(found("tests/e2e/eventually.rs", sleep), 0);
    let inline = concat!(
        "//! A.\n#[cfg(test)]\nmod tests { std::thread::sl",
        "eep(second); }"
    );
    assert_eq!(found("services/leasing/src/lib.rs", inline), 1);
}
