//! Prints how `countersign_detect::series` scores on the Numenta Anomaly Benchmark: `nab [--tune] [--files]`.
//!
//! `--tune` prints the tuning half alone, for a grid of parameters, best first; `--files` adds a line for each file.

#[path = "../tests/nab/mod.rs"]
mod nab;

use countersign_detect::series::{ALARM, SeriesConfig};
use nab::{File, PROFILES, Sum, detect, files, judge, root};

fn main() {
    let Some(root) = root() else {
        println!("no benchmark beside the project (../shared/corpora/detection/nab): nothing to score");
        return;
    };
    let files = files(&root);
    if std::env::args().any(|a| a == "--tune") {
        return tune(&files);
    }
    let scores: Vec<Vec<f64>> = files.iter().map(|file| detect(SeriesConfig::default(), file)).collect();
    let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
    println!("| files | windows | found | false alarms | {} |", names.join(" | "));
    println!("|---|---|---|---|---|---|---|");
    let mut groups: Vec<&str> = files.iter().map(directory).collect();
    groups.dedup();
    for group in groups {
        row(group, &files, &scores, |_, file| directory(file) == group);
    }
    row("all", &files, &scores, |_, _| true);
    row("tuning half", &files, &scores, |n, _| n % 2 == 0);
    row("other half", &files, &scores, |n, _| n % 2 == 1);
    if std::env::args().any(|a| a == "--files") {
        for at in 0..files.len() {
            row(&files[at].name, &files, &scores, |n, _| n == at);
        }
    }
}

fn directory(file: &File) -> &str {
    file.name.split('/').next().unwrap_or_default()
}

fn row(title: &str, files: &[File], scores: &[Vec<f64>], which: impl Fn(usize, &File) -> bool) {
    let sum = |profile| {
        let mut sum = Sum::default();
        for (n, (file, scores)) in files.iter().zip(scores).enumerate() {
            if which(n, file) {
                sum.add(&judge(file, scores, ALARM, profile));
            }
        }
        sum
    };
    let sums: Vec<Sum> = PROFILES.iter().map(sum).collect();
    let scaled: Vec<String> =
        sums.iter().map(|sum| sum.scaled().map_or("–".to_owned(), |score| format!("{score:.1}"))).collect();
    let one = sums[0];
    println!("| {title} | {} | {} | {} | {} |", one.windows, one.hits, one.false_alarms, scaled.join(" | "));
}

/// The least of the three profiles decides: no application shall be served badly.
fn tune(files: &[File]) {
    let half: Vec<&File> = files.iter().step_by(2).collect();
    let mut lines = Vec::new();
    for config in grid() {
        let mut sums = [Sum::default(); PROFILES.len()];
        for file in &half {
            let scores = detect(config, file);
            for (sum, profile) in sums.iter_mut().zip(&PROFILES) {
                sum.add(&judge(file, &scores, config.alarm, profile));
            }
        }
        let scaled = sums.map(|sum| sum.scaled().unwrap_or(f64::NAN));
        let least = scaled.iter().copied().fold(f64::INFINITY, f64::min);
        let SeriesConfig { window, rest, shift, alarm, .. } = config;
        let [standard, low_fp, low_fn] = scaled;
        lines.push((
            least,
            format!(
                "window {window} rest {rest} shift {shift} alarm {alarm}: {standard:.1} {low_fp:.1} {low_fn:.1}, {} of {} \
                 windows, {} false alarms",
                sums[0].hits, sums[0].windows, sums[0].false_alarms
            ),
        ));
    }
    lines.sort_by(|a, b| b.0.total_cmp(&a.0));
    lines.iter().for_each(|(_, line)| println!("{line}"));
}

fn grid() -> Vec<SeriesConfig> {
    let mut grid = Vec::new();
    for window in [36, 72, 144, 288] {
        for rest in [72, 144, 288] {
            for shift in [0.5, 1.0, 2.0] {
                for alarm in [0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7] {
                    grid.push(SeriesConfig { window, rest, shift, alarm, ..SeriesConfig::default() });
                }
            }
        }
    }
    grid
}
