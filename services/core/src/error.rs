//! The one error that reaches callers.
//!
//! Variants differ only where a program that calls us must act differently.
//! Each maps to one gRPC code, in `berth_runtime::status`. Libraries below the
//! services keep errors of their own and are converted on the way up.

use std::error::Error as StdError;
use std::fmt;

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, as the cause of one of ours.
pub type Source = Box<dyn StdError + Send + Sync>;

/// Kinds of things that callers can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Who pays and owns.
    Account,
    /// Who lends machines.
    Supplier,
    /// One computer.
    Machine,
    /// A machine at a price.
    Offer,
    /// The right to use a machine.
    Lease,
    /// A catalogue entry.
    Chain,
    /// The wish to run something.
    Node,
    /// A node on a machine.
    Placement,
    /// An identity on a chain that signs.
    Validator,
    /// An open problem.
    Incident,
    /// A URL that is told what an account should know.
    Webhook,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::Supplier => "supplier",
            Self::Machine => "machine",
            Self::Offer => "offer",
            Self::Lease => "lease",
            Self::Chain => "chain",
            Self::Node => "node",
            Self::Placement => "placement",
            Self::Validator => "validator",
            Self::Incident => "incident",
            Self::Webhook => "webhook",
        })
    }
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, such as `spec.machine_id`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

/// What went wrong, from the caller's point of view.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request are wrong; sending it again cannot help.
    #[error("{}", list(violations))]
    Invalid {
        /// Stable name, such as `INVALID_FIELD`.
        reason: &'static str,
        /// Every field that is wrong.
        violations: Vec<Violation>,
    },
    /// The caller did not say who they are.
    #[error("{message}")]
    Unauthenticated {
        /// Stable name, such as `NOT_SIGNED_IN`.
        reason: &'static str,
        /// The same for people.
        message: String,
    },
    /// The caller may not do this.
    #[error("{message}")]
    Forbidden {
        /// Stable name, such as `SCOPE_MISSING`.
        reason: &'static str,
        /// The same for people.
        message: String,
    },
    /// The thing does not exist, or belongs to somebody else.
    #[error("{resource} `{id}` not found")]
    NotFound {
        /// What was looked for.
        resource: Resource,
        /// The identifier as given.
        id: String,
    },
    /// The name is taken.
    #[error("a {resource} named `{name}` exists already; choose another name")]
    Exists {
        /// What exists.
        resource: Resource,
        /// The name that is taken.
        name: String,
    },
    /// The state of the thing forbids the action until something else changes.
    #[error("{message}")]
    Precondition {
        /// Stable name, such as `LEASE_STATE`.
        reason: &'static str,
        /// What has to change first, for people.
        message: String,
    },
    /// Someone changed the thing first; read it again and redo.
    #[error("{resource} was changed by someone else; read it again and redo the change")]
    Conflict {
        /// What was changed.
        resource: Resource,
    },
    /// The caller acts for a placement that is not the current one.
    #[error("fence {have} is not the current fence {want}")]
    Fenced {
        /// The caller's fence.
        have: u64,
        /// The current one.
        want: u64,
    },
    /// Not enough of something.
    #[error("{message}")]
    Exhausted {
        /// Stable name, such as `NO_CAPACITY`.
        reason: &'static str,
        /// What there is too little of, and what to do, for people.
        message: String,
    },
    /// Something that we depend on is down; the same call may work later.
    #[error("temporarily unavailable; try again")]
    Unavailable(#[source] Source),
    /// A bug or broken data. The cause is logged and never shown.
    #[error("internal error")]
    Internal(#[source] Source),
}

impl Error {
    /// One field that does not parse.
    pub fn invalid(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::Invalid {
            reason: "INVALID_FIELD",
            violations: vec![Violation {
                field: field.into(),
                problem: problem.to_string(),
            }],
        }
    }

    /// A missing thing.
    pub fn not_found(resource: Resource, id: impl fmt::Display) -> Self {
        Self::NotFound {
            resource,
            id: id.to_string(),
        }
    }

    /// A state that forbids the action.
    pub fn precondition(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Precondition {
            reason,
            message: message.into(),
        }
    }

    /// Too little of something.
    pub fn exhausted(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Exhausted {
            reason,
            message: message.into(),
        }
    }

    /// A dependency that is down.
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }

    /// A bug or broken data.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }

    /// Whether the same request may succeed later without any change.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Exhausted { .. } | Self::Conflict { .. } => true,
            Self::Invalid { .. }
            | Self::Unauthenticated { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Precondition { .. }
            | Self::Fenced { .. }
            | Self::Internal(_) => false,
        }
    }
}

/// An error with all its causes, for a log line or a status reason.
#[must_use]
pub fn report(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

fn list(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(|violation| format!("{}: {}", violation.field, violation.problem))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Gathers what is wrong with a request, so that the caller sees all of it at
/// once.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Notes a problem.
    pub fn add(&mut self, field: impl Into<String>, problem: impl fmt::Display) {
        self.0.push(Violation {
            field: field.into(),
            problem: problem.to_string(),
        });
    }

    /// The value, or a note and `None`.
    pub fn check<T>(
        &mut self,
        field: impl Into<String>,
        parsed: Result<T, impl fmt::Display>,
    ) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(problem) => {
                self.add(field, problem);
                None
            }
        }
    }

    /// Takes over what another parse found wrong; other errors pass through.
    ///
    /// # Errors
    ///
    /// Those that are not [`Error::Invalid`].
    pub fn absorb<T>(&mut self, parsed: Result<T>) -> Result<Option<T>> {
        match parsed {
            Ok(value) => Ok(Some(value)),
            Err(Error::Invalid { violations, .. }) => {
                self.0.extend(violations);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the check: the value when nothing is wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] with every note, also when the value is absent.
    pub fn finish<T>(self, value: Option<T>) -> Result<T> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Error::Invalid {
                reason: "INVALID_FIELD",
                violations: self.0,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_is_reported_at_once() {
        let mut violations = Violations::default();
        let a: Option<u8> = violations.check("a", "x".parse::<u8>());
        let b: Option<u8> = violations.check("b", "y".parse::<u8>());
        let error = violations.finish(a.zip(b)).unwrap_err();
        let Error::Invalid { violations, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(violations.len(), 2);
        assert!(error.to_string().contains("a: "));
    }

    #[test]
    fn a_report_names_each_cause_once() {
        let error = Error::internal(std::io::Error::other("disk on fire"));
        assert_eq!(error.to_string(), "internal error");
        assert_eq!(report(&error), "internal error: disk on fire");
    }
}
