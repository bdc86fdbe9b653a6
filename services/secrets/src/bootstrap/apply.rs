//! One change at a time: read, compare, write what differs, note it.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use serde_json::{Value, json};

use crate::{
    Error, Result,
    connection::{Call, Connection},
};

/// A run of a bootstrap.
pub(super) struct Apply<'a> {
    vault: &'a Connection,
    dry_run: bool,
    pub(super) changes: Vec<String>,
}

impl<'a> Apply<'a> {
    pub(super) fn new(vault: &'a Connection, dry_run: bool) -> Self {
        Self {
            vault,
            dry_run,
            changes: Vec::new(),
        }
    }

    /// Sees that a secrets engine is mounted at `path`.
    pub(super) async fn mount(&mut self, path: &str, wanted: &Value) -> Result<()> {
        let mounts = self.read("sys/mounts").await?.unwrap_or_default();
        let mount = &mounts[format!("{path}/")];
        if mount.is_null() {
            let kind = wanted["type"].as_str().unwrap_or_default();
            let done = format!("mount {kind} at {path}/");
            return self
                .write(done, &format!("sys/mounts/{path}"), wanted)
                .await;
        }
        let same = |field| wanted[field].is_null() || contains(&mount[field], &wanted[field]);
        if !same("type") || !same("options") {
            return Err(occupied(path, &mount["type"]));
        }
        if !same("config") {
            let done = format!("tune the mount {path}/");
            self.write(done, &format!("sys/mounts/{path}/tune"), &wanted["config"])
                .await?;
        }
        Ok(())
    }

    /// Sees that AppRole logins are possible below `auth/<path>`.
    pub(super) async fn login_method(&mut self, path: &str) -> Result<()> {
        let methods = self.read("sys/auth").await?.unwrap_or_default();
        let method = &methods[format!("{path}/")];
        match method["type"].as_str() {
            Some("approle") => Ok(()),
            Some(_) => Err(occupied(path, &method["type"])),
            None => {
                let wanted = json!({ "type": "approle", "description": "Berth: its services" });
                self.write(
                    format!("enable approle at auth/{path}/"),
                    &format!("sys/auth/{path}"),
                    &wanted,
                )
                .await
            }
        }
    }

    /// Sees that the PKI `mount` has an authority; one that is there stays.
    pub(super) async fn root(&mut self, mount: &str, wanted: &Value) -> Result<()> {
        let path = format!("{mount}/issuers");
        let listed = self.absent_as_none(Call::list(&path), &path).await?;
        if listed.is_some_and(|issuers| {
            issuers["keys"]
                .as_array()
                .is_some_and(|keys| !keys.is_empty())
        }) {
            return Ok(());
        }
        let done = format!("create the authority of {mount}/");
        self.write(done, &format!("{mount}/root/generate/internal"), wanted)
            .await
    }

    /// Sees that the SSH `mount` has an authority; one that is there stays.
    pub(super) async fn ssh_authority(&mut self, mount: &str, wanted: &Value) -> Result<()> {
        let path = format!("{mount}/config/ca");
        if self.read(&path).await?.is_some() {
            return Ok(());
        }
        self.write(format!("create the authority of {mount}/"), &path, wanted)
            .await
    }

    /// Sees that there is an encryption key, and that nobody may delete it. One
    /// that could have left Vault can never be trusted again.
    pub(super) async fn transit_key(&mut self, path: &str, wanted: &Value) -> Result<()> {
        let Some(found) = self.read(path).await? else {
            return self.write(format!("create {path}"), path, wanted).await;
        };
        let differing = wanted
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(field, value)| found[field.as_str()] != **value)
            .map(|(field, _)| field.as_str())
            .collect::<Vec<_>>();
        match differing[..] {
            [] => Ok(()),
            ["deletion_allowed"] => {
                let done = format!("set deletion_allowed of {path}");
                let config = json!({ "deletion_allowed": wanted["deletion_allowed"] });
                self.write(done, &format!("{path}/config"), &config).await
            }
            _ => Err(Error::invalid(
                path,
                format!(
                    "differs in {}, which cannot be changed back: choose another mount prefix",
                    differing.join(", ")
                ),
            )),
        }
    }

    /// Sees that the policy `name` is `text`.
    pub(super) async fn policy(&mut self, name: &str, text: &str) -> Result<()> {
        let path = format!("sys/policies/acl/{name}");
        let found = self.read(&path).await?;
        if found.is_some_and(|policy| policy["policy"].as_str() == Some(text)) {
            return Ok(());
        }
        self.write(
            format!("write the policy {name}"),
            &path,
            &json!({ "policy": text }),
        )
        .await
    }

    /// Sees that what is at `path` has the fields of `wanted`.
    pub(super) async fn fields(&mut self, path: &str, wanted: &Value) -> Result<()> {
        let found = self.read(path).await?;
        let differing: Vec<_> = match &found {
            None => return self.write(format!("create {path}"), path, wanted).await,
            Some(found) => wanted
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(field, value)| !contains(&found[field.as_str()], value))
                .map(|(field, _)| field.as_str())
                .collect(),
        };
        if differing.is_empty() {
            return Ok(());
        }
        self.write(
            format!("set {} of {path}", differing.join(", ")),
            path,
            wanted,
        )
        .await
    }

    /// What is at `path`, or nothing.
    async fn read(&self, path: &str) -> Result<Option<Value>> {
        self.absent_as_none(Call::get(path), path).await
    }

    async fn absent_as_none(&self, call: Call, path: &str) -> Result<Option<Value>> {
        match self.vault.call(path, call).await {
            Ok(mut answer) => Ok(Some(answer["data"].take())),
            // What is not configured is 404 in some engines and 400 in others.
            Err(Error::NotFound { .. } | Error::Invalid { .. }) => Ok(None),
            Err(error) => Err(for_admin(error)),
        }
    }

    async fn write(&mut self, done: String, path: &str, body: &Value) -> Result<()> {
        if !self.dry_run {
            // A new KV mount refuses for a moment while it sets itself up.
            let soon = ConstantBuilder::default()
                .with_delay(Duration::from_millis(100))
                .with_max_times(50);
            (|| self.vault.call(path, Call::post(path, body.clone())))
                .retry(soon)
                .when(|error| matches!(error, Error::Invalid { problem, .. } if problem.contains("Upgrading")))
                .await
                .map_err(for_admin)?;
        }
        tracing::debug!(change = %done, dry_run = self.dry_run, "Vault bootstrap");
        self.changes.push(done);
        Ok(())
    }
}

/// Whether `found` is `wanted`, or has all its fields; absent, null and empty
/// are the same.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(field, value)| found.get(field).is_some_and(|found| contains(found, value))),
        _ => found == wanted || (is_empty(found) && is_empty(wanted)),
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn occupied(path: &str, kind: &Value) -> Error {
    let kind = kind.as_str().unwrap_or("unknown");
    Error::invalid(
        format!("mount {path}/"),
        format!("is in use for something else (type {kind}): choose another mount prefix"),
    )
}

/// A refusal means another thing to an administrator than to a service.
fn for_admin(error: Error) -> Error {
    let Error::Denied { operation } = error else {
        return error;
    };
    Error::invalid(
        "admin token",
        format!(
            "is wrong, expired, or may not use {operation}: use one that can mount, write \
             policies and create roles"
        ),
    )
}
