//! Both encodings give back what went in; a request taken apart has the same records.

use super::*;
use crate::json::Doc;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        Just(Any::Empty),
        ".{0,12}".prop_map(Any::Text),
        any::<bool>().prop_map(Any::Bool),
        any::<i64>().prop_map(Any::Int),
        prop::num::f64::NORMAL.prop_map(Any::Double),
        prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(0.0), Just(1.5e300)]
            .prop_map(Any::Double),
        prop::collection::vec(any::<u8>(), 1..9).prop_map(Any::Bytes),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Any::Array),
            prop::collection::vec((".{0,8}", prop::option::of(inner)), 0..4).prop_map(|pairs| {
                Any::Map(pairs.into_iter().map(|(key, value)| Pair { key, value }).collect())
            }),
        ]
    })
}

fn pairs() -> impl Strategy<Value = Vec<Pair>> {
    let name = prop_oneof!["[a-z.~/]{1,12}", Just("http.method".to_owned()), Just("service.name".to_owned())];
    let pair = (name, prop::option::of(value())).prop_map(|(key, value)| Pair { key, value });
    prop::collection::vec(pair, 0..5)
}

/// An id, right, short or missing.
fn bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), length), prop::collection::vec(any::<u8>(), 0..4)]
}

fn log() -> impl Strategy<Value = LogRecord> {
    let times = (any::<u64>(), any::<u64>(), 0..25_i32, ".{0,6}");
    (times, prop::option::of(value()), pairs(), (any::<u32>(), any::<u32>()), (bytes(16), bytes(8)), ".{0,9}")
        .prop_map(|(times, body, attributes, (dropped, flags), (trace, span), event_name)| LogRecord {
            time: times.0,
            observed: times.1,
            severity: times.2,
            severity_text: times.3,
            body,
            attributes,
            dropped,
            flags,
            trace,
            span,
            event_name,
            unknown: Vec::new(),
        })
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (bytes(16), bytes(8), bytes(8), ".{0,6}");
    let event = (any::<u64>(), ".{0,6}", pairs()).prop_map(|(time, name, attributes)| SpanEvent {
        time,
        name,
        attributes,
        ..SpanEvent::default()
    });
    let link = (bytes(16), bytes(8), pairs(), any::<u32>()).prop_map(|(trace, span, attributes, flags)| {
        Link { trace, span, attributes, flags, ..Link::default() }
    });
    let lists = (prop::collection::vec(event, 0..3), prop::collection::vec(link, 0..3));
    let status = prop::option::of((".{0,6}", 0..3_i32));
    (ids, ".{0,9}", 0..6_i32, (any::<u64>(), any::<u64>()), pairs(), lists, status, any::<u32>()).prop_map(
        |(ids, name, kind, (start, end), attributes, (events, links), status, flags)| Span {
            trace: ids.0,
            id: ids.1,
            parent: ids.2,
            state: ids.3,
            flags,
            name,
            kind,
            start,
            end,
            attributes,
            events,
            links,
            status: status.map(|(message, code)| Status { message, code, unknown: Vec::new() }),
            ..Span::default()
        },
    )
}

fn request<T: Item>(item: impl Strategy<Value = T> + 'static) -> impl Strategy<Value = Request<T>> {
    let resource = (pairs(), any::<u32>()).prop_map(|(attributes, dropped)| Resource {
        attributes,
        dropped,
        unknown: Vec::new(),
    });
    let scope = (".{0,6}", ".{0,6}", pairs()).prop_map(|(name, version, attributes)| Scope {
        name,
        version,
        attributes,
        ..Scope::default()
    });
    let items = prop::collection::vec(item, 0..4);
    let scoped = (prop::option::of(scope), items, ".{0,6}").prop_map(|(scope, items, schema_url)| Scoped {
        scope,
        items,
        schema_url,
        unknown: Vec::new(),
    });
    let scopes = prop::collection::vec(scoped, 0..3);
    let group = (prop::option::of(resource), scopes, ".{0,6}").prop_map(|(resource, scopes, schema_url)| {
        Group { resource, scopes, schema_url, unknown: Vec::new() }
    });
    prop::collection::vec(group, 0..3).prop_map(|groups| Request { groups })
}

