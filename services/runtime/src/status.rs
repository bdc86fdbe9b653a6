//! The one place where an [`Error`] becomes a gRPC status, and back.

use berth_core::{Error, Resource, Violation, report};
use std::collections::HashMap;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Longest message, and longest problem of one field, in bytes. An answer's head
/// holds them, and one that is too long ends the whole connection, with the calls
/// of everybody else on it.
const MESSAGE: usize = 1024;
/// Longest path of a field, in bytes.
const FIELD: usize = 256;
/// Bytes of the fields and problems of one answer.
const VIOLATIONS: usize = 4096;

/// Names our errors in `ErrorInfo`, so that programs never parse messages.
pub const DOMAIN: &str = "berth.dev";

/// A handler's result as tonic wants it.
///
/// # Errors
///
/// The status of the error.
pub fn reply<T>(result: berth_core::Result<T>) -> Result<Response<T>, Status> {
    result
        .map(Response::new)
        .map_err(|error| from_error(&error))
}

/// Converts, and for faults of ours logs the whole chain of causes once.
#[must_use]
pub fn from_error(error: &Error) -> Status {
    let (code, reason) = classify(error);
    log(error, reason);
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, fences(error));
    if let Error::Invalid { violations, .. } = error {
        let mut left = VIOLATIONS;
        for (at, violation) in violations.iter().enumerate() {
            let field = shortened(&violation.field, FIELD);
            let problem = shortened(&violation.problem, MESSAGE);
            let size = field.len() + problem.len();
            if size > left {
                let more = violations.len() - at;
                details.add_bad_request_violation(field, format!("and {more} more like this"));
                break;
            }
            left -= size;
            details.add_bad_request_violation(field, problem);
        }
    }
    Status::with_error_details(code, shortened(&error.to_string(), MESSAGE), details)
}

/// The text, cut where it is too long. It may repeat what a caller sent.
fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(most)])
}

