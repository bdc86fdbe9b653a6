//! What may stand in `[upgrade]`.

use super::{MAX_LIST, is_version};
use crate::chain::entry::ChainEntry;
use crate::chain::error::{Path, Report};

pub(super) fn check(entry: &ChainEntry, report: &mut Report) {
    let path = Path::field("upgrade");
    let upgrade = &entry.upgrade;
    report.ensure(
        (10..=86_400).contains(&upgrade.gate_s),
        &path.key("gate_s"),
        "out of range",
        "from 10 to 86400 seconds",
    );
    report.ensure(
        (1..=3600).contains(&upgrade.steady_s) && upgrade.steady_s < upgrade.gate_s,
        &path.key("steady_s"),
        "out of range, or no shorter than `gate_s`",
        "from 1 to 3600 seconds",
    );
    let list = path.key("rollback_to");
    report.ensure(
        upgrade.rollback_to.len() <= MAX_LIST,
        &list,
        "too many versions",
        "",
    );
    for (i, version) in upgrade.rollback_to.iter().enumerate().take(MAX_LIST) {
        report.ensure(
            is_version(version) && *version != entry.version,
            &list.at(i),
            "not the version of another entry of this chain",
            "write the `version` of an entry whose nodes can read the data of this one",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::chain::tests::ENTRY;
    use crate::chain::{ChainEntry, Invalid};

    fn parse(upgrade: &str) -> Result<ChainEntry, Invalid> {
        ChainEntry::parse(&format!("{ENTRY}\n[upgrade]\n{upgrade}\n"))
    }

    #[test]
    fn an_upgrade_has_a_gate_and_names_the_versions_to_go_back_to() {
        let told = parse("gate_s = 60\nrollback_to = [\"0.9\"]")
            .unwrap()
            .upgrade;
        assert_eq!((told.gate_s, told.steady_s), (60, 30));
        assert_eq!(told.rollback_to, ["0.9"]);
        let untold = ChainEntry::parse(ENTRY).unwrap().upgrade;
        assert_eq!(untold.gate_s, 300);
        assert!(
            untold.rollback_to.is_empty(),
            "nothing is taken for granted"
        );
    }

    #[test]
    fn what_is_no_gate_or_no_version_is_refused() {
        for (wrong, field) in [
            ("gate_s = 9", "upgrade.gate_s"),
            ("gate_s = 86401", "upgrade.gate_s"),
            ("steady_s = 0", "upgrade.steady_s"),
            ("gate_s = 20\nsteady_s = 20", "upgrade.steady_s"),
            ("rollback_to = [\"1\"]", "upgrade.rollback_to[0]"),
            ("rollback_to = [\"0\", \"\"]", "upgrade.rollback_to[1]"),
            ("rollback_to = [\"a\\nb\"]", "upgrade.rollback_to[0]"),
            ("rolback_to = []", "upgrade.rolback_to"),
        ] {
            let Invalid(problems) = parse(wrong).unwrap_err();
            assert_eq!(problems[0].field, field, "{wrong}: {}", problems[0]);
        }
    }
}
