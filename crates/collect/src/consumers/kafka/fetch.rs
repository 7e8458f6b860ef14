//! The input itself: finds who leads which partition, fetches, delivers, commits, and goes on after any failure.

use super::batch::{self, Piece};
use super::link::{Link, Trouble, refused};
use super::record::events;
use super::wire::{self, EARLIEST, Partition};
use super::{Broker, FETCH_BYTES, PARTITION_BYTES, Settings, SettingsError, is_topic};
use crate::Input;
use crate::consumers::told;
use crate::intake::Refusal;
use crate::receivers::{Port, told as ended};
use crate::ship::link::jitter;
use countersign_event::{CaptureMode, Event, Outcome, Verified};
use countersign_ledger::GapReason;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// First pause after a failure; it doubles up to [`Settings::retry_max`].
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Most events of our own that wait for the ledger.
const OWN_MAX: usize = 64;
/// Longest wait of an event of our own before it is put off.
const OWN_PATIENCE: Duration = Duration::from_secs(1);
/// Most partitions of an input.
const PARTITIONS_MAX: usize = 10_000;

/// Why a session with the cluster ended.
enum End {
    /// It was told to.
    Asked,
    /// The ledger takes nothing any more.
    Ledger(Refusal),
    /// It is time to ask what there is anew.
    Renew,
    Trouble(Trouble),
}

impl<T: Into<Trouble>> From<T> for End {
    fn from(trouble: T) -> End {
        End::Trouble(trouble.into())
    }
}

/// A broker, and the partitions that it leads with the next offset of each.
struct Leader {
    link: Link,
    at: BTreeMap<Partition, i64>,
}

/// A session with the cluster.
struct Session {
    leaders: Vec<Leader>,
    coordinator: Link,
}

/// See [`super`]. Dropped, it leaves what a crash leaves.
pub struct Fetcher {
    port: Arc<Port>,
    settings: Settings,
    /// For people: topics and group.
    place: String,
    next_broker: usize,
    /// The outage was told.
    down: bool,
    /// The last session ended because something moved.
    moved: bool,
    own: Vec<Event>,
}

/// Fetches until `stop` says true. What is in hand then is fetched again by the next one.
pub async fn run(mut fetcher: Fetcher, mut stop: watch::Receiver<bool>) {
    let mut pause = RETRY_FIRST;
    while !*stop.borrow() {
        let began = Instant::now();
        match fetcher.session(&mut stop).await {
            End::Asked => break,
            End::Renew => pause = RETRY_FIRST,
            End::Ledger(error) => {
                tracing::error!(input = fetcher.port.input.name, %error, "records of Kafka are no longer fetched");
                break;
            }
            End::Trouble(trouble) => {
                if began.elapsed() > fetcher.settings.retry_max {
                    pause = RETRY_FIRST;
                }
                fetcher.broken(&trouble).await;
                // Either way it is time to go on.
                let wait = pause / 2 + jitter(pause / 2);
                drop(tokio::time::timeout(wait, ended(&mut stop)).await);
                pause = (pause * 2).min(fetcher.settings.retry_max);
            }
        }
    }
    fetcher.say_own().await;
}

impl Fetcher {
    /// An input over `port`.
    ///
    /// # Errors
    /// The settings cannot work, wherever the brokers are.
    pub fn new(port: Arc<Port>, settings: Settings) -> Result<Fetcher, SettingsError> {
        if settings.brokers.is_empty() {
            return Err(SettingsError::NoBroker);
        }
        if settings.topics.is_empty() {
            return Err(SettingsError::Topic(String::new()));
        }
        if let Some(topic) = settings.topics.iter().find(|topic| !is_topic(topic)) {
            return Err(SettingsError::Topic(topic.clone()));
        }
        if settings.group.is_empty() {
            return Err(SettingsError::NoGroup);
        }
        let place = format!("kafka:{}/{}", settings.topics.join(","), settings.group);
        Ok(Fetcher { port, settings, place, next_broker: 0, down: false, moved: false, own: Vec::new() })
    }

