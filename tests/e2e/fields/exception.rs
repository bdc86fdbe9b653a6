//! What an exception says.

use super::bad::Kind;
use tonic::Code;

/// What happens instead of a refusal that names the field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Instead {
    /// It is taken; it is sent once things may change.
    Taken,
    /// It is refused with this code.
    Refused(Code),
}

/// One exception, or the same of several fields.
pub(super) struct Exception {
    /// `Service/Method`, or `*`.
    pub(super) rpc: &'static str,
    /// The field; a `*` at an end stands for anything.
    pub(super) path: &'static str,
    pub(super) kinds: &'static [Kind],
    pub(super) instead: Instead,
    /// Why that is right.
    pub(super) why: &'static str,
}

impl Exception {
    /// Whether it is about a field of an rpc.
    pub(super) fn covers(&self, rpc: &str, path: &str, kind: Kind) -> bool {
        let matches = |pattern: &str, text: &str| match (
            pattern.strip_prefix('*'),
            pattern.strip_suffix('*'),
        ) {
            (Some(end), _) => text.ends_with(end),
            (None, Some(start)) => text.starts_with(start),
            (None, None) => pattern == text,
        };
        matches(self.rpc, rpc) && matches(self.path, path) && self.kinds.contains(&kind)
    }
}

/// It is taken.
pub(super) const fn taken(
    rpc: &'static str,
    path: &'static str,
    kinds: &'static [Kind],
    why: &'static str,
) -> Exception {
    Exception {
        rpc,
        path,
        kinds,
        instead: Instead::Taken,
        why,
    }
}

/// It is refused with another code.
pub(super) const fn refused(
    rpc: &'static str,
    path: &'static str,
    kinds: &'static [Kind],
    code: Code,
    why: &'static str,
) -> Exception {
    Exception {
        rpc,
        path,
        kinds,
        instead: Instead::Refused(code),
        why,
    }
}

/// Messages that no good request has: nothing in them is read.
pub(super) const UNREAD: &[(&str, &str)] = &[
    ("ProvisioningService/UpdateNode", "spec.source."),
    ("SigningService/UpdateValidator", "validator.status."),
];
