//! Links between the pages: each relative one leads somewhere.

use crate::none;
use crate::tree::{File, files, root};
use std::path::Path;

/// Targets of the links in a text, with line numbers; code is left out.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            if let Some((target, _)) = line[at + 2..].split_once(')') {
                found.push((number, target));
            }
        }
    }
    found
}

fn check(file: &File, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let folder = Path::new(&file.path).parent().unwrap();
    targets(&file.text)
        .into_iter()
        .filter(|(_, target)| !target.contains("://") && !target.starts_with(['#', '<']))
        .filter_map(|(number, target)| {
            let page = target.split('#').next()?;
            (!exists(&folder.join(page))).then(|| {
                format!(
                    "{}:{number}: {target} leads nowhere: write the page or cut the link.",
                    file.path
                )
            })
        })
        .collect()
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let root = root();
    let wrong: Vec<_> = files(".md")
        .iter()
        .flat_map(|file| check(file, |path| root.join(path).exists()))
        .collect();
    none(&wrong);
}

#[test]
fn a_dead_link_is_found() {
    let page = |text: &str| File {
        path: "docs/api.md".to_owned(),
        text: text.to_owned(),
    };
    let found = |text: &str| check(&page(text), |path| path == Path::new("docs/errors.md")).len();
    assert_eq!(
        found("see [errors](errors.md#reasons) and [gone](gone.md)"),
        1
    );
    assert_eq!(
        found("see [errors](errors.md), [web](https://example.org) and [below](#below)"),
        0
    );
    assert_eq!(found("```\n[not](alink)\n```"), 0);
}