    async fn session(&mut self, stop: &mut watch::Receiver<bool>) -> End {
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = ended(stop) => return End::Asked,
        };
        let mut session = match opened {
            Ok(session) => session,
            Err(end) => return end,
        };
        let began = Instant::now();
        while began.elapsed() < self.settings.renew {
            for at in 0..session.leaders.len() {
                match self.turn(&mut session, at, stop).await {
                    Err(end) => return end,
                    Ok(()) if *stop.borrow() => return End::Asked,
                    Ok(()) => {}
                }
            }
        }
        End::Renew
    }

    /// Connects to the leader of every partition and to who keeps the group's offsets, and takes up where these say.
    async fn open(&mut self) -> Result<Session, End> {
        let brokers = &self.settings.brokers;
        let first = brokers.get(self.next_broker % brokers.len().max(1)).cloned();
        self.next_broker = self.next_broker.wrapping_add(1);
        let first = first.ok_or_else(|| Trouble::new("no broker is given"))?;
        let mut link = Link::connect(&first, &self.settings).await?;
        let answer = link.ask(|number| wire::metadata(number, &self.settings.topics)).await?;
        let metadata = wire::read_metadata(answer)?;
        let led = led(&metadata)?;
        let group = &self.settings.group;
        let answer = link.ask(|number| wire::find_coordinator(number, group)).await?;
        let (error, host, port) = wire::coordinator(answer)?;
        if error != 0 {
            return Err(refused(&format!("group {group}"), error).into());
        }
        let mut coordinator = Link::connect(&broker(&host, port)?, &self.settings).await?;
        let all: Vec<(Partition, ())> = led.values().flatten().map(|one| (one.clone(), ())).collect();
        let answer = coordinator.ask(|number| wire::offset_fetch(number, group, &all)).await?;
        let mut committed = BTreeMap::new();
        for (partition, offset, error) in wire::committed(answer)? {
            if error != 0 {
                return Err(refused(&format!("group {group}"), error).into());
            }
            committed.insert(partition, offset);
        }
        let mut session = Session { leaders: Vec::new(), coordinator };
        for (id, partitions) in led {
            let there = metadata.brokers.iter().find(|(own, ..)| *own == id);
            let (_, host, port) = there.ok_or_else(|| Trouble::new("a leader is not among the brokers"))?;
            let link = Link::connect(&broker(host, *port)?, &self.settings).await?;
            let next = |one: Partition| {
                let next = committed.get(&one).copied().unwrap_or(-1);
                (one, next)
            };
            let mut leader = Leader { link, at: partitions.into_iter().map(next).collect() };
            self.take_up(&mut leader, None).await?;
            session.leaders.push(leader);
        }
        // So that what leaves from now on is known to be missing.
        let all = session.leaders.iter().flat_map(|leader| leader.at.clone()).collect::<Vec<_>>();
        self.commit(&mut session.coordinator, &all).await?;
        self.moved = false;
        if self.down {
            self.down = false;
            let why = format!("connected to {first}");
            self.own(told(&self.place, "input.connected", &why, Outcome::Success));
        }
        self.say_own().await;
        Ok(session)
    }

    /// Holds every next offset of a leader against the oldest that it has. `beyond`: a partition that, by the broker's
    /// word, does not have what is to be read next.
    async fn take_up(&mut self, leader: &mut Leader, beyond: Option<&Partition>) -> Result<(), End> {
        let ask: Vec<_> = leader.at.keys().map(|one| (one.clone(), EARLIEST)).collect();
        let answer = leader.link.ask(|number| wire::list_offsets(number, &ask)).await?;
        for (partition, error, oldest) in wire::offsets(answer)? {
            if error != 0 {
                return Err(refused(&shown(&partition), error).into());
            }
            let Some(next) = leader.at.get_mut(&partition) else { continue };
            let beyond = beyond == Some(&partition);
            if beyond && *next == oldest {
                let why = format!("{} has not what it says it begins with", shown(&partition));
                return Err(Trouble::new(why).into());
            }
            let Some(gone) = judge(*next, oldest, beyond) else {
                *next = (*next).max(oldest);
                continue;
            };
            *next = oldest;
            let (op, reason) = match gone.known {
                true => ("input.lost", GapReason::SourceDeclared),
                false => ("input.truncated", GapReason::Unexplained),
            };
            self.port.intake.lost(gone.records, reason).map_err(End::Ledger)?;
            let why = format!("{}: {}", shown(&partition), gone.why);
            tracing::warn!("{why}");
            self.own(told(&self.place, op, &why, Outcome::ServerError));
        }
        if leader.at.values().any(|next| *next < 0) {
            return Err(Trouble::new("a broker leaves a partition out of its answer").into());
        }
        Ok(())
    }

    /// Fetches from one leader, makes durable what came, commits.
    async fn turn(
        &mut self,
        session: &mut Session,
        at: usize,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        let share = u32::try_from(session.leaders.len()).unwrap_or(1).max(1);
        let wait = i32::try_from((self.settings.wait / share).as_millis()).unwrap_or(500);
        let Some(leader) = session.leaders.get_mut(at) else { return Ok(()) };
        let from: Vec<(Partition, i64)> = leader.at.iter().map(|(one, next)| (one.clone(), *next)).collect();
        let ask = |number| wire::fetch(number, wait, FETCH_BYTES, PARTITION_BYTES, &from);
        let answer = tokio::select! {
            answer = leader.link.ask(ask) => answer?,
            () = ended(stop) => return Ok(()),
        };
        for fetched in wire::fetched(answer)? {
            let wire::Fetched { partition, error, aborted, records } = fetched;
            match error {
                0 => {}
                // What was to be read next is gone.
                1 => {
                    self.take_up(leader, Some(&partition)).await?;
                    self.say_own().await;
                    continue;
                }
                error => return Err(refused(&shown(&partition), error).into()),
            }
            let Some(next) = leader.at.get(&partition).copied() else { continue };
            let some = !records.is_empty();
            let taken = batch::read(records, next, &aborted);
            if some && taken.pieces.is_empty() && taken.next == next {
                let why =
                    format!("{}: what lies at {next} cannot be told from what follows", shown(&partition));
                return Err(Trouble::new(why).into());
            }
            self.deliver(leader.link.peer, &partition, taken.pieces, stop).await?;
            leader.at.insert(partition.clone(), taken.next);
            if taken.next != next {
                self.commit(&mut session.coordinator, &[(partition, taken.next)]).await?;
            }
        }
        Ok(())
    }

    /// Makes records durable, however long it takes: nothing is committed and nothing more fetched meanwhile. Gives up
    /// when told to stop.
    async fn deliver(
        &mut self,
        peer: SocketAddr,
        partition: &Partition,
        pieces: Vec<Piece>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        if pieces.is_empty() {
            return Ok(());
        }
        for piece in &pieces {
            if let Piece::Unread(offset, count, why, _) = piece {
                let why = format!("{}: a batch of {count} records at {offset}: {why}", shown(partition));
                self.own(told(&self.place, "input.unreadable", &why, Outcome::ServerError));
            }
        }
        let pieces: Vec<(Partition, Piece)> =
            pieces.into_iter().map(|piece| (partition.clone(), piece)).collect();
        let bytes = pieces.iter().map(|(_, piece)| size(piece)).sum();
        let input = self.input(peer);
        loop {
            let records = events(&pieces, &self.port, &input);
            match self.port.deliver_when_room(records, bytes, true, self.settings.durable).await {
                Ok(receipt) => {
                    for (at, why) in &receipt.rejected {
                        tracing::error!(place = shown(partition), at, why, "a record cannot be recorded");
                    }
                    self.say_own().await;
                    return Ok(());
                }
                Err(Refusal::Stopped) => return Err(End::Ledger(Refusal::Stopped)),
                Err(refusal) => {
                    tracing::warn!(place = shown(partition), %refusal, "records wait");
                    if tokio::time::timeout(self.settings.again, ended(stop)).await.is_ok() {
                        return Err(End::Asked);
                    }
                }
            }
        }
    }

    async fn commit(&self, coordinator: &mut Link, of: &[(Partition, i64)]) -> Result<(), Trouble> {
        let group = &self.settings.group;
        let answer = coordinator.ask(|number| wire::offset_commit(number, group, of)).await?;
        match wire::commit_answer(answer)?.into_iter().find(|(_, error)| *error != 0) {
            None => Ok(()),
            Some((partition, error)) => {
                Err(refused(&format!("committing {} for group {group}", shown(&partition)), error))
            }
        }
    }

    /// The input as it counts on this connection: what comes in plain text, anybody on the way could have written.
    fn input(&self, peer: SocketAddr) -> Input {
        let mut input = self.port.input.clone();
        input.mode = CaptureMode::Pull;
        input.deliverer = format!("addr:{}", peer.ip().to_canonical());
        if self.settings.tls.is_none() {
            input.level = Verified::Claimed;
        }
        input
    }

    /// Tells an outage once; a leader that moved, only if it is not found at once.
    async fn broken(&mut self, trouble: &Trouble) {
        tracing::warn!(place = self.place, "{}", trouble.why);
        let first = trouble.moved && !std::mem::replace(&mut self.moved, trouble.moved);
        if !self.down && !first {
            self.down = true;
            self.own(told(&self.place, "input.disconnected", &trouble.why, Outcome::ServerError));
        }
        self.say_own().await;
    }

    fn own(&mut self, event: Event) {
        if self.own.len() < OWN_MAX {
            self.own.push(event);
        }
    }

    /// Records what we have to say ourselves; while the ledger stands still, it waits.
    async fn say_own(&mut self) {
        if self.own.is_empty() || self.port.intake.room(0).is_err() {
            return;
        }
        let own = std::mem::take(&mut self.own);
        if self.port.deliver_when_room(own, 0, false, OWN_PATIENCE).await.is_err() {
            tracing::warn!(place = self.place, "an event about this input is late or lost");
        }
    }
}

