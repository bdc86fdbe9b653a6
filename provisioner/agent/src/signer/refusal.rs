//! What the agent answers by itself, in the form in which the signer refuses.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

/// Why a request did not reach the signer, or its answer not the client.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is no path of the signing API.
    Path,
    /// No path there has this method.
    Method,
    /// Its body did not come whole within this time.
    TooSlow(Duration),
    /// Its body is longer than so many bytes.
    TooLarge(usize),
    /// No replica answered, each for its reason.
    Unreachable(String),
}

impl Refusal {
    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let (status, reason, message) = self.says();
        let body = json!({ "error": { "reason": reason, "message": message } });
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }

    fn says(self) -> (StatusCode, &'static str, String) {
        match self {
            Self::Path => (
                StatusCode::NOT_FOUND,
                "UNKNOWN_PATH",
                "only /upcheck and what is below /api/v1/eth2/ is carried to the signer".to_owned(),
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "UNKNOWN_METHOD",
                "only GET and POST are carried to the signer".to_owned(),
            ),
            Self::TooSlow(within) => (
                StatusCode::REQUEST_TIMEOUT,
                "BODY_TOO_SLOW",
                format!("the body did not come whole within {within:?}"),
            ),
            Self::TooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "BODY_TOO_LARGE",
                format!("the body is longer than {limit} bytes"),
            ),
            Self::Unreachable(reason) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "SIGNER_UNREACHABLE",
                format!("no signer answers: {reason}"),
            ),
        }
    }
}
