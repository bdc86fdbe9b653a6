//! How answers are written: JSON, or plain text for who asks for nothing else.

use crate::domain::{PublicKey, Signature};
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use berth_runtime::status::plain_body;
use serde::Serialize;
use serde_json::json;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `application/json`.
    Json,
    /// `text/plain`.
    Text,
}

impl Form {
    /// What the caller accepts: JSON unless it names text alone.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).iter();
        let accepted = accepted.filter_map(|value| value.to_str().ok());
        let mut ranges = accepted
            .flat_map(|value| value.split(','))
            .map(|range| range.split(';').next().unwrap_or_default().trim())
            .filter(|range| !range.is_empty())
            .peekable();
        let text = |range: &str| range.eq_ignore_ascii_case("text/plain") || range == "text/*";
        if ranges.peek().is_some() && ranges.all(text) {
            Self::Text
        } else {
            Self::Json
        }
    }

    /// That the listener is there.
    pub(super) fn up(self) -> Response<Body> {
        match self {
            Self::Json => json(StatusCode::OK, &json!({ "status": "OK" })),
            Self::Text => text(StatusCode::OK, "OK".to_owned()),
        }
    }

    /// A signature.
    pub(super) fn signature(self, signature: &Signature) -> Response<Body> {
        match self {
            Self::Json => json(StatusCode::OK, &json!({ "signature": signature })),
            Self::Text => text(StatusCode::OK, signature.to_string()),
        }
    }

    /// A refusal: the reason for programs, the message for people.
    pub(super) fn refusal(self, code: StatusCode, reason: &str, message: &str) -> Response<Body> {
        match self {
            Self::Json => typed(code, "application/json", plain_body(reason, message)),
            Self::Text => text(code, format!("{reason}: {message}")),
        }
    }
}

/// Public keys, always JSON.
pub(super) fn public_keys(keys: &[PublicKey]) -> Response<Body> {
    json(StatusCode::OK, &json!(keys))
}

/// An object in JSON.
pub(super) fn json(code: StatusCode, object: &impl Serialize) -> Response<Body> {
    // Values of our own, whose keys are all strings: this never fails.
    let body = serde_json::to_string(object).unwrap_or_default();
    typed(code, "application/json", body)
}

/// Plain text.
pub(super) fn text(code: StatusCode, body: String) -> Response<Body> {
    typed(code, "text/plain; charset=utf-8", body)
}

/// Nothing but a code.
pub(super) fn empty(code: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = code;
    answer
}

fn typed(code: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = code;
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_for_who_accepts_nothing_else() {
        for (accept, form) in [
            (None, Form::Json),
            (Some(""), Form::Json),
            (Some("*/*"), Form::Json),
            (Some("application/json"), Form::Json),
            (Some("application/json, text/plain"), Form::Json),
            (Some("text/plain, */*;q=0.1"), Form::Json),
            (Some("text/plain"), Form::Text),
            (Some("Text/Plain; charset=utf-8"), Form::Text),
            (Some("text/html"), Form::Json),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(Form::wanted(&headers), form, "{accept:?}");
        }
    }
}
