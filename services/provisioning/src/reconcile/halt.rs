//! Why a step cannot go on, and what the errors of machines and of Vault mean.

use berth_core::{Error, report};
use berth_provisioner::Error as SiteError;
use berth_runtime::reconcile::Outcome;
use berth_runtime::status;
use std::time::Duration;
use tonic::Status;

/// How long to wait for what comes back by itself.
const RETRY: Duration = Duration::from_secs(3);

/// Why a step cannot go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// It goes on by itself later.
    Wait(Outcome),
    /// It needs a person; says what for.
    Fail(String),
    /// The machine shows another host key than the pinned one.
    Stranger(String),
    /// The database is away, the claim is lost, or there is a bug.
    Error(Error),
}

impl Halt {
    /// Waits a little, with a reason.
    pub(super) fn wait(reason: impl Into<String>) -> Self {
        Self::Wait(Outcome::wait(reason, RETRY))
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        if let Error::Unavailable(_) = error {
            return Self::wait(report(&error));
        }
        Self::Error(error)
    }
}

impl From<SiteError> for Halt {
    fn from(error: SiteError) -> Self {
        let text = report(&error);
        if may_pass(&error) {
            Self::wait(text)
        } else if let SiteError::HostKeyChanged { .. } = error {
            Self::Stranger(text)
        } else {
            Self::Fail(text)
        }
    }
}

/// Whether trying again may help: it comes back by itself, or the owner of the
/// machine puts it right, which nobody tells us.
pub(super) fn may_pass(error: &SiteError) -> bool {
    error.is_transient()
        || matches!(
            error,
            SiteError::AuthRefused { .. } | SiteError::NotReady(_) | SiteError::NoSpace { .. }
        )
}

impl From<berth_secrets::Error> for Halt {
    /// Whatever is wrong with Vault, an operator puts it right and tells nobody.
    fn from(error: berth_secrets::Error) -> Self {
        Self::wait(report(&error))
    }
}

/// What another service answered: what comes back by itself is waited for.
pub(super) fn asked(service: &'static str) -> impl Fn(Status) -> Halt {
    move |status| match status::to_error(&status) {
        Error::Unavailable(_) => {
            Halt::wait(format!("{service} does not answer: {}", status.message()))
        }
        Error::Exhausted { .. } | Error::Conflict { .. } => Halt::wait(status.message()),
        error @ (Error::Invalid { .. }
        | Error::NotFound { .. }
        | Error::Exists { .. }
        | Error::Precondition { .. }
        | Error::Fenced { .. }
        | Error::Forbidden { .. }
        | Error::Unauthenticated { .. }) => Halt::Fail(error.to_string()),
        error @ Error::Internal(_) => Halt::Error(error),
    }
}

/// What an error of a machine means to a caller of the API.
pub(crate) fn site_error(error: SiteError) -> Error {
    if let SiteError::Invalid { .. } = error {
        return Error::internal(error);
    }
    Error::precondition("MACHINE_ERROR", report(&error))
}

/// What an error of Vault means to a caller of the API.
pub(crate) fn vault_error(error: berth_secrets::Error) -> Error {
    if let berth_secrets::Error::Invalid { field, problem } = error {
        return Error::invalid(field, problem);
    }
    if error.is_transient() {
        Error::unavailable(error)
    } else {
        Error::internal(error)
    }
}
