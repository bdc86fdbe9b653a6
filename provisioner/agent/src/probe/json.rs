//! Numbers out of JSON answers: plain HTTP and JSON-RPC 2.0.

use bytes::Bytes;
use chrono::DateTime;
use serde_json::{Value, json};

use super::ProbeError;
use super::fetch::fetch;
use crate::config::{HttpJson, JsonRpc, Read, Reading};
use crate::sample::Sample;

/// Longest answer; parsed it takes some 16 times as much for the moment.
const MAX_BODY: usize = 1024 * 1024;

/// `GET`, then numbers out of the answer.
///
/// # Errors
/// When there is no successful answer or it is no JSON.
pub async fn http(probe: &HttpJson) -> Result<Vec<Sample>, ProbeError> {
    let body = fetch(&probe.url, None, MAX_BODY).await?;
    Ok(readings(&parse(&body)?, &probe.values))
}

/// A JSON-RPC call, then numbers out of the answer.
///
/// # Errors
/// When there is no successful answer, it is no JSON or carries an error.
pub async fn rpc(probe: &JsonRpc) -> Result<Vec<Sample>, ProbeError> {
    let call = json!({
        "jsonrpc": "2.0", "id": 1, "method": probe.method, "params": probe.params,
    });
    let body = fetch(&probe.url, Some(Bytes::from(call.to_string())), MAX_BODY).await?;
    let answer = parse(&body)?;
    match answer.get("error") {
        None | Some(Value::Null) => Ok(readings(&answer, &probe.values)),
        Some(error) => {
            let code = error
                .get("code")
                .and_then(Value::as_i64)
                .unwrap_or_default();
            Err(ProbeError::Malformed(format!(
                "the call answers error {code}"
            )))
        }
    }
}

fn parse(body: &[u8]) -> Result<Value, ProbeError> {
    serde_json::from_slice(body)
        .map_err(|error| ProbeError::Malformed(format!("the answer is no JSON: {error}")))
}

fn readings(answer: &Value, wanted: &[Reading]) -> Vec<Sample> {
    let sample = |reading: &Reading| {
        let value = read(answer, reading)?;
        Some(Sample::gauge(&reading.metric, value).unit(&reading.unit))
    };
    wanted.iter().filter_map(sample).collect()
}

/// The number that a reading finds; `None` when there is none.
fn read(answer: &Value, reading: &Reading) -> Option<f64> {
    if reading.read == Read::Max {
        return largest(answer, &reading.pointer);
    }
    let found = answer.pointer(&reading.pointer);
    let value = match reading.read {
        Read::Number | Read::Max => number(found?)?,
        Read::Truthy => f64::from(u8::from(found.is_some_and(truthy))),
        Read::Time => time(found?.as_str()?)?,
        Read::Count => match found? {
            Value::Array(elements) => elements.len() as f64,
            Value::Object(fields) => fields.len() as f64,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        },
    };
    value.is_finite().then_some(value)
}

fn largest(answer: &Value, pointer: &str) -> Option<f64> {
    let (list, element) = pointer.split_once("/*")?;
    let elements: Box<dyn Iterator<Item = &Value>> = match answer.pointer(list)? {
        Value::Array(elements) => Box::new(elements.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    };
    elements
        .filter_map(|value| number(value.pointer(element)?))
        .filter(|value| value.is_finite())
        .reduce(f64::max)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(holds) => Some(f64::from(u8::from(*holds))),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u128::from_str_radix(digits, 16)
                .ok()
                .map(|value| value as f64),
            None => text.parse().ok(),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(holds) => *holds,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn time(text: &str) -> Option<f64> {
    let micros = DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros();
    Some(micros as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answer of a CometBFT 1.0.1 node to `GET /status`.
    const STATUS: &str = include_str!("../../tests/agent/data/cometbft-status.json");

    fn value(answer: &str, pointer: &str, read: Read) -> Option<f64> {
        let reading = Reading {
            metric: "m".into(),
            pointer: pointer.into(),
            read,
            unit: String::new(),
        };
        super::read(&serde_json::from_str(answer).unwrap(), &reading)
    }

    #[test]
    fn the_status_of_a_comet_node_is_read() {
        let height = "/result/sync_info/latest_block_height";
        assert_eq!(value(STATUS, height, Read::Number), Some(21.0));
        let catching_up = "/result/sync_info/catching_up";
        assert_eq!(value(STATUS, catching_up, Read::Number), Some(0.0));
        let time = "/result/sync_info/latest_block_time";
        assert_eq!(value(STATUS, time, Read::Time), Some(1_795_451_533.978_793));
        assert_eq!(value(STATUS, "/result/absent", Read::Number), None);
    }

    #[test]
    fn numbers_come_as_numbers_decimal_or_hexadecimal_text_and_booleans() {
        for (json, wanted) in [
            ("7", Some(7.0)),
            ("-1.5", Some(-1.5)),
            (r#""0x1f""#, Some(31.0)),
            (r#""12""#, Some(12.0)),
            ("true", Some(1.0)),
            (r#""inf""#, None),
            (r#""NaN""#, None),
            (r#""0x""#, None),
            (r#""high""#, None),
            ("null", None),
            ("[1]", None),
        ] {
            assert_eq!(value(json, "", Read::Number), wanted, "{json}");
        }
    }

    #[test]
    fn everything_but_nothing_is_truthy() {
        for (json, wanted) in [
            ("false", 0.0),
            ("null", 0.0),
            ("0", 0.0),
            (r#""""#, 0.0),
            ("{}", 1.0),
            (r#"{"currentBlock":"0x1"}"#, 1.0),
            ("true", 1.0),
        ] {
            assert_eq!(value(json, "", Read::Truthy), Some(wanted), "{json}");
        }
        assert_eq!(value("{}", "/absent", Read::Truthy), Some(0.0));
    }

    #[test]
    fn elements_are_counted_and_the_largest_is_found() {
        let peers = r#"{"peers":[{"h":"3"},{"h":"9"},{"x":1},{"h":4}],"none":[]}"#;
        assert_eq!(value(peers, "/peers", Read::Count), Some(4.0));
        assert_eq!(value(peers, "/peers/*/h", Read::Max), Some(9.0));
        assert_eq!(value(peers, "/none/*/h", Read::Max), None);
        assert_eq!(value(peers, "/peers/0/h", Read::Count), None);
        assert_eq!(
            value(r#"{"a":{"b":2,"c":5}}"#, "/a/*", Read::Max),
            Some(5.0)
        );
    }
}
