//! A machine that lies, floods and stalls. It is a fake and says so: an SSH server
//! of the test's own with a Docker behind it that is none, since no real one does
//! what these do. Whatever it does ends at a limit of ours, in little memory, with
//! an error that says which.

mod commands;
mod docker;
mod fake;
mod greeting;

use berth_provisioner::Error;
use std::fs;

/// Most that this process may grow while a machine sends without end. The fake is
/// in it too.
const GROWTH: u64 = 192 << 20;

/// What kind of error it is: the name of its variant.
fn kind(error: &Error) -> String {
    let name = format!("{error:?}");
    name.chars().take_while(|c| c.is_alphabetic()).collect()
}

/// Compares what came with what had to come: the kind, and a word of the text.
fn expect(case: &str, error: &Error, wanted: &str, word: &str) {
    let text = error.to_string();
    assert_eq!(kind(error), wanted, "{case}: {text}");
    assert!(text.contains(word), "{case}: {text}");
    assert!(text.len() < 1024, "{case}: {} bytes", text.len());
    assert!(!text.contains(char::is_control), "{case}: {text:?}");
}

/// Most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse::<u64>().unwrap() << 10
}

/// Sees what the process had at most before something, and asks how much it grew.
struct Memory(u64);

impl Memory {
    fn now() -> Self {
        Self(peak())
    }

    fn expect_little(&self, case: &str) {
        let grown = peak() - self.0;
        assert!(grown < GROWTH, "{case}: {} MiB more", grown >> 20);
    }
}
