//! Every field of every rpc, with all that it must not take.
//!
//! The requests are made from the descriptors: a new field is tested as soon as it
//! is there, a new rpc fails until it has a row in `good.rs`, and what a field
//! takes though it looks bad stands with its reason in `exceptions.rs`.

mod bad;
mod call;
mod exception;
mod exceptions;
mod good;
mod kept;
mod world;

use bad::{Case, Kind};
use berth_runtime::schema::{ACCESS, POOL};
use berth_tests::Berth;
use call::Ways;
use exception::{Instead, UNREAD};
use exceptions::ALL;
use futures::StreamExt as _;
use good::{Good, ROWS};
use prost_reflect::prost::Message as _;
use prost_reflect::{
    DynamicMessage, Kind as Type, MessageDescriptor, MethodDescriptor, ReflectMessage as _, Value,
};
use std::collections::BTreeSet;
use tokio::runtime::Runtime;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use world::World;

/// Requests under way at once.
const AT_ONCE: usize = 32;
/// More than any service reads.
const TEN_MEGABYTES: usize = 10 << 20;

/// Sends each bad value of each field and sees it refused, then the good requests.
pub(crate) fn refuse_what_they_cannot_take(berth: &Berth) {
    // Another test of this program may have been first.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    every_rpc_has_a_row();
    let inside = || Runtime::new().unwrap().block_on(all(berth));
    berth.rig().in_fabric(inside).unwrap();
}

fn every_rpc_has_a_row() {
    let rows: BTreeSet<String> = ROWS.iter().map(|row| path(&method(row.rpc))).collect();
    let api: BTreeSet<String> = ACCESS.keys().cloned().collect();
    assert_eq!(rows, api, "add a good request to tests/e2e/fields/good.rs");
}

async fn all(berth: &Berth) {
    let ways = Ways::open(berth.dir()).await;
    let world = World::make(berth, &ways).await;
    kept::quiet(berth);
    let before = kept::everything(berth);
    let errors = kept::errors(berth);

    let mut wrong = refused(&ways, &world).await;
    wrong.extend(too_large(&ways, &world).await);
    let after = kept::everything(berth);
    for (table, was) in &before {
        if after[table] != *was {
            wrong.push(format!(
                "table {table} changed: {was} became {}",
                after[table]
            ));
        }
    }
    wrong.extend(kept::errors(berth).into_iter().skip(errors.len()));
    assert!(
        wrong.is_empty(),
        "{} of it is wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );

    for row in ROWS {
        is_right(&ways, &world, row).await;
    }
}

/// What was not refused as it must be.
async fn refused(ways: &Ways, world: &World) -> Vec<String> {
    let mut used = BTreeSet::new();
    let mut calls = Vec::new();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for row in ROWS {
        let method = method(row.rpc);
        let access = &ACCESS[&path(&method)];
        let good = request(row, world);
        for case in bad::cases(&good, world) {
            seen.insert(format!("{} {}", row.rpc, plain(&case.path)));
            // Who has no account has no other.
            if case.kind == Kind::Foreign && access.permission.is_empty() {
                continue;
            }
            let exception = ALL
                .iter()
                .position(|one| one.covers(row.rpc, &case.path, case.kind));
            used.extend(exception);
            match exception.map(|at| ALL[at].instead) {
                Some(Instead::Taken) => {}
                Some(Instead::Refused(code)) => calls.push((row, case, Some(code))),
                None => calls.push((row, case, None)),
            }
        }
    }
    for method in ACCESS.keys().map(|path| method(&path[1..])) {
        let rpc = format!("{}/{}", method.parent_service().name(), method.name());
        wrong.extend(
            fields(&method.input())
                .into_iter()
                .map(|field| format!("{rpc} {field}"))
                .filter(|field| !seen.contains(field) && !is_unread(field))
                .map(|field| format!("no good request has {field}")),
        );
    }
    for (at, one) in ALL.iter().enumerate().filter(|(at, _)| !used.contains(at)) {
        wrong.push(format!(
            "exception {at} is of nothing: {} {} ({})",
            one.rpc, one.path, one.why
        ));
    }
    eprintln!("{} bad requests", calls.len());
    let answers = futures::stream::iter(calls).map(async |(row, case, code)| {
        let answer = send(ways, world, row, &case.path, case.message.clone()).await;
        judge(row, &case, code, answer)
    });
    let answers: Vec<Option<String>> = answers.buffer_unordered(AT_ONCE).collect().await;
    let mut answers: Vec<String> = answers.into_iter().flatten().collect();
    answers.sort();
    wrong.extend(answers);
    wrong
}

fn is_unread(field: &str) -> bool {
    UNREAD.iter().any(|(rpc, path)| {
        let path_here = field
            .strip_prefix(rpc)
            .and_then(|rest| rest.strip_prefix(' '));
        path_here.is_some_and(|here| here.starts_with(path))
    })
}

async fn send(
    ways: &Ways,
    world: &World,
    row: &Good,
    field: &str,
    mut message: DynamicMessage,
) -> Result<Vec<u8>, Status> {
    if field != "request_id" {
        with_request_id(&mut message);
    }
    let path = path(&method(row.rpc));
    ways.call(&path, world.account, message.encode_to_vec())
        .await
}

/// What is wrong with an answer.
fn judge(
    row: &Good,
    case: &Case,
    code: Option<Code>,
    answer: Result<Vec<u8>, Status>,
) -> Option<String> {
    let about = format!("{} {} {:?}", row.rpc, case.path, case.kind);
    let Err(status) = answer else {
        return Some(format!("{about}: taken"));
    };
    let named = || {
        let violations = status.get_details_bad_request();
        let violations = violations.map(|request| request.field_violations);
        violations
            .unwrap_or_default()
            .iter()
            .any(|violation| names(&violation.field, &case.path))
    };
    let is_refused = status.code() == Code::InvalidArgument && named();
    let found = || {
        let id = case.id.as_deref().unwrap_or("no-such-chain");
        status.code() == Code::NotFound && status.message().contains(id)
    };
    let good = match (code, case.kind) {
        (Some(code), _) => status.code() == code,
        (None, Kind::Unknown | Kind::Mistaken | Kind::Foreign) => is_refused || found(),
        (None, _) => is_refused,
    };
    (!good).then(|| format!("{about}: {:?}: {}", status.code(), status.message()))
}

/// Whether a violation is of a field, of its list, or of something in it.
fn names(violation: &str, path: &str) -> bool {
    let within = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    };
    let list = path.strip_suffix("[0]").unwrap_or(path);
    let map = path
        .strip_suffix(".node")
        .or_else(|| path.strip_suffix(".moniker"))
        .unwrap_or(list);
    within(path, violation) || violation == list || violation == map
}

