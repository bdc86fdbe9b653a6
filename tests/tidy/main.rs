//! Rules about the shape of the repository that no compiler checks.
//!
//! Each failure names the file, the rule and the way out, so that putting it
//! right needs no other document. Each check is also fed something wrong, to
//! show that it bites. Rules that clippy, buf or cargo-deny know stand there.

#![expect(clippy::unwrap_used, reason = "a check that cannot run must fail")]

mod api;
mod direction;
mod layers;
mod links;
mod reasons;
mod shape;
mod tree;

/// Fails with every finding on a line of its own.
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n\n{}\n", findings.join("\n"));
}
