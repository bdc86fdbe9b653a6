//! A machine that keeps its connection, as the agent does.

use crate::messages::Asked;
use crate::signer::{Caller, Line};
use berth_signer::domain::PublicKey;
use serde_json::Value;

/// What a machine learns of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The signature.
    Signed(String),
    /// The reason.
    Refused(String),
    /// There was no answer: it may be recorded or not.
    Lost,
}

pub(crate) struct Kept {
    machine: Caller,
    open: Option<Line>,
}

impl Kept {
    pub(crate) fn new(machine: Caller) -> Self {
        Self {
            machine,
            open: None,
        }
    }

    /// Asks for a signature, over the connection of before where it lives.
    pub(crate) async fn sign(&mut self, key: &PublicKey, asked: &Asked) -> Answer {
        let Some(answer) = self.ask(key, asked).await else {
            self.open = None;
            return Answer::Lost;
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let text = |field: &Value| field.as_str().unwrap_or(head).to_owned();
        if head.starts_with("HTTP/1.1 200 ") {
            Answer::Signed(text(&body["signature"]))
        } else {
            Answer::Refused(text(&body["error"]["reason"]))
        }
    }

    async fn ask(&mut self, key: &PublicKey, asked: &Asked) -> Option<String> {
        let line = match &mut self.open {
            Some(line) => line,
            closed => closed.insert(self.machine.connect().await?),
        };
        let path = format!("/api/v1/eth2/sign/{key}");
        line.ask("POST", &path, &asked.body).await
    }
}
