//! How a command ends: what is printed, and the exit code.

use std::fmt;
use std::process::ExitCode;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What was waited for did not come in time.
#[derive(Debug)]
pub(super) struct NotInTime(pub(super) String);

impl fmt::Display for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotInTime {}

/// The command was not typed as it must be, in a way that its parser cannot see.
#[derive(Debug)]
pub(super) struct WrongUsage(pub(super) String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// Prints what went wrong and what to do, and returns the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<NotInTime>() {
        eprintln!("berth: {error}");
        return ExitCode::from(8);
    }
    if error.is::<WrongUsage>() {
        eprintln!("berth: {error}");
        return ExitCode::from(2);
    }
    let Some(status) = error.downcast_ref::<Status>() else {
        eprintln!("berth: {error:#}");
        return ExitCode::FAILURE;
    };
    let violations = status
        .get_details_bad_request()
        .map(|details| details.field_violations)
        .unwrap_or_default();
    if violations.is_empty() {
        eprintln!("berth: {}", message(status));
    } else {
        eprintln!("berth: the request is not valid");
        for violation in violations {
            eprintln!("  {}: {}", violation.field, violation.description);
        }
    }
    code(status.code())
}

fn message(status: &Status) -> String {
    // Without a reason of ours the answer is not Berth's.
    let answered = status.get_details_error_info().is_some();
    if status.code() == Code::Unavailable && !answered {
        format!(
            "Berth is not reachable ({}); check BERTH_ENDPOINT and BERTH_CA_FILE, then try again",
            innermost(status)
        )
    } else if status.code() == Code::DeadlineExceeded {
        "no answer in time; try again".to_owned()
    } else {
        status.message().to_owned()
    }
}

/// The cause that says most: tonic wraps it several times.
fn innermost(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut next = std::error::Error::source(status);
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    text
}

fn code(code: Code) -> ExitCode {
    ExitCode::from(match code {
        Code::Ok => 0,
        Code::InvalidArgument | Code::OutOfRange => 2,
        Code::NotFound => 3,
        Code::Unauthenticated | Code::PermissionDenied => 4,
        Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => 5,
        Code::ResourceExhausted => 6,
        Code::Unavailable | Code::DeadlineExceeded => 7,
        Code::Cancelled | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
            1
        }
    })
}
