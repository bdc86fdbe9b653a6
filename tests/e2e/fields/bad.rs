//! What no field takes: for each its bad values, by its type and its name.

use super::world::World;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind as Type, MapKey, MessageDescriptor, ReflectMessage as _,
    Value,
};
use std::collections::HashMap;

/// Longer than any text that is taken whole.
const LONG: usize = 20_000;
/// More than any list holds.
const MANY: usize = 10_001;

/// How a value is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It is not there, or empty.
    Missing,
    /// Text or bytes that do not end.
    Long,
    /// Characters that move a terminal, and the one that no database takes.
    Control,
    /// Not of the form that the field has.
    Garbage,
    /// An identifier of something else.
    Mistaken,
    /// An identifier of nothing.
    Unknown,
    /// An identifier of another account's.
    Foreign,
    /// An etag of another version.
    Stale,
    /// Below zero.
    Negative,
    /// Zero, or no time at all.
    Zero,
    /// The highest of its type.
    Huge,
    /// No number.
    NotFinite,
    /// Nanoseconds below zero, or more than a second of them.
    Nanos,
    /// A list or map with too much in it.
    Many,
}

/// A request with one bad value in it.
pub(super) struct Case {
    /// The field, such as `spec.claim.memory_bytes`.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// What an identifier was replaced with.
    pub(super) id: Option<String>,
    pub(super) message: DynamicMessage,
}

/// A bad value; none stands for nothing.
struct Bad(Kind, Option<Value>);

/// Each bad request that is made of a good one.
pub(super) fn cases(good: &DynamicMessage, world: &World) -> Vec<Case> {
    let mut all = Vec::new();
    for field in good.descriptor().fields() {
        let name = field.name().to_owned();
        let is_there = good.has_field(&field);
        let mut add = |path: String, Bad(kind, value): Bad, wrap: &dyn Fn(Value) -> Value| {
            // Nothing is taken away where nothing is.
            if value.is_none() && !is_there {
                return;
            }
            let mut message = good.clone();
            let id = match (&kind, &value) {
                (Kind::Mistaken | Kind::Unknown | Kind::Foreign, Some(Value::String(id))) => {
                    Some(id.clone())
                }
                _ => None,
            };
            match value {
                Some(value) => message.set_field(&field, wrap(value)),
                None => message.clear_field(&field),
            }
            all.push(Case {
                path,
                kind,
                id,
                message,
            });
        };
        if field.is_map() {
            for (path, bad) in of_map(&field) {
                add(path, bad, &|value| value);
            }
            continue;
        }
        if field.is_list() {
            add(name.clone(), Bad(Kind::Missing, None), &|value| value);
            add(name.clone(), too_many(good, &field, world), &|value| value);
            let first = format!("{name}[0]");
            for bad in of_one(&field, world) {
                // No item is missing in a list.
                if bad.1.is_some() {
                    add(first.clone(), bad, &|value| Value::List(vec![value]));
                }
            }
        } else {
            let choice = field
                .containing_oneof()
                .filter(|oneof| !oneof.is_synthetic());
            for bad in of_one(&field, world) {
                let whole = choice.as_ref().filter(|_| bad.1.is_none());
                let path = whole.map_or(name.as_str(), |oneof| oneof.name()).to_owned();
                add(path, bad, &|value| value);
            }
        }
        for case in inner(good, &field, world) {
            let mut message = good.clone();
            let value = Value::Message(case.message);
            let (path, value) = if field.is_list() {
                (format!("{name}[0].{}", case.path), Value::List(vec![value]))
            } else {
                (format!("{name}.{}", case.path), value)
            };
            message.set_field(&field, value);
            all.push(Case {
                path,
                message,
                ..case
            });
        }
    }
    all
}

/// Those of a message that stands in a field, or first in its list.
fn inner(good: &DynamicMessage, field: &FieldDescriptor, world: &World) -> Vec<Case> {
    let Type::Message(kind) = field.kind() else {
        return Vec::new();
    };
    if is_whole(&kind) || !good.has_field(field) {
        return Vec::new();
    }
    let value = good.get_field(field);
    let first = || value.as_list()?.first()?.as_message();
    let inner = value.as_message().or_else(first);
    cases(inner.expect("a message, or a list of them"), world)
}

/// A message that is bad as a whole, not field by field.
pub(super) fn is_whole(message: &MessageDescriptor) -> bool {
    message.full_name().starts_with("google.protobuf.")
}

