//! The sums of one receiver, whatever comes.

use super::*;
use crate::config::{AlertConfig, Webhook, check};
use crate::seal::Seal;
use proptest::prelude::*;
use std::sync::Arc;

fn receiver(dir: &std::path::Path, pending_max: usize) -> Receiver {
    let secrets = vec!["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3".to_owned()];
    let webhook = Webhook { name: "r".into(), url: "http://127.0.0.1:1/".into(), secrets };
    let config = AlertConfig { webhooks: vec![webhook], ..AlertConfig::default() };
    let (_, target) = check(&config).unwrap().receivers.remove(0);
    let sender = Sender::new(target, &config, &Timing::default()).unwrap();
    let (queue, found) = Queue::open(dir, "r", Arc::new(Seal::new(&[0; 32]).unwrap())).unwrap();
    Receiver { pending_max, ..Receiver::new("r".into(), sender, queue, found) }
}

fn name(n: u64) -> Name {
    Name { created_ns: 1, id: format!("msg_{n:032x}"), count: n % 3 + 1 }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u64),
    Withhold(Withheld),
    Settle(u8),
    Resend,
    Sum,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12u64).prop_map(Step::Push),
        1 => Just(Step::Withhold(Withheld::Merged)),
        1 => Just(Step::Withhold(Withheld::Inhibited)),
        1 => Just(Step::Withhold(Withheld::Silenced)),
        4 => (0..6u8).prop_map(Step::Settle),
        1 => Just(Step::Resend),
        1 => Just(Step::Sum),
        1 => Just(Step::Restart),
    ]
}

fn attempt(kind: u8) -> Attempt {
    match kind {
        0 | 1 => Attempt::Delivered { status: 204 },
        2 | 3 => Attempt::Failed { status: Some(503), after: None, why: "busy".into() },
        4 => Attempt::Refused { status: 400, why: "no".into() },
        _ => Attempt::Gone,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_sums_hold_after_every_step(steps in proptest::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut receiver = receiver(dir.path(), 5);
        let timing = Timing { jitter: Arc::new(|_| 0), now_ns: Arc::new(|| 10), ..Timing::default() };
        let mut told_of_overflow = 0;
        let mut summarised_before_restart = 0;
        for step in steps {
            match step {
                Step::Push(n) => {
                    receiver.gathered(name(n).count);
                    receiver.push(name(n), &Stored { index: n, body: vec![0; 10], ..Stored::default() });
                }
                Step::Withhold(why) => receiver.withheld(why),
                Step::Settle(kind) => {
                    if receiver.status().counters.pending > 0 {
                        let item = receiver.next(&|| 100).unwrap();
                        let stored = receiver.read(&item);
                        prop_assert!(stored.is_some());
                        receiver.settle(item, stored, attempt(kind), &timing);
                    }
                }
                Step::Resend => {
                    if let Some(dead) = receiver.dead().first() {
                        prop_assert!(!receiver.lock().ids.contains(&dead.id), "one message is in one place");
                        let full = receiver.lock().ids.len() >= 5;
                        prop_assert_eq!(receiver.resend(&dead.id, 20).is_err(), full);
                    }
                }
                Step::Sum => told_of_overflow += receiver.take_overflow(false).map_or(0, |o| o.count),
                Step::Restart => {
                    told_of_overflow += receiver.take_overflow(true).map_or(0, |o| o.count);
                    let before = receiver.status().counters;
                    summarised_before_restart += before.summarised;
                    receiver = self::receiver(dir.path(), 5);
                    let after = receiver.status().counters;
                    prop_assert_eq!((after.pending, after.dead), (before.pending, before.dead));
                }
            }
            let counters = receiver.status().counters;
            prop_assert!(counters.conserved(), "{:?}", counters);
            prop_assert!(receiver.lock().ids.len() <= 5);
        }
        told_of_overflow += receiver.take_overflow(true).map_or(0, |o| o.count);
        let summarised = summarised_before_restart + receiver.status().counters.summarised;
        prop_assert_eq!(told_of_overflow, summarised, "each summarised alert is told of once");
    }
}