/// Records that are gone.
#[derive(Debug, PartialEq, Eq)]
struct Gone {
    /// At least so many; all of them, where `known`.
    records: u64,
    known: bool,
    why: String,
}

/// What is missing where `next` is to be read (-1 = nothing was read yet) of a partition that begins at `oldest`.
fn judge(next: i64, oldest: i64, beyond: bool) -> Option<Gone> {
    if next < 0 {
        return None;
    }
    if next < oldest {
        let records = oldest.abs_diff(next);
        let why = format!("{records} offsets from {next} to {} left before they were read", oldest - 1);
        return Some(Gone { records, known: true, why });
    }
    let why = || {
        format!(
            "{next} was to be read next, and it ends before: it was cut short or made anew, and is read from its \
             beginning; what it held in between is not known"
        )
    };
    beyond.then(|| Gone { records: 1, known: false, why: why() })
}

fn size(piece: &Piece) -> usize {
    match piece {
        Piece::Record(record) => record.value.as_ref().map_or(0, |value| value.len()),
        Piece::Unread(_, _, _, bytes) => bytes.len(),
    }
}

fn shown(partition: &Partition) -> String {
    format!("{}/{}", partition.topic, partition.id)
}

fn broker(host: &str, port: i32) -> Result<Broker, Trouble> {
    format!("{}:{port}", if host.contains(':') { format!("[{host}]") } else { host.to_owned() })
        .parse()
        .map_err(|why: String| Trouble::new(format!("the cluster names a broker that cannot be: {why}")))
}

