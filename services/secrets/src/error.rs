//! What can go wrong with Vault, each with what to do about it.
//!
//! A message never holds a secret: what the server says is quoted only where
//! the request held none, and the client library's own errors, which print
//! tokens and bodies, end here.

use std::path::PathBuf;

/// The result of a call to Vault.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why Vault did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server runs but its storage is sealed, or no node of it is active.
    #[error(
        "Vault at {address} is sealed: unseal it; work that waits for it then goes on by itself"
    )]
    Sealed {
        /// Where the server is.
        address: String,
    },
    /// No answer: no connection, no route, or the time ran out.
    #[error(
        "Vault at {address} cannot be reached ({problem}): check the address, the network and that it runs"
    )]
    Unreachable {
        /// Where the server should be.
        address: String,
        /// What the network said.
        problem: String,
    },
    /// The server's certificate does not verify.
    #[error("the certificate of Vault at {address} is not trusted ({problem}): check {ca}")]
    Untrusted {
        /// Where the server is.
        address: String,
        /// What verification said.
        problem: String,
        /// Which authorities were consulted.
        ca: String,
    },
    /// The server answers, but not now.
    #[error(
        "Vault at {address} answered {status} to {operation}: it is overloaded or failing; see its log"
    )]
    Busy {
        /// Where the server is.
        address: String,
        /// The HTTP status.
        status: u16,
        /// What was asked.
        operation: String,
    },
    /// The AppRole login was refused.
    #[error(
        "Vault refused the login of {role}: its secret id in {} is wrong, expired or bound to \
         another network; deliver a new one with `berth vault bootstrap --secret-id-dir DIR`",
        secret_id_file.display()
    )]
    LoginRefused {
        /// The AppRole.
        role: String,
        /// Where its secret id is kept.
        secret_id_file: PathBuf,
    },
    /// The token is good, but its policies do not permit this.
    #[error(
        "Vault does not permit {operation}: see that `berth vault bootstrap` was run for this role"
    )]
    Denied {
        /// What was asked.
        operation: String,
    },
    /// What was asked for is not there.
    #[error("Vault has nothing for {operation}: see that `berth vault bootstrap` was run")]
    NotFound {
        /// What was asked.
        operation: String,
    },
    /// The request was wrong; to repeat it is in vain.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which input.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The server's answer is not one that Vault or OpenBao gives.
    #[error(
        "Vault's answer to {operation} was not understood: check that a Vault or OpenBao listens there"
    )]
    Answer {
        /// What was asked.
        operation: String,
    },
    /// A local file could not be read or written.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The development server did not come up.
    #[error("OpenBao did not start: {problem}")]
    Start {
        /// Why, as far as is known, and where its log is.
        problem: String,
    },
}

impl Error {
    /// Whether the same request can succeed later: the server or the network
    /// recovers, or an operator puts right what the message names. Work that
    /// meets such an error waits; other work gives up.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Sealed { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Busy { .. }
            | Self::LoginRefused { .. }
            | Self::Denied { .. }
            | Self::File { .. } => true,
            Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Answer { .. }
            | Self::Start { .. } => false,
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn answer(operation: impl AsRef<str>) -> Self {
        Self::Answer {
            operation: operation.as_ref().to_owned(),
        }
    }
}
