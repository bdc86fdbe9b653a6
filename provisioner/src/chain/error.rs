//! Problems of a `chain.toml`: each with its field, its line and column, and
//! what to do about it.

use std::fmt;
use std::ops::Range;

use toml_edit::{Document, Item, Table, Value};

/// All that is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(.0))]
pub struct Invalid(pub Vec<Problem>);

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path such as `components[0].image.digest`; empty for the file as a whole.
    pub field: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// Where in the entry something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Path {
    /// A field of the whole entry.
    pub(crate) fn field(name: &str) -> Self {
        Self::default().key(name)
    }

    /// A field of what stands here.
    pub(crate) fn key(&self, name: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(name.to_owned()));
        Self(steps)
    }

    /// An element of the list that stands here, from 0.
    pub(crate) fn at(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<(Path, String, String)>);

impl Report {
    /// Notes a problem and what to do about it.
    pub(crate) fn add(&mut self, path: &Path, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push((path.clone(), message.into(), hint.into()));
    }

    /// Notes a problem unless the condition holds.
    pub(crate) fn ensure(&mut self, holds: bool, path: &Path, message: &str, hint: &str) {
        if !holds {
            self.add(path, message, hint);
        }
    }

    /// Turns what was found into an error that says where in the text it stands.
    pub(crate) fn finish(self, text: &str) -> Result<(), Invalid> {
        if self.0.is_empty() {
            return Ok(());
        }
        let document = Document::parse(text).ok();
        let problems = self
            .0
            .into_iter()
            .map(|(path, message, hint)| {
                let offset = document.as_ref().map_or(0, |d| find(d.as_table(), &path).1);
                problem(text, offset, path.to_string(), message, hint)
            })
            .collect();
        Err(Invalid(problems))
    }
}

/// The error of a text that does not have the shape of an entry.
pub(crate) fn misshapen(text: &str, error: &toml::de::Error) -> Invalid {
    let span = error.span().unwrap_or(0..0);
    let message = printable(error.message().lines().next().unwrap_or_default());
    let (message, hint) = message
        .split_once(", ")
        .map_or((message.as_str(), ""), |(message, hint)| (message, hint));
    let mut path = Path::default();
    let mut offset = span.start;
    if let Ok(document) = Document::parse(text) {
        let root = Item::Table(document.as_table().clone());
        descend(&root, &span, &mut path);
        let unknown = unknown_field(message).and_then(|name| path_of(&root, &path, name));
        if let Some(unknown) = unknown {
            offset = find(document.as_table(), &unknown).0;
            path = unknown;
        }
    }
    let field = path.to_string();
    let (message, hint) = (message.to_owned(), hint.to_owned());
    Invalid(vec![problem(text, offset, field, message, hint)])
}

/// A problem with the text as a whole.
pub(crate) fn whole(message: &str, hint: &str) -> Invalid {
    Invalid(vec![problem(
        "",
        0,
        String::new(),
        message.to_owned(),
        hint.to_owned(),
    )])
}

fn problem(text: &str, offset: usize, field: String, message: String, hint: String) -> Problem {
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    Problem {
        field,
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        message,
        hint,
    }
}

/// Text of a stranger, fit for one line.
fn printable(text: &str) -> String {
    const MAX: usize = 600;
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    one_line.take(MAX).collect()
}

fn unknown_field(message: &str) -> Option<&str> {
    message
        .strip_prefix("unknown field `")?
        .split('`')
        .next()
        .filter(|name| !name.is_empty())
}

/// One level below an item, by step.
fn children(item: &Item) -> Vec<(Step, Item)> {
    let key = |k: &str| Step::Key(k.to_owned());
    match item {
        Item::Table(table) => table.iter().map(|(k, i)| (key(k), i.clone())).collect(),
        Item::Value(Value::InlineTable(table)) => table
            .iter()
            .map(|(k, v)| (key(k), Item::Value(v.clone())))
            .collect(),
        Item::ArrayOfTables(tables) => tables
            .iter()
            .enumerate()
            .map(|(i, t)| (Step::Index(i), Item::Table(t.clone())))
            .collect(),
        Item::Value(Value::Array(array)) => array
            .iter()
            .enumerate()
            .map(|(i, v)| (Step::Index(i), Item::Value(v.clone())))
            .collect(),
        Item::None | Item::Value(_) => Vec::new(),
    }
}

/// Follows a span down to the smallest item that holds it.
fn descend(item: &Item, span: &Range<usize>, path: &mut Path) {
    for (step, child) in children(item) {
        let holds = extent(&child).is_some_and(|s| s.start <= span.start && span.end <= s.end);
        if holds {
            path.0.push(step);
            return descend(&child, span, path);
        }
    }
}

/// From the first to the last byte of an item and all below it.
fn extent(item: &Item) -> Option<Range<usize>> {
    let own = item.span();
    let below = children(item)
        .into_iter()
        .filter_map(|(_, child)| extent(&child));
    own.into_iter()
        .chain(below)
        .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
}

/// The first field of this name at or below a path.
fn path_of(root: &Item, from: &Path, name: &str) -> Option<Path> {
    let mut item = root.clone();
    for step in &from.0 {
        item = children(&item)
            .into_iter()
            .find(|(s, _)| s == step)
            .map(|(_, child)| child)?;
    }
    let mut todo = vec![(from.clone(), item)];
    while let Some((path, item)) = todo.pop() {
        for (step, child) in children(&item).into_iter().rev() {
            let mut below = path.clone();
            let found = step == Step::Key(name.to_owned());
            below.0.push(step);
            if found {
                return Some(below);
            }
            todo.push((below, child));
        }
    }
    None
}

/// Where a path stands, its name and its value; of its nearest parent when it is
/// not written at all.
fn find(root: &Table, path: &Path) -> (usize, usize) {
    let mut item = Item::Table(root.clone());
    let (mut name, mut value) = (0, 0);
    for step in &path.0 {
        let Some((_, child)) = children(&item).into_iter().find(|(s, _)| s == step) else {
            break;
        };
        let key = match step {
            Step::Key(key) => item.as_table_like().and_then(|t| t.key(key)),
            Step::Index(_) => None,
        };
        let start = |span: Range<usize>| span.start;
        let own = child.span().map(start);
        if let Some(at) = key.and_then(toml_edit::Key::span).map(start).or(own) {
            (name, value) = (at, at);
        }
        if let (Some(at), Item::Value(_)) = (own, &child) {
            value = at;
        }
        item = child;
    }
    (name, value)
}
