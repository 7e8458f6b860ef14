//! Processor time of processes and of their threads by name, from `/proc`, and resident memory.

use std::collections::BTreeMap;
use std::path::Path;

/// Nanoseconds in a tick of `/proc/PID/stat` (100 a second on every Linux that this runs on).
const TICK_NS: u64 = 10_000_000;
/// Threads of ours that an event passes until it is acknowledged.
const PATH: [&str; 5] = ["gw-data", "gw-decoder", "ledger-sequence", "ledger-commit", "ledger-publish"];

/// User and system time by thread name, ns; after [`Cost::since`] ns a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Cost {
    by_name: BTreeMap<String, f64>,
    /// Whether only threads named in [`PATH`] belong to the path of a request.
    ours: bool,
}

impl Cost {
    /// What the processes below and including each of `roots`, and this process's thread `writer`, have used.
    pub(super) fn of(roots: &[u32], writer: Option<u32>, ours: bool) -> Cost {
        let mut cost = Cost { ours, ..Cost::default() };
        for pid in roots.iter().flat_map(|root| descendants(*root)) {
            let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                cost.add(&task.path(), None);
            }
        }
        if let Some(tid) = writer {
            cost.add(Path::new(&format!("/proc/self/task/{tid}")), Some("log writer"));
        }
        cost
    }

    fn add(&mut self, task: &Path, name: Option<&str>) {
        let read = |file: &str| std::fs::read_to_string(task.join(file)).unwrap_or_default();
        let comm = read("comm");
        let name = name.unwrap_or(comm.trim()).to_owned();
        // Exact where the kernel counts it, else in ticks.
        let exact = read("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
        let time = exact.filter(|ns| *ns > 0).unwrap_or_else(|| ticks(&read("stat")) * TICK_NS);
        *self.by_name.entry(name).or_default() += time as f64;
    }

    /// The difference to `before`, µs for each of `requests`.
    pub(super) fn since(&self, before: &Cost, requests: u64) -> Cost {
        let used = |(name, ns): (&String, &f64)| {
            let ns = ns - before.by_name.get(name).copied().unwrap_or(0.0);
            (name.clone(), ns.max(0.0) / 1e3 / requests as f64)
        };
        Cost { by_name: self.by_name.iter().map(used).collect(), ours: self.ours }
    }

    /// Time on the path of a request: everything of a peer, the named threads of ours.
    pub(super) fn path(&self) -> f64 {
        self.sum(true)
    }

    /// Time of our other threads.
    pub(super) fn beside(&self) -> f64 {
        self.sum(false)
    }

    fn sum(&self, path: bool) -> f64 {
        let on_path = |name: &str| !self.ours || PATH.contains(&name);
        self.by_name.iter().filter(|(name, _)| on_path(name) == path).map(|(_, time)| time).sum()
    }

    /// Medians by thread name, those that matter.
    pub(super) fn median_parts(all: &[Cost]) -> Vec<(String, f64)> {
        let names = all.first().map(|cost| cost.by_name.keys().cloned().collect::<Vec<_>>());
        let of = |name: String| {
            let times = all.iter().map(|cost| cost.by_name.get(&name).copied().unwrap_or(0.0)).collect();
            (name, super::median(times))
        };
        names.unwrap_or_default().into_iter().map(of).filter(|(_, time)| *time >= 0.01).collect()
    }
}

/// `utime + stime` of a stat line; the name in it may hold spaces and brackets.
fn ticks(stat: &str) -> u64 {
    let behind = stat.rsplit(')').next().unwrap_or_default();
    let mut words = behind.split_ascii_whitespace().skip(11);
    let mut next = || words.next().and_then(|w| w.parse::<u64>().ok()).unwrap_or(0);
    next() + next()
}

/// `root` and everything that it started, as of now.
fn descendants(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .map(|dir| dir.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect::<Vec<u32>>())
        .unwrap_or_default()
        .into_iter()
        .filter_map(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat.rsplit(')').next()?.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        all.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    all
}

/// Resident bytes of `root` and everything that it started.
pub(super) fn rss(root: u32) -> u64 {
    let of = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    descendants(root).into_iter().map(of).sum()
}
