//! The files of the repository as checks read them.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file: its path from the root, with `/`, and what it holds.
pub(crate) struct File {
    /// Such as `services/core/src/lib.rs`.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

/// The folder that holds the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// Every file whose name ends like this, sorted, without what builds leave.
pub(crate) fn files(ending: &str) -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, ending, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {}", root.display());
    found
        .into_iter()
        .map(|path| File {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(&root).unwrap().display().to_string(),
        })
        .collect()
}

fn walk(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') || name == "target" || name == "node_modules" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), ending, found);
        } else if name.ends_with(ending) {
            found.push(entry.path());
        }
    }
}

/// Lines that are code, with their numbers from 1: comments stay out.
pub(crate) fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The lines of code before the unit tests.
pub(crate) fn product(text: &str) -> impl Iterator<Item = (usize, &str)> {
    code(text).take_while(|(_, line)| line.trim() != "#[cfg(test)]")
}

/// Whether a line holds this word, and not merely as a part of a longer one.
pub(crate) fn says(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let starts_inside = word.starts_with(joins) && line[..at].ends_with(joins);
        let ends_inside = word.ends_with(joins) && line[at + word.len()..].starts_with(joins);
        !starts_inside && !ends_inside
    })
}

#[test]
fn a_word_is_found_whole_and_outside_comments() {
    assert!(says("use tonic::Status;", "tonic"));
    assert!(!says("use tectonic_plates;", "tonic"));
    assert!(says("x.await?", ".await"));
    assert_eq!(
        code("// tonic\nlet a = 1;").collect::<Vec<_>>(),
        [(2, "let a = 1;")]
    );
    assert_eq!(product("a\n#[cfg(test)]\nb").count(), 1);
}
