//! One way to one server with one token: silences the client library, which
//! logs expected refusals as errors, and maps what it says to [`Error`].
//!
//! The HTTP client is made here, not by the library, whose defaults come from
//! the environment (and can turn verification off) and set no time-out.

use std::error::Error as StdError;

use reqwest::{Certificate, redirect};
use rustify::{
    Endpoint,
    enums::{RequestMethod, RequestType, ResponseType},
    errors::ClientError,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tracing::{dispatcher::Dispatch, instrument::WithSubscriber as _};
use vaultrs::{
    api::EndpointMiddleware,
    client::{VaultClient, VaultClientSettings},
};
use zeroize::Zeroizing;

use crate::{Error, Result, config::Server, file};

/// The longest part of a server's message that is repeated.
const MAX_MESSAGE: usize = 300;

/// A server with a token, or without one to log in.
pub(crate) struct Connection {
    client: VaultClient,
    server: Server,
}

/// One request that the client library has no type for.
pub(crate) struct Call {
    method: RequestMethod,
    path: String,
    query: Option<&'static str>,
    body: Option<Value>,
}

impl Connection {
    /// Prepares to talk to `server`; nothing is sent yet.
    pub(crate) fn open(server: &Server, token: Option<&SecretString>) -> Result<Self> {
        let mut http = reqwest::Client::builder()
            .tls_backend_rustls()
            .timeout(server.timeout)
            .connect_timeout(server.timeout)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(path) = &server.ca_file {
            let bad = |problem: String| Error::File {
                path: path.clone(),
                problem,
            };
            let certificates = Certificate::from_pem_bundle(file::read(path)?.as_bytes())
                .map_err(|_| bad("is not a PEM bundle of certificates".into()))?;
            if certificates.is_empty() {
                return Err(bad("holds no certificate".into()));
            }
            http = http.tls_certs_only(certificates);
        } else if server.address.scheme() == "http" {
            http = http.tls_certs_only([]);
        }
        let http = http
            .build()
            .map_err(|error| Error::invalid("vault", error.to_string()))?;
        let token = token.map_or("", |token| token.expose_secret());
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(
                "vault token",
                "must be printable characters only",
            ));
        }
        Ok(Self {
            client: client(server, http, token),
            server: server.clone(),
        })
    }

    /// The same way with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            client: client(&self.server, self.client.http.http.clone(), token),
            server: self.server.clone(),
        }
    }

    /// Where the server is, for messages.
    pub(crate) fn address(&self) -> String {
        self.server
            .address
            .as_str()
            .trim_end_matches('/')
            .to_owned()
    }

    /// Sends `request` and returns the data of the answer; `operation`
    /// completes "Vault does not permit …".
    pub(crate) async fn data<E: Endpoint>(
        &self,
        operation: &str,
        request: E,
    ) -> Result<E::Response> {
        let mut answer = self.call(operation, request).await?;
        serde_json::from_value(answer["data"].take()).map_err(|_| Error::answer(operation))
    }

    /// Sends `request` and returns the whole envelope; null where the answer
    /// is empty.
    pub(crate) async fn call<E: Endpoint>(&self, operation: &str, request: E) -> Result<Value> {
        let answer = request
            .with_middleware(&self.client.middle)
            .exec(&self.client.http)
            .with_subscriber(Dispatch::none())
            .await
            .map_err(|error| self.error(operation, error))?
            .raw();
        let answer = Zeroizing::new(answer);
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(|_| Error::answer(operation))
    }

    /// Like [`Self::call`], asking for a single-use token that stands for the
    /// answer. (The library's own wrapping lasts ten minutes, whatever is
    /// asked.)
    pub(crate) async fn call_wrapped(
        &self,
        operation: &str,
        request: Call,
        seconds: u64,
    ) -> Result<Value> {
        let mut wrapping = self.with_token(&self.client.middle.token);
        wrapping.client.middle.wrap = Some(format!("{seconds}s"));
        wrapping.call(operation, request).await
    }

    fn error(&self, operation: &str, error: ClientError) -> Error {
        if let ClientError::ServerResponseError { code, content } = error {
            let said = content.and_then(|text| serde_json::from_str(&text).ok());
            return self.status(operation, code, &messages(said.as_ref()));
        }
        if let ClientError::RequestError { source, .. } | ClientError::ResponseError { source } =
            error
        {
            return self.network(&*source);
        }
        Error::answer(operation)
    }

    fn status(&self, operation: &str, status: u16, said: &[String]) -> Error {
        let operation = operation.to_owned();
        match status {
            501 | 503 => Error::Sealed {
                address: self.address(),
            },
            403 => Error::Denied { operation },
            404 => Error::NotFound { operation },
            400 | 405 | 409 => Error::Invalid {
                field: operation,
                problem: format!("Vault says: {}", shortened(&said.join("; "))),
            },
            // A standby that cannot pass a request on points to the active node,
            // which one that is just starting soon is itself.
            307 | 412 | 429 | 500.. => Error::Busy {
                address: self.address(),
                status,
                operation,
            },
            _ => Error::Answer { operation },
        }
    }

    fn network(&self, source: &(dyn StdError + 'static)) -> Error {
        let mut problem = String::new();
        let mut cause = Some(source);
        while let Some(error) = cause {
            problem = error.to_string();
            cause = error.source();
        }
        let problem = shortened(&problem);
        if problem.contains("certificate") {
            let ca = match &self.server.ca_file {
                Some(path) => path.display().to_string(),
                None => "the operating system's authorities, or name a ca_file".to_owned(),
            };
            return Error::Untrusted {
                address: self.address(),
                problem,
                ca,
            };
        }
        Error::Unreachable {
            address: self.address(),
            problem,
        }
    }
}

impl Call {
    /// Reads `path`.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: RequestMethod::GET,
            path: path.into(),
            query: None,
            body: None,
        }
    }

    /// Reads `path` with parameters.
    pub(crate) fn get_with(path: impl Into<String>, query: &'static str) -> Self {
        Self {
            query: Some(query),
            ..Self::get(path)
        }
    }

    /// Names what is below `path`.
    pub(crate) fn list(path: impl Into<String>) -> Self {
        Self {
            method: RequestMethod::LIST,
            path: path.into(),
            query: None,
            body: None,
        }
    }

    /// Writes `body` to `path`.
    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self {
            method: RequestMethod::POST,
            path: path.into(),
            query: None,
            body: Some(body),
        }
    }
}

impl Endpoint for Call {
    type Response = Value;
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        self.method.clone()
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        Ok(self.query.map(str::to_owned))
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(self.body.as_ref().map(|body| body.to_string().into_bytes()))
    }
}

fn client(server: &Server, http: reqwest::Client, token: &str) -> VaultClient {
    let settings = VaultClientSettings {
        address: server.address.clone(),
        ca_certs: Vec::new(),
        identity: None,
        timeout: Some(server.timeout),
        token: String::new(),
        verify: true,
        version: 1,
        wrapping: false,
        namespace: None,
        proxy: None,
    };
    VaultClient {
        http: rustify::clients::reqwest::Client::new(server.address.as_str(), http),
        middle: EndpointMiddleware {
            token: token.to_owned(),
            version: "v1".to_owned(),
            wrap: None,
            namespace: None,
        },
        settings,
    }
}

/// What an error answer of Vault says.
fn messages(answer: Option<&Value>) -> Vec<String> {
    let errors = answer.and_then(|answer| answer["errors"].as_array());
    let texts = errors.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// The start of a message, on one line.
fn shortened(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().take(MAX_MESSAGE).collect()
}
