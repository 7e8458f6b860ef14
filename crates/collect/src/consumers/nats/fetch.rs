//! The input itself: connects, fetches, delivers, acknowledges, and goes on after any failure.

use super::api::{self, ConsumerState, NO_CONSUMER, Place, StreamState};
use super::link::{Link, Trouble, refused};
use super::position::{Gone, Position};
use super::proto::{Headers, Message};
use super::record::{Delivered, events};
use super::{PULL_BYTES, Settings, SettingsError};
use crate::Input;
use crate::consumers::told;
use crate::intake::Refusal;
use crate::receivers::{Port, told as ended};
use crate::ship::link::jitter;
use countersign_event::{CaptureMode, Event, Outcome, Verified};
use countersign_ledger::GapReason;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a request for messages stands, and how often the server says that it does.
const EXPIRES: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Longest wait for a sign of life.
const SILENCE: Duration = Duration::from_secs(10);
/// After a message, how long the next one is waited for before those in hand are delivered.
const LINGER: Duration = Duration::from_millis(5);
/// First pause after a failure; it doubles up to [`Settings::retry_max`].
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Messages that a consumer which is made here hands out without an acknowledgement, in pulls.
const PULLS_UNACKNOWLEDGED: usize = 8;
/// Most events of our own that wait for the ledger.
const OWN_MAX: usize = 64;
/// Longest wait of an event of our own before it is put off.
const OWN_PATIENCE: Duration = Duration::from_secs(1);

/// Why a connection ended.
enum End {
    /// It was told to.
    Asked,
    /// The ledger takes nothing any more.
    Ledger(Refusal),
    Trouble(Trouble),
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> End {
        End::Trouble(trouble)
    }
}

/// A request for messages that stands.
struct Pull {
    reply: String,
    left: usize,
}

/// See [`super`]. Dropped, it leaves what a crash leaves.
pub struct Fetcher {
    port: Arc<Port>,
    settings: Settings,
    /// For people: stream and consumer.
    place: String,
    next_server: usize,
    position: Position,
    pull: Option<Pull>,
    /// The next message alone is too large for [`PULL_BYTES`].
    large: bool,
    looked: Instant,
    /// The outage was told.
    down: bool,
    own: Vec<Event>,
}

