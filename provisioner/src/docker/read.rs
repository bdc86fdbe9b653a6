//! What Docker says when it is asked, with a limit on its bytes and its parts.
//!
//! bollard reads whatever comes, and an answer of `{},{},…` is many times larger in
//! memory. What is only read is therefore read here, into what is used of it.

use crate::error::{Error, Result, said};
use crate::ssh::Session;
use bollard::models::{ContainerInspectResponse, SystemInfo};
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Most bytes of what is said of one thing.
const MAX_THING: usize = 512 << 10;
/// Most bytes of a list.
const MAX_LIST: usize = 16 << 20;
/// Most bytes of a refusal.
const MAX_REFUSAL: usize = 64 << 10;
/// Most things in a list.
const MOST: usize = 4096;
/// Longest name or id.
const MAX_NAME: usize = 512;

/// A list of no more than [`MOST`]; nothing where Docker says `null`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Few<T>(pub(crate) Vec<T>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FewVisitor<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Few<T>, E> {
        Ok(Few::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Few<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(one) = seq.next_element()? {
            if list.len() == MOST {
                return Err(A::Error::custom(format_args!("more than {MOST} in a list")));
            }
            list.push(one);
        }
        Ok(Few(list))
    }
}

/// An image of a list, as far as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedImage {
    pub(crate) id: String,
    #[serde(default)]
    repo_digests: Few<String>,
}

impl ListedImage {
    /// Whether it is the image of this digest.
    pub(crate) fn is(&self, digest: &str) -> bool {
        let names = &self.repo_digests.0;
        names
            .iter()
            .any(|name| name.split_once('@').is_some_and(|(_, d)| d == digest))
    }
}

impl Session {
    /// What Docker says of one thing.
    pub(crate) async fn look<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
    ) -> Result<T> {
        self.read(what, path, MAX_THING).await
    }

    /// What Docker lists.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
    ) -> Result<T> {
        self.read(what, path, MAX_LIST).await
    }

    /// What Docker says of a container, by name or id.
    pub(crate) async fn inspected(&self, name: &str) -> Result<ContainerInspectResponse> {
        let path = format!("/containers/{name}/json");
        self.look("inspect a container", &path).await
    }

    /// What Docker says of itself.
    pub(crate) async fn info(&self) -> Result<SystemInfo> {
        self.look("describe itself", "/info").await
    }

    /// The images of a machine.
    pub(crate) async fn images(&self) -> Result<Vec<ListedImage>> {
        const WHAT: &str = "list images";
        let Few(images): Few<ListedImage> = self.list(WHAT, "/images/json").await?;
        for image in &images {
            check_named(WHAT, &image.id)?;
        }
        Ok(images)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        most: usize,
    ) -> Result<T> {
        let limit = self.config().call_timeout;
        let engine = self.engine().await?;
        let work = async {
            let answer = engine.get(path).await;
            let answer = answer.map_err(|error| self.broken(what, &*error))?;
            let status = answer.status();
            let most = if status.is_success() {
                most
            } else {
                MAX_REFUSAL
            };
            // In one piece: many small ones would weigh more than what is in them.
            let mut body = Vec::new();
            let mut parts = answer.into_body();
            while let Some(part) = parts.frame().await {
                let part = part.map_err(|error| self.broken(what, &error))?;
                let part = part.into_data().unwrap_or_default();
                if body.len() + part.len() > most {
                    return Err(Error::answer(what, format!("more than {most} bytes")));
                }
                body.extend_from_slice(&part);
            }
            if status.is_success() {
                serde_json::from_slice(&body).map_err(|error| Error::answer(what, error))
            } else {
                Err(Error::Docker {
                    what,
                    status: Some(status.as_u16()),
                    message: refusal(&body),
                })
            }
        };
        self.within(what, limit, work).await
    }

    /// An answer that did not come, or not to its end.
    fn broken(&self, what: &'static str, error: &(dyn std::error::Error + 'static)) -> Error {
        if self.is_lost() {
            return Error::Lost { what };
        }
        let mut why = error;
        while let Some(source) = why.source() {
            why = source;
        }
        Error::Docker {
            what,
            status: None,
            message: said(&format!("its answer broke off: {why}")),
        }
    }
}

/// What a refusal says: Docker's message, else all of it.
fn refusal(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => said(&refusal.message),
        Err(_) => said(&String::from_utf8_lossy(body)),
    }
}

/// Refuses what a machine gives as a name or an id and is none: it becomes part of
/// the next call's path.
pub(crate) fn check_named(what: &'static str, name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-:".contains(&b);
    if name.len() > MAX_NAME {
        let why = format!("a name of more than {MAX_NAME} bytes");
        Err(Error::answer(what, why))
    } else if name.starts_with('.') || name.is_empty() || !name.bytes().all(plain) {
        Err(Error::answer(what, format!("`{}` is no name", said(name))))
    } else {
        Ok(())
    }
}

/// `filters` of a query for what has a label.
pub(crate) fn labelled(label: &str) -> String {
    let filters = serde_json::json!({ "label": [label] }).to_string();
    let mut query = "filters=".to_owned();
    for byte in filters.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            query.push(char::from(byte));
        } else {
            query.push_str(&format!("%{byte:02X}"));
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few(count: usize) -> Result<Few<ListedImage>, serde_json::Error> {
        let list = vec![r#"{"Id":"i","RepoDigests":null}"#; count].join(",");
        serde_json::from_str(&format!("[{list}]"))
    }

    #[test]
    fn a_list_is_read_to_its_limit_and_no_further() {
        assert_eq!(few(MOST).unwrap().0.len(), MOST);
        let error = few(MOST + 1).unwrap_err().to_string();
        assert!(error.contains("more than 4096"), "{error}");
        let Few(none): Few<String> = serde_json::from_str("null").unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn an_image_is_known_by_its_whole_digest() {
        let image = r#"{"Id":"i","RepoDigests":["a/b@sha256:0011"]}"#;
        let image: ListedImage = serde_json::from_str(image).unwrap();
        assert!(image.is("sha256:0011") && !image.is("sha256:11") && !image.is("0011"));
    }

    #[test]
    fn what_would_lead_a_call_elsewhere_is_no_name() {
        for name in ["sha256:00ff", "berth-net-1", "a"] {
            check_named("list", name).unwrap();
        }
        let long = "x".repeat(MAX_NAME + 1);
        for name in [
            "",
            "..",
            "../images",
            "a?force=1",
            "a#",
            "a%2f",
            "a\0",
            "\u{1b}[2J",
            &long,
        ] {
            assert!(check_named("list", name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_filter_is_one_word_of_a_query() {
        assert_eq!(
            labelled("a=b&c"),
            "filters=%7B%22label%22%3A%5B%22a%3Db%26c%22%5D%7D"
        );
    }

    #[test]
    fn a_refusal_is_what_docker_says_or_all_that_came() {
        assert_eq!(refusal(br#"{"message":"no such image"}"#), "no such image");
        assert_eq!(refusal(br#"{"message":7}"#), r#"{"message":7}"#);
        assert_eq!(refusal(b"a\0\xff"), "a \u{fffd}");
    }
}
