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
use exception::{Exception, Instead, UNREAD};
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
/// The fields that an exception with a `*` covers.
const COVERED: &str = include_str!("covered.txt");
/// A text in a field with a number that no message has: who knows fewer fields than
/// its caller passes it over.
const UNKNOWN_TAG: [u8; 5] = [0x82, 0xb5, 0x18, 1, b'x'];
/// What the gateway is asked for.
const LIST_NODES: &str = "/berth.provisioning.v1.ProvisioningService/ListNodes";
/// More than any service reads.
const TEN_MEGABYTES: usize = 10 << 20;

/// A bad value that is said to be taken, of which row, and by which exception.
struct Taken {
    row: &'static Good,
    case: Case,
    at: usize,
}

/// Sends each bad value of each field and sees it refused, then the good requests.
pub(crate) fn refuse_what_they_cannot_take(berth: &Berth) {
    // Another test of this program may have been first.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    every_rpc_has_a_row();
    let inside = || Runtime::new().unwrap().block_on(all(berth));
    berth.rig().in_fabric(inside).unwrap();
    let call = call::through_the_gateway(berth, LIST_NODES, vec![0; TEN_MEGABYTES]);
    let refused = Runtime::new().unwrap().block_on(call).unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    assert!(refused.message().contains("too large"), "{refused}");
    berth.run(&["node", "list"]);
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

    let (mut wrong, taken) = refused(&ways, &world).await;
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
    // From here on what is asked for happens.
    let mut hold = BTreeSet::new();
    for row in ROWS {
        wrong.extend(taken_as_said(&ways, &world, row, &taken, &mut hold).await);
        is_right(&ways, &world, row).await;
    }
    let lies = taken
        .iter()
        .map(|one| one.at)
        .filter(|at| !hold.contains(at));
    wrong.extend(lies.collect::<BTreeSet<_>>().into_iter().map(|at| {
        let Exception { rpc, path, why, .. } = &ALL[at];
        format!("exception {at} is never taken: {rpc} {path} ({why})")
    }));
    let new = kept::errors(berth).into_iter().skip(errors.len());
    // Some of it comes too late, which is told as ERROR wherever it happens.
    wrong.extend(new.filter(|line| !line.contains("reason=\"FENCED\"")));
    assert!(
        wrong.is_empty(),
        "{} of it is wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What was not refused as it must be, and what is said to be taken.
async fn refused(ways: &Ways, world: &World) -> (Vec<String>, Vec<Taken>) {
    let mut used = BTreeSet::new();
    let mut taken = Vec::new();
    let mut covered = BTreeSet::new();
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
            if exception.is_some_and(|at| ALL[at].path.contains('*')) {
                covered.insert(format!("{} {}", row.rpc, case.path));
            }
            match exception.map(|at| (at, ALL[at].instead)) {
                Some((at, Instead::Taken)) => taken.push(Taken { row, case, at }),
                Some((_, Instead::Refused(code))) => calls.push((row, case, Some(code))),
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
    wrong.extend(other_than_covered(&covered));
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
    (wrong, taken)
}

/// An exception with a `*` covers what `covered.txt` names and nothing else: who adds
/// a field decides for it.
fn other_than_covered(covered: &BTreeSet<String>) -> Vec<String> {
    let named: BTreeSet<String> = COVERED.lines().map(str::to_owned).collect();
    let file = "tests/e2e/fields/covered.txt";
    let added = covered
        .difference(&named)
        .map(|field| format!("{field} is covered by a `*`: name it in {file} if it should be"));
    let gone = named
        .difference(covered)
        .map(|field| format!("{field} is covered by nothing: take it out of {file}"));
    added.chain(gone).collect()
}

/// Sends what a row is said to take; returns what was refused for it all the same, and
/// adds which exceptions hold. The state of things may stop it, and so may the message
/// that it is in, for want of another field.
async fn taken_as_said(
    ways: &Ways,
    world: &World,
    row: &Good,
    taken: &[Taken],
    hold: &mut BTreeSet<usize>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for Taken { case, at, .. } in taken.iter().filter(|one| std::ptr::eq(one.row, row)) {
        let mut message = case.message.clone();
        // The good request comes after it.
        if let Some(field) = message.descriptor().get_field_by_name("validate_only") {
            message.set_field(&field, Value::Bool(true));
        }
        let answer = send(ways, world, row, &case.path, message).await;
        let refused = answer.as_ref().err();
        if refused.is_none_or(|status| is_of_state(status, case.kind)) {
            hold.insert(*at);
            continue;
        }
        // As one of several of which there must be one.
        let choice = case.path.rsplit_once('.').map(|(choice, _)| choice);
        if refused.is_some_and(|status| violations(status).iter().any(|one| Some(&**one) == choice))
        {
            continue;
        }
        if let Some(problem) = judge(row, case, None, answer) {
            wrong.push(format!("said to be taken: {problem}"));
        }
    }
    wrong
}

/// Whether a status says that nothing is wrong with the request itself.
fn is_of_state(status: &Status, kind: Kind) -> bool {
    let of_state = [
        Code::FailedPrecondition,
        Code::ResourceExhausted,
        Code::AlreadyExists,
    ];
    let unseen = status.code() == Code::NotFound && matches!(kind, Kind::Unknown | Kind::Foreign);
    unseen || of_state.contains(&status.code())
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
    let mut bytes = message.encode_to_vec();
    bytes.extend(UNKNOWN_TAG);
    ways.call(&path, world.account, bytes).await
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
    let named = |path: &str| violations(&status).iter().any(|field| names(field, path));
    let is_refused = status.code() == Code::InvalidArgument && named(&case.path);
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

/// The fields that a refusal names.
fn violations(status: &Status) -> Vec<String> {
    let request = status.get_details_bad_request();
    let violations = request.map(|request| request.field_violations);
    let violations = violations.unwrap_or_default().into_iter();
    violations.map(|violation| violation.field).collect()
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
