//! Many alerts against a receiver that answers anything: none is lost, none is delivered twice by its id.

use crate::server::Server;
use crate::{config, finding, quick, start, until, webhook};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn fired_is_delivered_dead_merged_or_pending(
        answers in proptest::collection::vec(prop_oneof![4 => Just(200u16), 4 => Just(503), 1 => Just(429), 1 => Just(404)], 1..12),
        callers in proptest::collection::vec(0..8u8, 1..30),
        restart_after in 0..30usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        // The last answer of each round is good, so every message ends.
        let server = Server::new(move |n, _| (*answers.get(n % (answers.len() + 1)).unwrap_or(&200), String::new()));
        let mut running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
        let (mut delivered, mut dead) = (0, 0);
        for (index, caller) in callers.iter().enumerate() {
            if index == restart_after {
                running.alerts.shutdown();
                let counters = running.alerts.status()[1].counters;
                prop_assert!(counters.conserved());
                delivered += counters.delivered;
                running = start(config(dir.path(), vec![webhook(&server.url)]), quick());
            }
            running.alerts.fire(&finding(&format!("key:{caller}")), index as u64);
            prop_assert!(running.alerts.counters().conserved());
        }
        until("all settled", || running.alerts.status()[1].counters.pending == 0);
        running.alerts.shutdown();
        let counters = running.alerts.status()[1].counters;
        prop_assert!(counters.conserved());
        delivered += counters.delivered;
        dead += counters.dead;
        let mut accepted: BTreeMap<String, u64> = BTreeMap::new();
        for request in server.seen().iter().filter(|r| r.status == 200) {
            *accepted.entry(request.header("webhook-id").to_owned()).or_default() += 1;
        }
        let distinct = callers.iter().collect::<std::collections::BTreeSet<_>>().len() as u64;
        prop_assert_eq!(accepted.len() as u64, delivered);
        prop_assert_eq!(delivered + dead, distinct, "each matter ends in exactly one way");
        prop_assert!(accepted.values().all(|n| *n == 1));
    }
}