/// The same for who speaks plain HTTP: a status, and a body in JSON that says
/// why.
#[must_use]
pub fn plain(error: &Error) -> http::Response<String> {
    let (code, reason) = classify(error);
    log(error, reason);
    let body = plain_body(reason, &error.to_string());
    let mut answer = http::Response::new(body);
    *answer.status_mut() = match code {
        Code::InvalidArgument => http::StatusCode::BAD_REQUEST,
        Code::Unauthenticated => http::StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => http::StatusCode::FORBIDDEN,
        Code::NotFound => http::StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => http::StatusCode::CONFLICT,
        Code::FailedPrecondition => http::StatusCode::PRECONDITION_FAILED,
        Code::ResourceExhausted => http::StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => http::StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    answer
}

/// The body of a refusal in JSON.
#[must_use]
pub fn plain_body(reason: &str, message: &str) -> String {
    serde_json::json!({ "error": { "reason": reason, "message": message } }).to_string()
}

/// What a program needs of an error besides its reason.
fn fences(error: &Error) -> HashMap<String, String> {
    match error {
        Error::Fenced { have, want } => [("have", have), ("want", want)]
            .map(|(name, fence)| (name.to_owned(), fence.to_string()))
            .into(),
        Error::Invalid { .. }
        | Error::Unauthenticated { .. }
        | Error::Forbidden { .. }
        | Error::NotFound { .. }
        | Error::Exists { .. }
        | Error::Precondition { .. }
        | Error::Conflict { .. }
        | Error::Exhausted { .. }
        | Error::Unavailable(_)
        | Error::Internal(_) => HashMap::new(),
    }
}

/// The error of a fence that another service refused, with both numbers.
fn fenced(status: &Status) -> Option<Error> {
    let info = status.get_details_error_info()?;
    let number = |name| info.metadata.get(name)?.parse().ok();
    (info.reason == "FENCED").then_some(Error::Fenced {
        have: number("have")?,
        want: number("want")?,
    })
}

/// The code and the stable reason of an error.
#[must_use]
pub fn classify(error: &Error) -> (Code, &'static str) {
    match error {
        Error::Invalid { reason, .. } => (Code::InvalidArgument, reason),
        Error::Unauthenticated { reason, .. } => (Code::Unauthenticated, reason),
        Error::Forbidden { reason, .. } => (Code::PermissionDenied, reason),
        Error::NotFound { .. } => (Code::NotFound, "NOT_FOUND"),
        Error::Exists { .. } => (Code::AlreadyExists, "NAME_TAKEN"),
        Error::Precondition { reason, .. } => (Code::FailedPrecondition, reason),
        Error::Conflict { .. } => (Code::Aborted, "STALE_ETAG"),
        Error::Fenced { .. } => (Code::FailedPrecondition, "FENCED"),
        Error::Exhausted { reason, .. } => (Code::ResourceExhausted, reason),
        Error::Unavailable(_) => (Code::Unavailable, "DEPENDENCY_DOWN"),
        Error::Internal(_) => (Code::Internal, "INTERNAL"),
    }
}

fn log(error: &Error, reason: &str) {
    match error {
        Error::Fenced { .. } | Error::Unavailable(_) | Error::Internal(_) => {
            tracing::error!(reason, error = report(error), "request failed");
        }
        Error::Forbidden { .. } | Error::Precondition { .. } | Error::Exhausted { .. } => {
            tracing::info!(reason, error = %error, "request refused");
        }
        Error::Invalid { .. }
        | Error::Unauthenticated { .. }
        | Error::NotFound { .. }
        | Error::Exists { .. }
        | Error::Conflict { .. } => tracing::debug!(reason, error = %error, "request refused"),
    }
}

/// What another service's answer means to us: what the caller of ours must
/// know passes through with its message, the rest is a dependency that failed.
#[must_use]
pub fn to_error(status: &Status) -> Error {
    let message = status.message().to_owned();
    match status.code() {
        Code::InvalidArgument => Error::Invalid {
            reason: "INVALID_FIELD",
            violations: status
                .get_details_bad_request()
                .map(|details| details.field_violations)
                .unwrap_or_default()
                .into_iter()
                .map(|violation| Violation {
                    field: violation.field,
                    problem: violation.description,
                })
                .collect(),
        },
        Code::NotFound => Error::NotFound {
            resource: named_resource(&message),
            id: message.split('`').nth(1).unwrap_or_default().to_owned(),
        },
        Code::FailedPrecondition => {
            fenced(status).unwrap_or_else(|| Error::precondition("DEPENDENCY_STATE", message))
        }
        Code::ResourceExhausted => {
            let reason = status.get_details_error_info().map(|info| info.reason);
            match reason.as_deref() {
                Some("INSUFFICIENT_FUNDS") => Error::exhausted("INSUFFICIENT_FUNDS", message),
                _ => Error::exhausted("NO_CAPACITY", message),
            }
        }
        Code::Aborted => Error::Conflict {
            resource: named_resource(&message),
        },
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => Error::unavailable(status.clone()),
    }
}

fn named_resource(message: &str) -> Resource {
    let kinds = [
        Resource::Account,
        Resource::Supplier,
        Resource::Machine,
        Resource::Offer,
        Resource::Lease,
        Resource::Chain,
        Resource::Placement,
        Resource::Validator,
        Resource::Incident,
    ];
    kinds
        .into_iter()
        .find(|kind| message.starts_with(&kind.to_string()))
        .unwrap_or(Resource::Node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_logged_but_not_sent() {
        let error = Error::internal("password authentication failed");
        let status = from_error(&error);
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "internal error");
        assert!(report(&error).contains("password"));
    }

    #[test]
    fn callers_get_a_stable_reason_and_every_field() {
        let status = from_error(&Error::invalid("spec.term", "too long"));
        assert_eq!(
            status.get_details_error_info().unwrap().reason,
            "INVALID_FIELD"
        );
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "spec.term");
    }

    #[test]
    fn no_error_is_longer_than_the_head_of_an_answer() {
        let long = "\u{1f6a2}".repeat(10_000);
        let violations = (0..10_000).map(|at| Violation {
            field: format!("names[{at}].{long}"),
            problem: long.clone(),
        });
        let many = Error::Invalid {
            reason: "INVALID_FIELD",
            violations: violations.collect(),
        };
        for error in [many, Error::not_found(Resource::Chain, &long)] {
            let head = from_error(&error).into_http::<()>().into_parts().0;
            let sizes = head.headers.iter();
            let size: usize = sizes
                .map(|(name, value)| name.as_str().len() + value.len())
                .sum();
            assert!(size < 16_000, "{size}");
        }
    }

    #[test]
    fn what_another_service_refuses_passes_through() {
        let sent = from_error(&Error::not_found(Resource::Lease, "lease-1"));
        let back = to_error(&sent);
        assert_eq!(back.to_string(), "lease `lease-1` not found");
        let sent = from_error(&Error::Fenced { have: 2, want: 9 });
        let Error::Fenced { have, want } = to_error(&sent) else {
            panic!("{sent:?}");
        };
        assert_eq!((have, want), (2, 9));
    }
}
