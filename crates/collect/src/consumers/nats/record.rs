//! From messages to events: the content is the record, what NATS says about it stands beside.

use super::api::Place;
use super::proto::{Headers, Message};
use crate::consumers::link;
use crate::draft::json_text;
use crate::joins::Joiner;
use crate::receivers::{Port, now};
use crate::seal::add_unmapped;
use crate::{Input, Keeper};
use countersign_event::{Event, Unmapped};
use std::collections::BTreeMap;

/// A message and where it lies in its stream.
#[derive(Clone, Debug)]
pub(super) struct Delivered {
    pub(super) message: Message,
    pub(super) place: Place,
}

/// The events of messages that came together; parts of one interaction among them are one event.
pub(super) fn events(batch: &[Delivered], port: &Port, input: &Input) -> Vec<Event> {
    let (mut joiner, mut placed) = (Joiner::default(), Vec::new());
    for (number, one) in batch.iter().enumerate() {
        let at = (0, number as u64);
        let record = &one.message.payload;
        placed.extend(joiner.observe_at(at, record, port.format, input, &port.keeper, now()));
    }
    placed.extend(joiner.drain_at(input, &port.keeper, now()));
    let beside = |((_, number), mut event): ((u64, u64), Event)| {
        if let Some(one) = usize::try_from(number).ok().and_then(|number| batch.get(number)) {
            place(&mut event, one, &port.keeper);
        }
        event
    };
    placed.into_iter().map(beside).collect()
}

/// Says where in which stream the record lies, and keeps what the publisher said beside it.
fn place(event: &mut Event, one: &Delivered, keeper: &Keeper) {
    let Delivered { message, place } = one;
    let capture = event.body.cap.get_or_insert_default();
    if capture.source_id.is_empty() {
        capture.source_id = crate::seal::clipped(place.id(), 256);
    }
    capture.offset = Some(place.seq);
    capture.path = crate::seal::clipped(place.stream.clone(), 1_024);
    let headers = Headers::read(&message.headers);
    let mut beside: BTreeMap<String, String> = BTreeMap::new();
    beside.insert("/nats/subject".to_owned(), json_text(&message.subject));
    beside.insert("/nats/stored".to_owned(), place.stored.to_string());
    for (name, value) in &headers.fields {
        let name = name.replace('~', "~0").replace('/', "~1");
        // Of a header that is given more than once the values stand in one text.
        let all = beside.entry(format!("/nats/headers/{name}")).or_default();
        if !all.is_empty() {
            all.push_str(", ");
        }
        all.push_str(value);
    }
    let fields = beside.into_iter().map(|(name, value)| {
        let value = if name.starts_with("/nats/headers/") { json_text(&value) } else { value };
        (name, Unmapped::Token(value))
    });
    add_unmapped(event, fields, keeper);
    if headers.partial {
        event.core.labels.push("nats_headers_partial".to_owned());
    }
    if let Some(header) = headers.get("traceparent") {
        link(event, header.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_event::LinkVia;
    use countersign_redact::Scanner;

    #[test]
    fn headers_stand_beside_the_record_without_their_secrets_and_link_it_where_it_does_not_itself() {
        let keeper = Keeper::new(Scanner::default(), &[7; 32]);
        let headers = "NATS/1.0\r\nNats-Msg-Id: m-7\r\na/b: 1\r\na/b: 2\r\nAuthorization: Bearer hunter2hunter2\r\n\
            traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
        let message = Message { subject: "a.b".into(), headers: headers.into(), ..Message::default() };
        let place_of = Place { stream: "S".into(), seq: 7, stored: 9, ..Place::default() };
        let one = Delivered { message, place: place_of };
        let mut event = Event::default();
        place(&mut event, &one, &keeper);
        let token = |name: &str| match event.content.unmapped.get(name) {
            Some(Unmapped::Token(token)) => token.as_str(),
            _ => "",
        };
        assert_eq!(token("/nats/headers/Nats-Msg-Id"), "\"m-7\"");
        assert_eq!((token("/nats/headers/a~1b"), token("/nats/stored")), ("\"1, 2\"", "9"));
        assert!(!format!("{event:?}").contains("hunter2"));
        assert_eq!(event.links.via, Some(LinkVia::MessageHeader));
        assert_eq!(event.links.tflags, Some(1));
        let capture = event.body.cap.as_ref().unwrap();
        assert_eq!((capture.source_id.as_str(), capture.offset), ("nats:S/7@9", Some(7)));
        let mut linked = Event::default();
        linked.links.trace = Some([1; 16]);
        place(&mut linked, &one, &keeper);
        assert_eq!(linked.links.trace, Some([1; 16]), "what the record says itself stays");
    }
}
