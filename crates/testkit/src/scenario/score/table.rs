//! The score as text, for the terminal and for the documentation (Markdown).

use super::{Score, quantile};
use std::fmt;

fn seconds(ns: Option<u64>) -> String {
    ns.map_or("–".to_owned(), |ns| format!("{:.0} s", ns as f64 / 1e9))
}

fn number(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{share:.2}"))
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| scenario | found / staged | recall | hard | easy | by caller or event | without its largest rule | \
             from start: median, p95 | from evidence: median, p95 | near misses notified |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|")?;
        for (name, s) in &self.scenarios {
            let [hard, easy] = s.recall_by_intensity();
            let staged = s.staged[0] + s.staged[1];
            writeln!(
                f,
                "| {name} | {} / {staged} | {} | {} | {} | {} | {} ({}) | {}, {} | {}, {} | {} of {} |",
                s.found[0] + s.found[1],
                number(s.recall()),
                number(hard),
                number(easy),
                s.found_precisely,
                s.without_largest,
                if s.largest.is_empty() { "–" } else { &s.largest },
                seconds(quantile(&s.from_start, 0.5)),
                seconds(quantile(&s.from_start, 0.95)),
                seconds(quantile(&s.from_evidence, 0.5)),
                seconds(quantile(&s.from_evidence, 0.95)),
                s.near_misses[1],
                s.near_misses[0],
            )?;
        }
        let [staged, found] = self.attacks();
        writeln!(f)?;
        writeln!(
            f,
            "Found {found} of {staged}; without the largest rule ({}) {}. False notifying findings: {} in {} background \
             events and {:.0} days, {:.2} for each 10,000 events, {:.2} a day.",
            if self.largest.is_empty() { "none" } else { &self.largest },
            self.found_without_largest,
            self.false_findings(),
            self.background,
            self.days,
            self.false_per_10_000(),
            self.false_per_day(),
        )?;
        let hits: u64 = self.rules.values().map(|[_, hits]| hits).sum();
        writeln!(f)?;
        writeln!(f, "| rule | attacks found | share of hits | false |")?;
        writeln!(f, "|---|---|---|---|")?;
        let mut rules: Vec<&String> = self.rules.keys().chain(self.false_by_rule.keys()).collect();
        rules.sort();
        rules.dedup();
        for rule in rules {
            let [attacks, mine] = self.rules.get(rule).copied().unwrap_or_default();
            let share = if hits == 0 { 0.0 } else { mine as f64 * 100.0 / hits as f64 };
            let wrong = self.false_by_rule.get(rule).copied().unwrap_or_default();
            writeln!(f, "| {rule} | {attacks} | {share:.0} % | {wrong} |")?;
        }
        Ok(())
    }
}