fn too_many(good: &DynamicMessage, field: &FieldDescriptor, world: &World) -> Bad {
    let list = good.get_field(field);
    let first = list.as_list().and_then(|list| list.first()).cloned();
    let text = || (field.kind() == Type::String).then(|| Value::String(world.ours["key"].clone()));
    let one = first.or_else(text);
    let one = one.unwrap_or_else(|| panic!("a good request has no {}", field.full_name()));
    Bad(Kind::Many, Some(Value::List(vec![one; MANY])))
}

fn of_map(field: &FieldDescriptor) -> Vec<(String, Bad)> {
    let Type::Message(entry) = field.kind() else {
        panic!("{}: a map has entries", field.full_name());
    };
    let is_text = entry.map_entry_value_field().kind() == Type::String;
    let value = |text: &str| {
        if is_text {
            Value::String(text.to_owned())
        } else {
            Value::Bytes(text.as_bytes().to_vec().into())
        }
    };
    let map = |pairs: Vec<(String, Value)>| {
        let pairs = pairs
            .into_iter()
            .map(|(key, value)| (MapKey::String(key), value));
        Some(Value::Map(pairs.collect::<HashMap<_, _>>()))
    };
    let name = field.name();
    let many = (0..MANY)
        .map(|at| (format!("key-{at}"), value("x")))
        .collect();
    let mut all = vec![
        (name.to_owned(), Bad(Kind::Missing, None)),
        (name.to_owned(), Bad(Kind::Many, map(many))),
        (
            name.to_owned(),
            Bad(Kind::Garbage, map(vec![("no-such".to_owned(), value("x"))])),
        ),
        (
            name.to_owned(),
            Bad(Kind::Control, map(vec![(control(), value("x"))])),
        ),
        (
            name.to_owned(),
            Bad(Kind::Long, map(vec![("x".repeat(LONG), value("x"))])),
        ),
    ];
    if is_text {
        for key in ["node", "moniker"] {
            let path = format!("{name}.{key}");
            for (kind, text) in [(Kind::Control, control()), (Kind::Long, "x".repeat(LONG))] {
                let bad = map(vec![(key.to_owned(), value(&text))]);
                all.push((path.clone(), Bad(kind, bad)));
            }
        }
    }
    all
}

fn control() -> String {
    "a\u{0}b\u{1b}[31m".to_owned()
}

/// The bad values of a field, or of one item of its list.
fn of_one(field: &FieldDescriptor, world: &World) -> Vec<Bad> {
    let missing = Bad(Kind::Missing, None);
    match field.kind() {
        Type::Bool => Vec::new(),
        Type::String => of_text(field.name(), world),
        Type::Bytes => vec![
            missing,
            Bad(Kind::Long, Some(Value::Bytes(vec![7; LONG].into()))),
        ],
        Type::Enum(_) => vec![
            missing,
            Bad(Kind::Unknown, Some(Value::EnumNumber(4242))),
            Bad(Kind::Negative, Some(Value::EnumNumber(-1))),
        ],
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => vec![
            Bad(Kind::Zero, Some(Value::I32(0))),
            Bad(Kind::Negative, Some(Value::I32(-1))),
            Bad(Kind::Negative, Some(Value::I32(i32::MIN))),
            Bad(Kind::Huge, Some(Value::I32(i32::MAX))),
        ],
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => vec![
            Bad(Kind::Zero, Some(Value::I64(0))),
            Bad(Kind::Negative, Some(Value::I64(-1))),
            Bad(Kind::Negative, Some(Value::I64(i64::MIN))),
            Bad(Kind::Huge, Some(Value::I64(i64::MAX))),
        ],
        Type::Uint32 | Type::Fixed32 => vec![
            Bad(Kind::Zero, Some(Value::U32(0))),
            Bad(Kind::Huge, Some(Value::U32(u32::MAX))),
        ],
        Type::Uint64 | Type::Fixed64 => vec![
            Bad(Kind::Zero, Some(Value::U64(0))),
            Bad(Kind::Huge, Some(Value::U64(u64::MAX))),
        ],
        Type::Double => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
            .map(|value| Bad(Kind::NotFinite, Some(Value::F64(value))))
            .into(),
        Type::Float => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
            .map(|value| Bad(Kind::NotFinite, Some(Value::F32(value))))
            .into(),
        Type::Message(message) => match message.full_name() {
            "google.protobuf.Duration" => of_time(&message, true),
            "google.protobuf.Timestamp" => of_time(&message, false),
            "google.protobuf.FieldMask" => of_mask(&message),
            name if name.starts_with("google.") => panic!("no bad values of {name} are known"),
            _ => vec![missing],
        },
    }
}