/// The partitions by the broker that leads them.
fn led(metadata: &wire::Metadata) -> Result<BTreeMap<i32, Vec<Partition>>, Trouble> {
    let (mut led, mut count): (BTreeMap<i32, Vec<Partition>>, usize) = (BTreeMap::new(), 0);
    for wire::Topic { name: topic, error, partitions } in &metadata.topics {
        if *error != 0 {
            return Err(Trouble { moved: false, ..refused(&format!("topic {topic}"), *error) });
        }
        for (id, error, leader) in partitions {
            let partition = Partition { topic: topic.clone(), id: *id };
            // 9: a replica is away, and the leader is there.
            if !matches!(error, 0 | 9) {
                return Err(refused(&shown(&partition), *error));
            }
            led.entry(*leader).or_default().push(partition);
            count += 1;
        }
    }
    if count > PARTITIONS_MAX {
        return Err(Trouble::new(format!(
            "there are {count} partitions; {PARTITIONS_MAX} are read, at most"
        )));
    }
    Ok(led)
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("place", &self.place).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_left_before_it_was_read_is_counted_and_a_log_that_shrank_is_told() {
        assert_eq!(judge(-1, 7, false), None, "what left before the first start is nobody's loss");
        assert_eq!(judge(7, 7, false), None);
        assert_eq!(judge(9, 7, false), None);
        let gone = judge(3, 7, false).unwrap();
        assert_eq!((gone.records, gone.known), (4, true));
        assert!(gone.why.contains("from 3 to 6"), "{}", gone.why);
        assert_eq!(judge(3, 7, true).map(|gone| gone.records), Some(4));
        let gone = judge(9, 0, true).unwrap();
        assert_eq!((gone.records, gone.known), (1, false));
    }

    #[test]
    fn a_partition_without_a_leader_is_waited_for_and_a_topic_that_is_absent_is_told() {
        let topic = |error, partition| wire::Metadata {
            brokers: vec![],
            topics: vec![wire::Topic { name: "t".to_owned(), error, partitions: vec![(0, partition, 1)] }],
        };
        assert_eq!(led(&topic(0, 9)).unwrap()[&1].len(), 1);
        assert!(led(&topic(0, 5)).unwrap_err().moved);
        let absent = led(&topic(3, 0)).unwrap_err();
        assert!(!absent.moved && absent.why.contains("topic t: UNKNOWN_TOPIC"), "{absent:?}");
    }
}
