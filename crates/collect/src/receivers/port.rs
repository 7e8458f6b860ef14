//! What every receiver of one input shares: its trust, its format, its way into the ledger.

use crate::formats::Format;
use crate::intake::{Intake, Item, Keys, Receipt, Refusal, Room};
use crate::joins::Joiner;
use crate::{Input, Keeper, observe};
use countersign_event::{Endpoint, Event, Verified};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One configured input. Share it.
#[derive(Debug)]
pub struct Port {
    /// Its name and how far it is believed; the level holds only for deliverers that were checked.
    pub input: Input,
    /// What its records are; `None` = find out.
    pub format: Option<&'static Format>,
    /// Its way into the ledger.
    pub intake: Intake,
    /// Removes secrets, makes digests.
    pub keeper: Arc<Keeper>,
    /// Who may deliver.
    pub access: super::Access,
}

/// Who delivers: the peer's address, and whose credential was checked.
#[derive(Clone, Debug, Default)]
pub struct Deliverer {
    /// The socket's other end.
    pub peer: Option<SocketAddr>,
    /// Principal id; empty = nobody showed a credential.
    pub id: String,
}

/// Events that have room and are not handed over yet.
#[derive(Debug)]
pub struct Delivery {
    items: Vec<Item>,
    room: Room,
}

impl Delivery {
    /// Makes them durable, however long it takes.
    ///
    /// # Errors
    /// The ledger has stopped.
    pub async fn patiently(self, port: &Port) -> Result<Receipt, Refusal> {
        port.intake.record_patiently(self.items, self.room).await
    }
}

/// Our clock, UTC ns.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Port {
    /// The input as it counts for one deliverer: nothing is asserted by nobody.
    pub fn input_of(&self, deliverer: &Deliverer) -> Input {
        let mut input = self.input.clone();
        if deliverer.id.is_empty() {
            input.level = Verified::Claimed;
            input.deliverer =
                deliverer.peer.map(|peer| format!("addr:{}", peer.ip().to_canonical())).unwrap_or_default();
        } else {
            input.deliverer.clone_from(&deliverer.id);
        }
        input
    }

    /// The event of one record.
    pub fn observe(&self, record: &[u8], input: &Input) -> Event {
        observe(record, self.format, input, &self.keeper, now())
    }

    /// The events of a batch of records. Parts of one interaction that came together are one event; a part that came
    /// alone is an event of its own, since its sender waits for the answer and it may not.
    pub fn observe_batch<'a>(&self, records: impl Iterator<Item = &'a [u8]>, input: &Input) -> Vec<Event> {
        let (mut joiner, mut events) = (Joiner::default(), Vec::new());
        for record in records {
            events.extend(joiner.observe(record, self.format, input, &self.keeper, now()));
        }
        events.extend(joiner.drain(input, &self.keeper, now()));
        events
    }

    /// Makes `events`, made of `bytes` bytes, durable. `keyed` = a repeat of one is the same record sent again.
    ///
    /// # Errors
    /// As [`Intake::record`].
    pub async fn deliver(&self, events: Vec<Event>, bytes: usize, keyed: bool) -> Result<Receipt, Refusal> {
        let Delivery { items, room } = self.begin(events, bytes, keyed)?;
        self.intake.record(items, room).await
    }

    /// Room for `events`, made of `bytes` bytes, to be delivered by and by: for a protocol that is answered before
    /// they are durable, and asked again.
    ///
    /// # Errors
    /// There is no room, or the ledger has stopped.
    pub fn begin(&self, events: Vec<Event>, bytes: usize, keyed: bool) -> Result<Delivery, Refusal> {
        let room = self.intake.room(bytes as u64)?;
        Ok(Delivery { items: items(events, keyed), room })
    }

    /// As [`Port::deliver`], for a sender that cannot be told to come again: waits `patience` for room.
    ///
    /// # Errors
    /// As [`Port::deliver`].
    pub async fn deliver_when_room(
        &self,
        events: Vec<Event>,
        bytes: usize,
        keyed: bool,
        patience: Duration,
    ) -> Result<Receipt, Refusal> {
        let room = tokio::time::timeout(patience, self.intake.wait_room(bytes as u64)).await;
        let room = room.map_err(|_| Refusal::Busy("no room for too long"))??;
        self.intake.record(items(events, keyed), room).await
    }

    /// As [`Port::deliver`], for a sender that is told nothing: waits as long as it takes, and nothing is a repeat.
    ///
    /// # Errors
    /// The ledger has stopped.
    pub async fn deliver_patiently(&self, events: Vec<Event>, bytes: usize) -> Result<Receipt, Refusal> {
        let room = self.intake.wait_room(bytes as u64).await?;
        self.intake.record_patiently(items(events, false), room).await
    }
}

/// A batch for the intake; `keyed` as in [`Port::deliver`].
fn items(events: Vec<Event>, keyed: bool) -> Vec<Item> {
    let mut keys = Keys::default();
    events.into_iter().map(|event| Item { key: keys.next(&event).filter(|_| keyed), event }).collect()
}

/// The deliverer's address as a hop, for records that name no caller of their own.
pub(super) fn sender(event: &mut Event, peer: Option<SocketAddr>) {
    if let (None, Some(peer)) = (&event.peer.src, peer) {
        event.peer.src =
            Some(Endpoint { ip: Some(peer.ip().to_canonical()), port: None, ..Endpoint::default() });
    }
}
