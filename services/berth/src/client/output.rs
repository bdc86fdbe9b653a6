//! Printing: a table for people, canonical JSON for programs.

use anyhow::Context as _;
use berth_proto::api::v1 as pb;
use berth_runtime::schema::POOL;
use chrono::DateTime;
use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use prost_reflect::DynamicMessage;
use std::time::Duration;

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Table,
    /// The API's own JSON, for programs
    Json,
}

impl OutputArgs {
    /// Prints an answer: as JSON whole, or as the table that `rows` makes.
    pub(super) fn print<M: prost::Message + prost::Name>(
        self,
        message: &M,
        table: impl FnOnce(&M) -> Table,
    ) -> anyhow::Result<()> {
        match self.output {
            Output::Json => println!("{}", json(message)?),
            Output::Table => println!("{}", table(message).trim_fmt()),
        }
        Ok(())
    }

    /// Whether a program reads along.
    pub(super) fn is_json(self) -> bool {
        self.output == Output::Json
    }
}

/// Canonical JSON of a message.
pub(super) fn json<M: prost::Message + prost::Name>(message: &M) -> anyhow::Result<String> {
    let descriptor = POOL
        .get_message_by_name(&M::full_name())
        .with_context(|| format!("no description of {}", M::full_name()))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    Ok(serde_json::to_string_pretty(&message)?)
}

/// A table with a head.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.map(str::to_uppercase));
    table.add_rows(rows);
    table
}

/// A table of one thing: a field a line.
pub(super) fn fields(rows: Vec<(&str, String)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in rows {
        if !value.is_empty() {
            table.add_row([name, &value]);
        }
    }
    table
}

/// `STATE_RUNNING` as `running`.
pub(crate) fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix)
        .replace('_', " ")
        .to_lowercase()
}

/// An amount, or nothing.
pub(crate) fn money(money: Option<&pb::Money>) -> String {
    money.map_or_else(String::new, |money| {
        money.currency.parse().map_or_else(
            |_| format!("{} µ{}", money.micros, money.currency),
            |currency| berth_core::Money::new(currency, money.micros).to_string(),
        )
    })
}

/// A time in UTC, or nothing.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.and_then(|time| DateTime::from_timestamp(time.seconds, 0))
        .map_or_else(String::new, |time| {
            time.format("%Y-%m-%d %H:%M:%S").to_string()
        })
}

/// Bytes as people read them.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    for (size, unit) in UNITS {
        if bytes >= size {
            let tenths = bytes.saturating_mul(10) / size;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// Reads `90m`, `24h`, `30d`.
pub(super) fn duration(text: &str) -> Result<prost_types::Duration, String> {
    let span: Duration = humantime::parse_duration(text)
        .map_err(|problem| format!("{problem}; expected a time such as `90m`, `24h` or `30d`"))?;
    Ok(prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).map_err(|error| error.to_string())?,
        nanos: 0,
    })
}

/// Reads `1.50 EUR` or `1.50`.
pub(super) fn price(text: &str) -> Result<pb::Money, String> {
    let money = text.parse().map(berth_runtime::wire::money)?;
    if money.micros < 0 {
        return Err("is negative; expected an amount such as `1.50 EUR`".to_owned());
    }
    Ok(money)
}

/// A span of time, or nothing.
pub(super) fn span(span: Option<&prost_types::Duration>) -> String {
    span.and_then(|span| u64::try_from(span.seconds).ok())
        .map_or_else(String::new, |seconds| {
            humantime::format_duration(Duration::from_secs(seconds)).to_string()
        })
}