fn holds<T: Item>(request: &Request<T>, signal: Signal) {
    let protobuf = to_protobuf(request);
    assert_eq!(from_protobuf::<T>(&protobuf).as_ref(), Ok(request));
    let json = to_json(request);
    let doc = Doc::parse_batch(json.as_bytes(), usize::MAX).unwrap();
    assert_eq!(from_json::<T>(&doc.root()).as_ref(), Ok(request), "{json}");
    doc.unread(&mut |pointer, token| panic!("{pointer} {token} is not read"));
    let items: Vec<T> = request.items().map(|(_, _, item)| item.clone()).collect();
    for whole in [protobuf, json.into_bytes()] {
        let parts = split(signal, &whole).unwrap();
        assert_eq!(parts.len(), items.len());
        for (part, item) in parts.iter().zip(&items) {
            let one: Request<T> = if split::is_json(part) {
                from_json(&Doc::parse(part).unwrap().root()).unwrap()
            } else {
                from_protobuf(part).unwrap()
            };
            assert!(one.items().map(|(_, _, item)| item).eq([item]));
            crate::fuzz::collect_otlp(&[&[u8::from(signal == Signal::Traces)][..], part].concat());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn logs_come_back_equal_from_both_encodings(request in request(log())) {
        holds(&request, Signal::Logs);
    }
    #[test]
    fn spans_come_back_equal_from_both_encodings(request in request(span())) {
        holds(&request, Signal::Traces);
    }
    #[test]
    fn any_bytes_are_judged_without_panic(bytes in any::<Vec<u8>>()) {
        crate::fuzz::collect_otlp(&bytes);
    }
    #[test]
    fn a_cut_or_changed_request_is_judged_without_panic(
        request in request(span()), at in any::<prop::sample::Index>(), byte: u8
    ) {
        let mut bytes = [vec![1], to_protobuf(&request)].concat();
        let at = at.index(bytes.len());
        crate::fuzz::collect_otlp(&bytes[..at]);
        bytes[at] = byte;
        crate::fuzz::collect_otlp(&bytes);
    }
}

#[test]
fn fields_that_nobody_knows_come_back_from_protobuf() {
    let mut writer = crate::proto::Writer::new();
    writer.message(1, |group| {
        group.message(1, |resource| resource.uint(99, 7));
        group.message(2, |scoped| {
            scoped.message(1, |scope| scope.bytes(98, b"x"));
            scoped.message(2, |log| {
                log.uint(2, 9);
                log.bytes(97, b"later");
            });
        });
        group.uint(96, 5);
    });
    let bytes = writer.done();
    let decoded = from_protobuf::<LogRecord>(&bytes).unwrap();
    assert_eq!(to_protobuf(&decoded), bytes);
    let parts = split_protobuf(&bytes).unwrap();
    let draft = map::log_record(&crate::formats::Record::new(&parts[0], 0)).unwrap();
    let names: Vec<_> = draft.event.content.unmapped.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["/resource/unknown", "/resourceUnknown", "/scope/unknown", "/severityNumber", "/unknown"]
    );
}

#[test]
fn a_value_nested_too_deep_is_a_fault_in_both_encodings() {
    let mut value = Any::Int(1);
    for _ in 0..=VALUE_DEPTH_MAX {
        value = Any::Array(vec![value]);
    }
    let log = LogRecord { body: Some(value), ..LogRecord::default() };
    let scoped = Scoped { items: vec![log], ..Scoped::default() };
    let request = Request { groups: vec![Group { scopes: vec![scoped], ..Group::default() }] };
    assert!(from_protobuf::<LogRecord>(&to_protobuf(&request)).is_err());
    let json = to_json(&request);
    let doc = Doc::parse(json.as_bytes());
    assert!(doc.is_err() || from_json::<LogRecord>(&doc.unwrap().root()).is_err());
}

#[test]
fn a_large_resource_before_many_records_does_not_unfold_without_end() {
    let resource = Resource {
        attributes: vec![Pair { key: "a".into(), value: Some(Any::Text("x".repeat(1 << 20))) }],
        ..Resource::default()
    };
    let scoped =
        Scoped { items: vec![LogRecord { time: 1, ..LogRecord::default() }; 200], ..Scoped::default() };
    let group = Group { resource: Some(resource), scopes: vec![scoped], ..Group::default() };
    let request = Request { groups: vec![group] };
    assert!(split(Signal::Logs, &to_protobuf(&request)).is_err());
    assert!(split(Signal::Logs, to_json(&request).as_bytes()).is_err());
}

#[test]
fn a_record_of_very_many_values_is_refused_and_one_at_the_bound_is_read() {
    let read = |attributes: usize| {
        let attributes = vec![Pair::default(); attributes];
        let items = vec![LogRecord { attributes, ..LogRecord::default() }];
        let scoped = Scoped { scope: None, items, schema_url: String::new(), unknown: Vec::new() };
        let group =
            Group { resource: None, scopes: vec![scoped], schema_url: String::new(), unknown: Vec::new() };
        from_protobuf::<LogRecord>(&to_protobuf(&Request { groups: vec![group] }))
    };
    assert!(read(VALUES_MAX).is_ok());
    assert_eq!(read(VALUES_MAX + 1).unwrap_err().rule, "more values than the bound");
}

#[test]
fn a_request_of_one_record_is_that_record_whatever_its_length() {
    for length in (0..300).chain(16_200..16_400) {
        let body = Some(Any::Text("x".repeat(length)));
        let items = vec![LogRecord { body, ..LogRecord::default() }];
        let scoped = Scoped { scope: None, items, schema_url: String::new(), unknown: Vec::new() };
        let group =
            Group { resource: None, scopes: vec![scoped], schema_url: String::new(), unknown: Vec::new() };
        let request = to_protobuf(&Request { groups: vec![group] });
        let records = split_protobuf(&request).unwrap();
        assert_eq!(records, [request], "{length}");
        assert_eq!(records[0].len(), records[0].capacity(), "{length}");
    }
}