/// Fetches until `stop` says true. What is in hand then is delivered and acknowledged; the rest comes again.
pub async fn run(mut fetcher: Fetcher, mut stop: watch::Receiver<bool>) {
    let mut pause = RETRY_FIRST;
    while !*stop.borrow() {
        let began = Instant::now();
        match fetcher.session(&mut stop).await {
            End::Asked => break,
            End::Ledger(error) => {
                tracing::error!(input = fetcher.port.input.name, %error, "messages of NATS are no longer fetched");
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
    /// The settings cannot work, wherever the servers are.
    pub fn new(port: Arc<Port>, settings: Settings) -> Result<Fetcher, SettingsError> {
        if settings.servers.is_empty() {
            return Err(SettingsError::NoServer);
        }
        if let Some(name) =
            [&settings.stream, &settings.consumer].into_iter().find(|name| !api::is_name(name))
        {
            return Err(SettingsError::Name(name.clone()));
        }
        if !settings.filter.is_empty() && !api::is_subject(&settings.filter) {
            return Err(SettingsError::Filter(settings.filter));
        }
        Ok(Fetcher {
            place: format!("nats:{}/{}", settings.stream, settings.consumer),
            port,
            settings,
            next_server: 0,
            position: Position::default(),
            pull: None,
            large: false,
            looked: Instant::now(),
            down: false,
            own: Vec::new(),
        })
    }

    async fn session(&mut self, stop: &mut watch::Receiver<bool>) -> End {
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = ended(stop) => return End::Asked,
        };
        let mut link = match opened {
            Ok(link) => link,
            Err(end) => return end,
        };
        loop {
            let turn = self.turn(&mut link, stop).await;
            // What was delivered is acknowledged before an end.
            match (turn, *stop.borrow()) {
                (Err(end), _) => return end,
                (Ok(()), true) => return End::Asked,
                (Ok(()), false) => {}
            }
        }
    }

    /// A connection, with the consumer there.
    async fn open(&mut self) -> Result<Link, End> {
        let server =
            self.settings.servers.get(self.next_server % self.settings.servers.len().max(1)).cloned();
        self.next_server = self.next_server.wrapping_add(1);
        let server = server.ok_or_else(|| Trouble("no server is given".to_owned()))?;
        let mut link = Link::connect(&server, &self.settings, &self.port.input.name).await?;
        let stream = self.stream(&mut link).await?;
        let (consumer, made) = match self.consumer(&mut link).await? {
            Some(consumer) => (consumer, false),
            None => (self.create(&mut link).await?, true),
        };
        fits(&consumer, &self.settings)?;
        (self.pull, self.looked) = (None, Instant::now());
        let gone = self.position.begin(stream, &consumer, made);
        if self.down {
            self.down = false;
            let why = format!("connected to {server}");
            self.own(told(&self.place, "input.connected", &why, Outcome::Success));
        }
        self.declare(gone)?;
        self.say_own().await;
        Ok(link)
    }

    async fn stream(&self, link: &mut Link) -> Result<StreamState, Trouble> {
        let name = &self.settings.stream;
        let reply = link.request(&format!("$JS.API.STREAM.INFO.{name}"), "").await?;
        match reply.error {
            None => Ok(reply.stream),
            Some(_) => Err(refused(&format!("stream {name}"), &reply)),
        }
    }

    /// How far the consumer is; `None` = there is none, and it shall be made.
    async fn consumer(&self, link: &mut Link) -> Result<Option<ConsumerState>, Trouble> {
        let Settings { stream, consumer, create, .. } = &self.settings;
        let reply = link.request(&format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"), "").await?;
        match &reply.error {
            None => Ok(Some(reply.consumer)),
            Some(error) if error.err_code == NO_CONSUMER && *create => Ok(None),
            Some(_) => Err(refused(&format!("consumer {consumer} of stream {stream}"), &reply)),
        }
    }

    async fn create(&self, link: &mut Link) -> Result<ConsumerState, Trouble> {
        let Settings { stream, consumer, filter, ack_wait, batch, .. } = &self.settings;
        let request =
            api::create(stream, consumer, filter, *ack_wait, batch.saturating_mul(PULLS_UNACKNOWLEDGED));
        let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{consumer}");
        let reply = link.request(&subject, &request).await?;
        match reply.error {
            None => Ok(reply.consumer),
            Some(_) => Err(refused(&format!("making consumer {consumer} of stream {stream}"), &reply)),
        }
    }

    /// Asks for messages, takes those that come, makes them durable, acknowledges them.
    async fn turn(&mut self, link: &mut Link, stop: &mut watch::Receiver<bool>) -> Result<(), End> {
        if self.pull.is_none() {
            if self.looked.elapsed() >= self.settings.look {
                self.look(link).await?;
            }
            let (batch, bytes) = if self.large { (1, 0) } else { (self.settings.batch.max(1), PULL_BYTES) };
            let Settings { stream, consumer, .. } = &self.settings;
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
            let reply = link.ask(&subject, &api::pull(batch, bytes, EXPIRES, HEARTBEAT));
            self.pull = Some(Pull { reply, left: batch });
        }
        link.flush().await?;
        let batch = self.gather(link, stop).await?;
        if batch.is_empty() { Ok(()) } else { self.deliver(link, batch, stop).await }
    }

    /// The messages that come together: all that were asked for, or until none came for a moment.
    async fn gather(
        &mut self,
        link: &mut Link,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Vec<Delivered>, End> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        loop {
            let patience = if batch.is_empty() { SILENCE } else { LINGER };
            let next = tokio::select! {
                next = link.next(patience) => next?,
                () = ended(stop) => return Ok(batch),
            };
            match next {
                None if batch.is_empty() => {
                    return Err(Trouble("the server gives no sign of life".to_owned()).into());
                }
                None => return Ok(batch),
                Some(message) => {
                    if let Some(one) = self.sort(message)? {
                        bytes += one.message.payload.len();
                        batch.push(one);
                    }
                }
            }
            if self.pull.is_none() || batch.len() >= self.settings.batch || bytes >= PULL_BYTES {
                return Ok(batch);
            }
        }
    }

    /// A message of the stream, or what the server says about our request.
    fn sort(&mut self, message: Message) -> Result<Option<Delivered>, End> {
        if let Some(place) = Place::read(&message.reply) {
            self.large = false;
            if let Some(pull) = &mut self.pull {
                pull.left = pull.left.saturating_sub(1);
                if pull.left == 0 {
                    self.pull = None;
                }
            }
            let gone = self.position.came(&place);
            self.declare(gone)?;
            return Ok(Some(Delivered { message, place }));
        }
        let ours = self.pull.as_ref().is_some_and(|pull| pull.reply == message.subject);
        let headers = Headers::read(&message.headers);
        let said = headers.description.to_ascii_lowercase();
        match headers.status {
            // A sign of life, or the answer to a request that nobody waits for any more.
            Some(100) | None => {}
            _ if !ours => {}
            Some(404 | 408) => self.pull = None,
            Some(409) if said.contains("batch completed") || said.contains("leadership change") => {
                self.pull = None
            }
            // The next message alone is larger than was asked for.
            Some(409) if said.contains("message size exceeds maxbytes") => {
                (self.pull, self.large) = (None, true)
            }
            Some(503) => return Err(Trouble("the consumer is not there any more".to_owned()).into()),
            Some(status) => {
                let why = format!("the server refuses to deliver: {} ({status})", headers.description);
                return Err(Trouble(why).into());
            }
        }
        Ok(None)
    }

    /// Durable, then acknowledged; or, when the ledger does not take them in time, given back.
    async fn deliver(
        &mut self,
        link: &mut Link,
        batch: Vec<Delivered>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        let bytes = batch.iter().map(|one| one.message.payload.len()).sum();
        let records = events(&batch, &self.port, &self.input(link));
        match self.port.deliver_when_room(records, bytes, true, self.settings.durable).await {
            Ok(receipt) => {
                for (at, why) in &receipt.rejected {
                    tracing::error!(input = self.port.input.name, at, why, "a message cannot be recorded");
                }
                for one in &batch {
                    link.say(&one.message.reply, "+ACK");
                    self.position.settled(one.place.seq);
                }
                self.say_own().await;
                Ok(link.flush().await?)
            }
            Err(Refusal::Stopped) => Err(End::Ledger(Refusal::Stopped)),
            Err(refusal) => {
                tracing::warn!(input = self.port.input.name, %refusal, "messages are given back");
                self.give_back(link, batch, stop).await
            }
        }
    }

    /// Gives messages back, and waits until the ledger may take some again.
    async fn give_back(
        &mut self,
        link: &mut Link,
        batch: Vec<Delivered>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        let nak = api::nak(self.settings.again);
        batch.iter().for_each(|one| link.say(&one.message.reply, &nak));
        link.flush().await?;
        let until = Instant::now() + self.settings.again;
        while Instant::now() < until
            || self.port.intake.room(1).is_err_and(|refusal| refusal != Refusal::Stopped)
        {
            let next = tokio::select! {
                next = link.next(LINGER.max(self.settings.again / 50)) => next?,
                () = ended(stop) => return Ok(()),
            };
            if let Some(one) = next.map(|message| self.sort(message)).transpose()?.flatten() {
                link.say(&one.message.reply, &nak);
                link.flush().await?;
            }
        }
        // The request that stands may wait for messages that are gone: a new one makes the server look again.
        self.pull = None;
        Ok(())
    }

    /// What the stream still holds, while nothing is being delivered.
    async fn look(&mut self, link: &mut Link) -> Result<(), End> {
        let stream = self.stream(link).await?;
        let Some(consumer) = self.consumer(link).await? else {
            return Err(Trouble("the consumer is not there any more".to_owned()).into());
        };
        self.looked = Instant::now();
        let gone = self.position.look(stream, &consumer);
        self.declare(gone)?;
        self.say_own().await;
        Ok(())
    }

    /// The input as it counts on this connection: what comes in plain text, anybody on the way could have written.
    fn input(&self, link: &Link) -> Input {
        let mut input = self.port.input.clone();
        input.mode = CaptureMode::Pull;
        input.deliverer = format!("addr:{}", link.peer.ip().to_canonical());
        if !link.secure {
            input.level = Verified::Claimed;
        }
        input
    }

    /// Declares messages that are gone: a GAP, and an event that says what is known.
    fn declare(&mut self, gone: impl IntoIterator<Item = Gone>) -> Result<(), End> {
        for Gone { records, known, why } in gone {
            let reason = if known { GapReason::SourceDeclared } else { GapReason::Unexplained };
            self.port.intake.lost(records, reason).map_err(End::Ledger)?;
            tracing::warn!(place = self.place, "{why}");
            self.own(told(&self.place, "input.lost", &why, Outcome::ServerError));
        }
        Ok(())
    }

    /// Tells an outage once.
    async fn broken(&mut self, trouble: &Trouble) {
        tracing::warn!(place = self.place, "{trouble}");
        if !self.down {
            self.down = true;
            self.own(told(&self.place, "input.disconnected", &trouble.0, Outcome::ServerError));
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

/// Whether the consumer, whoever made it, delivers as it must for nothing to be lost.
fn fits(consumer: &ConsumerState, settings: &Settings) -> Result<(), Trouble> {
    let name = &settings.consumer;
    if !consumer.deliver_subject.is_empty() {
        return Err(Trouble(format!("consumer {name} pushes; make one that is pulled")));
    }
    if consumer.ack_policy != "explicit" {
        let policy = &consumer.ack_policy;
        return Err(Trouble(format!("consumer {name} acknowledges by `{policy}`; make one with `explicit`")));
    }
    if consumer.max_deliver > 0 {
        let most = consumer.max_deliver;
        return Err(Trouble(format!(
            "consumer {name} gives a message up after {most} deliveries, durable or not; set its max_deliver to -1"
        )));
    }
    Ok(())
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("place", &self.place).finish_non_exhaustive()
    }
}
