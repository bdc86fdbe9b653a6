//! Reads the Prometheus text format, line by line, without keeping anything.
//!
//! The reader is lenient: a line that it cannot read is no sample and no error,
//! since one odd line of a node must not hide the others. The caller bounds the
//! length of the text.

use std::borrow::Cow;

use crate::sample::Kind;

/// One sample, as the text writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// Name of the sample, such as `http_requests_total`.
    pub name: &'a str,
    /// The value; may be infinite or not a number.
    pub value: f64,
    /// Whether the text declares it a total.
    pub kind: Kind,
    labels: &'a str,
}

impl<'a> Line<'a> {
    /// Its labels, in the order of the text. Ends at the first that is malformed.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let (name, value, after) = label(rest)?;
            rest = after;
            Some((name, value))
        })
    }
}

/// The samples of a text.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut family = Family::default();
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            if let Some(declared) = Family::parse(comment) {
                family = declared;
            }
            return None;
        }
        sample(line, &family)
    })
}

/// What the last `# TYPE` line declared.
#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    declared: &'a str,
}

impl<'a> Family<'a> {
    fn parse(comment: &'a str) -> Option<Self> {
        let mut words = comment.split_ascii_whitespace();
        (words.next()? == "TYPE").then_some(())?;
        Some(Self {
            name: words.next()?,
            declared: words.next()?,
        })
    }

    fn kind(&self, sample: &str) -> Kind {
        let Some(suffix) = sample.strip_prefix(self.name) else {
            return Kind::Gauge;
        };
        match (self.declared, suffix) {
            ("counter", "" | "_total")
            | ("histogram", "_bucket" | "_count")
            | ("summary", "_count") => Kind::Counter,
            // A sum of observations falls when one is negative.
            _ => Kind::Gauge,
        }
    }
}

fn sample<'a>(line: &'a str, family: &Family<'_>) -> Option<Line<'a>> {
    let end = line.find(|c: char| !is_name(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => inside.split_at(labels_end(inside)?),
        None => ("", rest),
    };
    let rest = rest.strip_prefix('}').unwrap_or(rest);
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Line {
        name,
        value,
        kind: family.kind(name),
        labels,
    })
}

const fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

/// Where the `}` stands that ends the labels; quoted ones do not.
fn labels_end(inside: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The first label of `text`, and what follows it.
fn label(text: &str) -> Option<(&str, Cow<'_, str>, &str)> {
    let text = text.trim_start_matches([',', ' ', '\t']);
    let (name, rest) = text.split_once('=')?;
    let quoted = rest.trim_start().strip_prefix('"')?;
    let mut escaped = false;
    let end = quoted.bytes().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => byte == b'"',
    })?;
    let (value, rest) = quoted.split_at(end);
    Some((name.trim(), unescape(value), &rest[1..]))
}

fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        plain.push(match c {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            c => c,
        });
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines that a Lodestar 1.5.1 validator client wrote.
    const VALIDATOR: &str = include_str!("../../tests/agent/data/lodestar-validator.txt");

    fn one(text: &str) -> Line<'_> {
        lines(text).next().unwrap()
    }

    fn labels<'a>(line: &Line<'a>) -> Vec<(&'a str, String)> {
        line.labels()
            .map(|(name, value)| (name, value.into_owned()))
            .collect()
    }

    #[test]
    fn the_page_of_a_real_validator_client_is_read() {
        let found: Vec<_> = lines(VALIDATOR).collect();
        let published = found
            .iter()
            .find(|l| l.name == "vc_published_attestations_total")
            .unwrap();
        // The name says total, the declaration says gauge: the declaration counts.
        assert_eq!((published.value, published.kind), (103.0, Kind::Gauge));
        let version = found
            .iter()
            .find(|line| line.name == "lodestar_version")
            .unwrap();
        assert_eq!(version.kind, Kind::Gauge);
        assert_eq!(labels(version)[2], ("network", "dev".to_owned()));
        let bucket = found
            .iter()
            .rfind(|line| line.name.ends_with("_bucket"))
            .unwrap();
        assert_eq!(
            (labels(bucket), bucket.kind),
            (vec![("le", "+Inf".into())], Kind::Counter)
        );
    }

    #[test]
    fn escapes_braces_spaces_and_timestamps_are_understood() {
        let line = one("m { a=\"x\\\"}\\n\\\\\" , b=\"é\", } 1.5e3 1712000000000");
        assert_eq!((line.name, line.value), ("m", 1500.0));
        assert_eq!(
            labels(&line),
            [("a", "x\"}\n\\".to_owned()), ("b", "é".to_owned())]
        );
        assert!(one("m NaN").value.is_nan());
        assert_eq!(one("m{} +Inf").value, f64::INFINITY);
    }

    #[test]
    fn a_line_that_cannot_be_read_hides_no_other() {
        let text = "<html>\nm{a=\"b\" 3\n1m 4\nm\nm x\n\n# TYPE m\n#\nn 5\n";
        let found: Vec<_> = lines(text).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name, found[0].value), ("n", 5.0));
    }

    proptest! {
        #[test]
        fn no_text_stops_the_reader(text in "\\PC{0,200}|([a-z#{}=\",\\\\ \n0-9]{0,200})") {
            for line in lines(&text) {
                prop_assert!(!line.name.is_empty());
                prop_assert!(line.labels().count() <= text.len());
            }
        }

        #[test]
        fn what_is_written_by_the_rules_is_read_back(
            name in "[a-z_:][a-z0-9_:]{0,20}",
            labels in prop::collection::btree_map("[a-z_][a-z0-9_]{0,8}", "\\PC{0,12}", 0..4),
            value in any::<i32>(),
        ) {
            let written: Vec<_> = labels
                .iter()
                .map(|(name, value)| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                    format!("{name}=\"{}\"", value.replace('\n', "\\n"))
                })
                .collect();
            let text = format!("# TYPE {name} gauge\n{name}{{{}}} {value}\n", written.join(","));
            let read = one(&text);
            prop_assert_eq!(read.name, &name);
            prop_assert_eq!(read.value, f64::from(value));
            let read: std::collections::BTreeMap<_, _> = read.labels()
                .map(|(name, value)| (name.to_owned(), value.into_owned()))
                .collect();
            prop_assert_eq!(read, labels);
        }
    }
}
