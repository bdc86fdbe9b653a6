//! Entries of somebody who means harm: each is refused with its line and its field,
//! and what is sound comes out as it went in.

use super::tests::ENTRY;
use super::{ChainEntry, Invalid};
use proptest::prelude::*;

/// The entry with one line in place of another.
fn with(from: &str, to: &str) -> String {
    assert!(ENTRY.contains(from), "{from}");
    ENTRY.replacen(from, to, 1)
}

/// What is wrong with it, one line each.
fn wrong(text: &str) -> String {
    let Err(invalid) = ChainEntry::parse(text) else {
        return "nothing".to_owned();
    };
    for problem in &invalid.0 {
        let lines = text.lines().count() + 1;
        assert!((1..=lines).contains(&problem.line), "{problem}");
        let said = problem.to_string();
        assert!(said.len() <= 2048, "{} bytes", said.len());
        assert!(!said.contains(char::is_control), "{said:?}");
    }
    invalid.to_string()
}

#[test]
fn a_value_that_means_harm_is_refused_at_its_line_with_its_field() {
    let (cpu, name, command) = ("cpu_millis = 500", "name = \"example\"", "command = [");
    for (text, line, field) in [
        (with(cpu, "cpu_millis = -1"), 19, "cpu_millis"),
        (with(cpu, "cpu_millis = 0"), 19, "cpu_millis"),
        (with(cpu, "cpu_millis = 4294967296"), 19, "cpu_millis"),
        (with(cpu, "cpu_millis = 99999999999999999999999"), 19, ""),
        (with(cpu, "cpu_millis = nan"), 19, "cpu_millis"),
        (with(cpu, "cpu_millis = 1e300"), 19, "cpu_millis"),
        (with(cpu, "cpu_millis = \"500\""), 19, "cpu_millis"),
        (
            with(cpu, "cpu_millis = 500\ncpu_millis = 501"),
            20,
            "duplicate key",
        ),
        (with(cpu, "cpu_milis = 500"), 19, "cpu_milis"),
        (with("\"64MiB\"", "\"99999999999999TiB\""), 18, "memory"),
        (with("\"64MiB\"", "\"-1MiB\""), 18, "memory"),
        (with("number = 26656", "number = 0"), 24, "number"),
        (with("number = 26656", "number = 65536"), 24, "number"),
        (with("number = 26656", "number = -26656"), 24, "number"),
        (with(name, "name = \"\""), 2, "name"),
        (with(name, "name = \"a\\u0000b\""), 2, "name"),
        (with(name, "name = \"a\\u001b[2J\""), 2, "name"),
        (with(name, "name = \"../example\""), 2, "name"),
        (with(name, "name = 7"), 2, "name"),
        (
            with(name, &format!("name = \"{}\"", "x".repeat(100_000))),
            2,
            "name",
        ),
        (with(name, "name = \"a\0b\""), 2, ""),
        (with(command, "command = [7, "), 13, "command"),
        (with("schema = 1", "schema = 4294967296"), 1, "schema"),
        (with("schema = 1", "schema = 2"), 1, "schema"),
    ] {
        let wrong = wrong(&text);
        assert!(
            wrong.contains(&format!("line {line}, ")) && wrong.contains(field),
            "{field}, line {line}: {wrong}"
        );
    }
}

#[test]
fn nothing_nests_so_deep_or_repeats_so_often_that_it_is_not_refused() {
    let most = super::MAX_TEXT - ENTRY.len() - 64;
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let wide = format!("[{}]", "[[[[[[[[]]]]]]]],".repeat(most / 17));
    let tables = "[[components.x]]\n".repeat(most / 17);
    for text in [
        format!("{ENTRY}x = {}", "[".repeat(most)),
        format!("{ENTRY}x = {}", arrays(most / 2)),
        format!("{ENTRY}x = {}", arrays(70)),
        format!("{ENTRY}x = {wide}"),
        format!("{ENTRY}x = {}", "{a=".repeat(most / 3)),
        format!("{ENTRY}{} = 1", vec!["a"; most / 2].join(".")),
        format!("{ENTRY}[{}]", vec!["a"; most / 2].join(".")),
        format!("{ENTRY}{tables}"),
        format!("{ENTRY}{}", "x = 1\n".repeat(most / 6)),
        format!("{ENTRY}{}", "\"\\u0000\" = 1\n".repeat(most / 13)),
        format!("{ENTRY}x = \"\"\"{}", "\n".repeat(most)),
        format!("{ENTRY}# {}", "x".repeat(10 << 20)),
    ] {
        assert_ne!(wrong(&text), "nothing");
    }
}

#[test]
fn a_misspelt_field_is_told_what_it_may_be() {
    let wrong = wrong(&with("custody = ", "costody = "));
    assert!(
        wrong.contains("`costody`") && wrong.contains("`custody`"),
        "{wrong}"
    );
}

/// A value written otherwise, as somebody else's program would.
fn rewritten(text: &str) -> String {
    let table: toml::Table = text.parse().unwrap();
    table.to_string()
}

#[test]
fn an_entry_of_the_catalogue_comes_out_of_another_program_as_it_went_in() {
    let images = concat!(env!("CARGO_MANIFEST_DIR"), "/../images");
    let mut seen = 0;
    for folder in std::fs::read_dir(images).unwrap() {
        let path = folder.unwrap().path().join("chain.toml");
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let entry = ChainEntry::parse(&text).unwrap();
        assert_eq!(ChainEntry::parse(&rewritten(&text)).unwrap(), entry);
        seen += 1;
    }
    assert!(seen > 5, "{seen} entries");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sound_entry_comes_out_as_it_went_in(
        name in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        title in "[ -!#-\\[\\]-~]{1,40}",
        cpu in 10u32..64_000,
        memory in 16u64..1024,
        // Between the numbers that are known for queries, which nobody may reach.
        number in 10_338u16..26_657,
    ) {
        let text = with("name = \"example\"", &format!("name = \"{name}\""))
            .replace("\"Example\"", &format!("\"{title}\""))
            .replace("cpu_millis = 500", &format!("cpu_millis = {cpu}"))
            .replacen("memory = \"64MiB\"", &format!("memory = \"{memory}MiB\""), 1)
            .replace("number = 26656", &format!("number = {number}"));
        match ChainEntry::parse(&text) {
            Ok(entry) => {
                prop_assert_eq!(&entry.name, &name);
                prop_assert_eq!(entry.components[0].cpu_millis, cpu);
                prop_assert_eq!(entry.ports[0].number, number);
                prop_assert_eq!(&ChainEntry::parse(&rewritten(&text)).unwrap(), &entry);
            }
            // A title of blanks alone, or a name with two hyphens in a row.
            Err(Invalid(problems)) => prop_assert!(
                problems.iter().all(|p| p.field == "display_name" || p.field == "name" || p.field.starts_with("requirements")),
                "{problems:?}"
            ),
        }
    }
}
