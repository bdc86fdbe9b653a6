//! What can go wrong with a machine, in words that say what to do.
//!
//! Nothing here carries a secret: commands are named, never quoted, and what
//! a machine says is shortened and stripped of control characters.

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Longest text of a machine that is repeated in a message.
const MAX_SAID: usize = 300;

/// Why something on a machine did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine shows another host key than the one pinned at enrollment.
    #[error(
        "the machine's host key changed: pinned {expected}, shown {seen}; \
         if its owner replaced the key, enroll the machine again"
    )]
    HostKeyChanged {
        /// Fingerprint that was pinned.
        expected: String,
        /// Fingerprint that the machine shows now.
        seen: String,
    },
    /// No SSH session could be made.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Address that was tried.
        address: String,
        /// Why.
        why: String,
    },
    /// The SSH session ended in the middle of something: it may or may not have happened.
    #[error("the session with the machine was lost during {what}")]
    Lost {
        /// What was under way.
        what: &'static str,
    },
    /// The machine does not let us in.
    #[error(
        "the machine refused user {user}; run its setup command again as root, and see that its clock is right"
    )]
    AuthRefused {
        /// User that was tried.
        user: String,
    },
    /// No certificate could be had to sign in with.
    #[error("no SSH certificate could be obtained")]
    Credentials(#[source] BoxError),
    /// It took too long.
    #[error("{what} took longer than {seconds} s")]
    Timeout {
        /// What was under way.
        what: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// A command on the machine failed.
    #[error("{what} failed with status {status}: {message}")]
    Command {
        /// What was under way.
        what: &'static str,
        /// Exit status; 255 when the machine named none.
        status: u32,
        /// What the command wrote to its standard error, shortened.
        message: String,
    },
    /// The machine's Docker refused or failed.
    #[error("Docker could not {what}: {message}")]
    Docker {
        /// What was asked.
        what: &'static str,
        /// HTTP status, where Docker answered at all.
        status: Option<u16>,
        /// What Docker said, shortened.
        message: String,
    },
    /// The machine already holds a newer placement of the node.
    #[error("fenced: the machine holds fence {have} of this node, this work is for {want}")]
    Fenced {
        /// Fence that stands on the machine.
        have: u64,
        /// Fence of the work.
        want: u64,
    },
    /// Something that is not ours has the name of something of ours.
    #[error("{name} on the machine was not made by Berth for this node; remove it")]
    NotOurs {
        /// Its name.
        name: String,
    },
    /// Contents are not what their digest says.
    #[error("{what} has digest {seen}, not {expected}")]
    DigestMismatch {
        /// What was read.
        what: String,
        /// Digest that was asked for.
        expected: String,
        /// Digest of the contents.
        seen: String,
    },
    /// No source has the image.
    #[error("image {image} cannot be delivered: {why}")]
    NoImage {
        /// The image.
        image: String,
        /// Why each source failed.
        why: String,
    },
    /// The machine's disk is full.
    #[error("the machine has no space left during {what}")]
    NoSpace {
        /// What was under way.
        what: &'static str,
    },
    /// The machine's clock is wrong.
    #[error("the machine's clock is {offset_ms} ms from ours, at most {limit_ms} ms is allowed")]
    Clock {
        /// Machine's clock less ours.
        offset_ms: i64,
        /// Limit.
        limit_ms: u64,
    },
    /// The machine cannot be prepared without its owner.
    #[error("the machine is not ready: {0}")]
    NotReady(String),
    /// The machine answered something that cannot be understood or is too long.
    #[error("the machine's answer to {what} was not understood: {why}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// What was asked for is not allowed, whatever the machine.
    #[error("{what} is not valid: {why}")]
    Invalid {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A wipe left something behind.
    #[error("the wipe left {}", .left.join(", "))]
    Unwiped {
        /// What is still there.
        left: Vec<String>,
    },
    /// A hook of a test stopped the work before a side effect.
    #[error("stopped before {0}")]
    Stopped(&'static str),
}

impl Error {
    /// Whether the same call may succeed later without anybody doing anything.
    ///
    /// A transient failure is ambiguous: what was asked may have happened.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::Credentials(_)
            | Self::Timeout { .. }
            | Self::Clock { .. }
            | Self::NoImage { .. }
            | Self::Stopped(_) => true,
            // 409: a name or container that is busy, which passes.
            Self::Docker { status, .. } => {
                status.is_none_or(|status| status >= 500 || status == 409)
            }
            Self::HostKeyChanged { .. }
            | Self::AuthRefused { .. }
            | Self::Command { .. }
            | Self::Fenced { .. }
            | Self::NotOurs { .. }
            | Self::DigestMismatch { .. }
            | Self::NoSpace { .. }
            | Self::NotReady(_)
            | Self::Answer { .. }
            | Self::Invalid { .. }
            | Self::Unwiped { .. } => false,
        }
    }

    pub(crate) fn answer(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Answer {
            what,
            why: said(&why.to_string()),
        }
    }

    pub(crate) fn invalid(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Invalid {
            what,
            why: said(&why.to_string()),
        }
    }
}

/// What a machine said, fit for a message: one line, printable, short.
pub(crate) fn said(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        if out.len() >= MAX_SAID {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_says_is_one_short_printable_line() {
        let text = said(&format!("\x1b[31mno\nspace {}", "x".repeat(10_000)));
        assert!(text.starts_with(" [31mno space x"), "{text}");
        assert!(text.len() <= MAX_SAID + '…'.len_utf8());
        assert!(!text.contains(char::is_control));
    }
}