fn of_time(message: &MessageDescriptor, is_span: bool) -> Vec<Bad> {
    let time = |seconds: i64, nanos: i32| {
        let mut value = DynamicMessage::new(message.clone());
        value.set_field_by_name("seconds", Value::I64(seconds));
        value.set_field_by_name("nanos", Value::I32(nanos));
        Some(Value::Message(value))
    };
    let mut all = vec![
        Bad(Kind::Missing, None),
        Bad(Kind::Negative, time(i64::MIN, 0)),
        Bad(Kind::Huge, time(i64::MAX, 0)),
        Bad(Kind::Nanos, time(3600, -1)),
        Bad(Kind::Nanos, time(3600, 2_000_000_000)),
    ];
    if is_span {
        all.push(Bad(Kind::Zero, time(0, 0)));
        all.push(Bad(Kind::Negative, time(-1, 0)));
    }
    all
}

fn of_mask(message: &MessageDescriptor) -> Vec<Bad> {
    let mask = |paths: Vec<String>| {
        let mut value = DynamicMessage::new(message.clone());
        let paths = paths.into_iter().map(Value::String).collect();
        value.set_field_by_name("paths", Value::List(paths));
        Some(Value::Message(value))
    };
    vec![
        Bad(Kind::Missing, None),
        Bad(Kind::Garbage, mask(vec!["no_such_field".to_owned()])),
        Bad(Kind::Control, mask(vec![control()])),
        Bad(Kind::Many, mask(vec!["spec".to_owned(); MANY])),
    ]
}

fn of_text(name: &str, world: &World) -> Vec<Bad> {
    let text = |kind, text: &str| Bad(kind, Some(Value::String(text.to_owned())));
    let mut all = vec![
        Bad(Kind::Missing, None),
        text(Kind::Long, &"x".repeat(LONG)),
        text(Kind::Control, &control()),
        text(Kind::Control, "gpu\u{202e}xof"),
    ];
    let (_, thing) = THINGS
        .iter()
        .find(|(field, _)| *field == name)
        .unwrap_or(&("", ""));
    match name {
        _ if !thing.is_empty() => {
            all.push(text(Kind::Garbage, "../../etc/passwd"));
            let other = if *thing == "lease" {
                "machine"
            } else {
                "lease"
            };
            if *thing == "key" {
                all.push(text(Kind::Unknown, &format!("0x{}", "ab".repeat(48))));
            } else {
                all.push(text(Kind::Mistaken, &format!("{other}-{NOBODY}")));
                all.push(text(Kind::Unknown, &format!("{thing}-{NOBODY}")));
            }
            if let Some(theirs) = world.theirs.get(thing) {
                all.push(text(Kind::Foreign, theirs));
            }
        }
        "chain" => {
            all.push(text(Kind::Garbage, "../../etc/passwd"));
            all.push(text(Kind::Unknown, "no-such-chain"));
        }
        "etag" => {
            all.push(text(Kind::Garbage, "not an etag"));
            all.push(text(Kind::Stale, "\"4611686018427387904\""));
        }
        _ if FREE.contains(&name) => {}
        _ => all.push(text(Kind::Garbage, "../../etc/passwd")),
    }
    all
}

/// Fields that hold any words.
const FREE: &[&str] = &[
    "memo",
    "problem",
    "report",
    "display_name",
    "region",
    "gpu_model",
    "names",
    "done",
    "missed",
    "in_set",
    "refused",
    "unready",
];

/// What nobody has.
const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

/// Fields that name something, and what.
const THINGS: &[(&str, &str)] = &[
    ("account_id", "account"),
    ("supplier_id", "supplier"),
    ("machine_id", "machine"),
    ("offer_id", "offer"),
    ("lease_id", "lease"),
    ("node_id", "node"),
    ("placement_id", "placement"),
    ("incident_id", "incident"),
    ("webhook_id", "webhook"),
    ("public_key", "key"),
    ("public_keys", "key"),
    ("validators", "key"),
    ("confirmation", "key"),
];