/// A message that no service reads ends at its size, whatever it says.
async fn too_large(ways: &Ways, world: &World) -> Vec<String> {
    let calls = ACCESS.keys().map(async |path| {
        let message = vec![0; TEN_MEGABYTES];
        match ways.call(path, world.account, message).await {
            Err(status)
                if status.code() == Code::OutOfRange && status.message().contains("too large") =>
            {
                None
            }
            Err(status) => Some(format!("{path} with 10 MB: {status}")),
            Ok(_) => Some(format!("{path} with 10 MB: taken")),
        }
    });
    let answers: Vec<_> = futures::stream::iter(calls)
        .buffer_unordered(4)
        .collect()
        .await;
    answers.into_iter().flatten().collect()
}

/// A request that only its own state can stop: so it is right, and what was refused
/// was refused for the value that was changed in it.
async fn is_right(ways: &Ways, world: &World, row: &Good) {
    let answer = send(ways, world, row, "", request(row, world)).await;
    if let Err(status) = answer {
        let about_state = [Code::FailedPrecondition, Code::ResourceExhausted];
        // The certificate that it is sent with is of no placement.
        let unplaced =
            row.rpc == "PlacementService/RenewCertificate" && status.code() == Code::NotFound;
        assert!(
            unplaced || about_state.contains(&status.code()),
            "the good request of {} is not: {status}",
            row.rpc
        );
    }
}

/// A path without its indices.
fn plain(path: &str) -> String {
    path.replace("[0]", "")
}

/// Every field of a message and of those in it.
fn fields(message: &MessageDescriptor) -> Vec<String> {
    let mut all = Vec::new();
    for field in message.fields() {
        let kind = field.kind();
        if kind == Type::Bool {
            continue;
        }
        let inner = kind.as_message();
        match inner.filter(|inner| !field.is_map() && !bad::is_whole(inner)) {
            Some(inner) => {
                let below = fields(inner);
                all.extend(
                    below
                        .into_iter()
                        .map(|below| format!("{}.{below}", field.name())),
                );
            }
            None => all.push(field.name().to_owned()),
        }
    }
    all
}

fn request(row: &Good, world: &World) -> DynamicMessage {
    let mut text = row.json.to_owned();
    // The longest first: one name may begin with another.
    let mut names: Vec<_> = world.ours.iter().collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for (name, value) in names {
        let value = serde_json::to_string(value).unwrap();
        text = text.replace(&format!("\"${name}\""), &value);
    }
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", row.rpc));
    let mut message = parse(&method(row.rpc), json);
    with_request_id(&mut message);
    message
}

fn parse(method: &MethodDescriptor, json: serde_json::Value) -> DynamicMessage {
    DynamicMessage::deserialize(method.input(), json)
        .unwrap_or_else(|error| panic!("{}: {error}", method.full_name()))
}

fn with_request_id(message: &mut DynamicMessage) {
    if let Some(field) = message.descriptor().get_field_by_name("request_id") {
        message.set_field(&field, Value::String(world::new_request()));
    }
}

/// A method by `Service/Method`, with or without the package.
fn method(rpc: &str) -> MethodDescriptor {
    let (service, method) = rpc.split_once('/').expect("Service/Method");
    let found = POOL
        .services()
        .find(|one| one.name() == service || one.full_name() == service);
    let found = found.unwrap_or_else(|| panic!("there is no service {service}"));
    let found = found.methods().find(|one| one.name() == method);
    found.unwrap_or_else(|| panic!("there is no rpc {rpc}"))
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}
