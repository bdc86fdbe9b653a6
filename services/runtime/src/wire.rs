//! Between well-known messages and our values.

use berth_core::{Error, Money, Resource, Result};
use berth_proto::api::v1 as pb;
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

/// Parts of a second.
const NANOS: Range<i32> = 0..1_000_000_000;

/// A field that is an identifier, a name or anything else that parses.
///
/// # Errors
///
/// [`Error::Invalid`] with the field.
pub fn parse<T>(field: &str, text: &str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    if text.is_empty() {
        return Err(Error::invalid(field, "is required"));
    }
    text.parse()
        .map_err(|problem| Error::invalid(field, problem))
}

/// The same, where empty means absent.
///
/// # Errors
///
/// [`Error::Invalid`] with the field.
pub fn parse_optional<T>(field: &str, text: &str) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: Display,
{
    if text.is_empty() {
        Ok(None)
    } else {
        parse(field, text).map(Some)
    }
}

/// A message that must be there.
///
/// # Errors
///
/// [`Error::Invalid`] with the field.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::invalid(field, "is required"))
}

/// A time, for the wire.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().cast_signed(),
    }
}

/// A time from the wire.
///
/// # Errors
///
/// [`Error::Invalid`] for a time outside the years 1 to 9999.
pub fn time(field: &str, value: prost_types::Timestamp) -> Result<DateTime<Utc>> {
    let nanos = Some(value.nanos).filter(|nanos| NANOS.contains(nanos));
    nanos
        .map(i32::cast_unsigned)
        .and_then(|nanos| DateTime::from_timestamp(value.seconds, nanos))
        .filter(|time| (-62_135_596_800..253_402_300_800).contains(&time.timestamp()))
        .ok_or_else(|| Error::invalid(field, "is not a time between the years 1 and 9999"))
}

/// A span of time, for the wire.
#[must_use]
pub fn duration(span: TimeDelta) -> prost_types::Duration {
    prost_types::Duration {
        seconds: span.num_seconds(),
        nanos: span.subsec_nanos(),
    }
}

/// A span of time from the wire, in whole seconds and within limits.
///
/// # Errors
///
/// [`Error::Invalid`] when it is outside `min..=max`.
pub fn span(
    field: &str,
    value: prost_types::Duration,
    min: TimeDelta,
    max: TimeDelta,
) -> Result<TimeDelta> {
    TimeDelta::try_seconds(value.seconds)
        .filter(|span| *span >= min && *span <= max && NANOS.contains(&value.nanos))
        .ok_or_else(|| {
            Error::invalid(
                field,
                format!(
                    "must be from {} to {} seconds",
                    min.num_seconds(),
                    max.num_seconds()
                ),
            )
        })
}

/// The whole seconds of a span of time from the wire; none where it is no span.
#[must_use]
pub fn whole_seconds(value: prost_types::Duration) -> Option<i64> {
    Some(value.seconds).filter(|_| NANOS.contains(&value.nanos))
}

/// An amount, for the wire.
#[must_use]
pub fn money(money: Money) -> pb::Money {
    pb::Money {
        currency: money.currency.to_string(),
        micros: money.micros,
    }
}

/// An amount from the wire: more than zero and at most a billion units.
///
/// # Errors
///
/// [`Error::Invalid`] naming the part that is wrong.
pub fn positive_money(field: &str, value: &pb::Money) -> Result<Money> {
    let currency = parse(&format!("{field}.currency"), &value.currency)?;
    if (1..=1_000_000_000_000_000).contains(&value.micros) {
        Ok(Money::new(currency, value.micros))
    } else {
        Err(Error::invalid(
            format!("{field}.micros"),
            "must be more than zero and at most 1000000000000000",
        ))
    }
}

/// The etag of a version.
#[must_use]
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// Refuses a change that was made against an older version; an empty etag
/// asks for no check.
///
/// # Errors
///
/// [`Error::Conflict`] when the etag is stale, [`Error::Invalid`] with the field
/// when it is none of ours.
pub fn check_etag(resource: Resource, field: &str, given: &str, version: i64) -> Result<()> {
    if given.is_empty() || given == etag(version) {
        return Ok(());
    }
    let number = given
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    if number.is_some_and(|number| number.parse::<u64>().is_ok()) {
        Err(Error::Conflict { resource })
    } else {
        Err(Error::invalid(
            field,
            "is no etag: send what was read, or nothing",
        ))
    }
}
