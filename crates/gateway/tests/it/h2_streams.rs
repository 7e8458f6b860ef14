//! HTTP/2 streams through the gateway: what one side does the other sees, and one record says so.

use crate::h2_support::{body, connect, fetch, get, http2, ok, rig, run, serve, uint};
use crate::support::{PATIENCE, Rig};
use bytes::Bytes;
use countersign_event::{Kind, Outcome, Rec, StatusSpace};
use h2::Reason;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn a_request_passes_with_order_trailers_and_interim_answers() {
    let (upstream, _) = serve(|request, mut respond| {
        Box::pin(async move {
            let names: Vec<_> = request.headers().iter().map(|(n, _)| n.as_str().to_owned()).collect();
            assert_eq!(names, ["x-one", "x-two", "x-two", "x-three", "te"]);
            assert_eq!(request.uri().to_string(), "http://a.example/orders/1234?q=1");
            let mut from = request.into_body();
            let got = body(&mut from).await.unwrap();
            assert_eq!(from.trailers().await.unwrap().unwrap()["x-sum"], "9");
            let hints = Response::builder().status(103).header("link", "</a>").body(()).unwrap();
            respond.send_informational(hints).unwrap();
            let response = Response::builder().status(201).header("x-a", "1").header("x-b", "2");
            let mut to = respond.send_response(response.body(()).unwrap(), false).unwrap();
            to.send_data(Bytes::from(got), false).unwrap();
            to.send_trailers(HeaderMap::from_iter([("x-done".parse().unwrap(), "yes".parse().unwrap())]))
                .unwrap();
        })
    });
    let rig = rig(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let request = Request::post("http://a.example/orders/1234?q=1")
            .header("x-one", "1")
            .header("x-two", "2")
            .header("x-two", "3")
            .header("x-three", "4")
            .header("te", "trailers");
        let (mut response, mut to) = send.send_request(request.body(()).unwrap(), false).unwrap();
        to.send_data(Bytes::from_static(b"some"), false).unwrap();
        to.send_data(Bytes::from_static(b"thing"), false).unwrap();
        to.send_trailers(HeaderMap::from_iter([("x-sum".parse().unwrap(), "9".parse().unwrap())])).unwrap();
        let hints = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!((hints.status().as_u16(), &hints.headers()["link"]), (103, &"</a>".parse().unwrap()));
        let (parts, mut from) = response.await.unwrap().into_parts();
        assert_eq!(parts.status, 201);
        assert_eq!(parts.headers.keys().map(|k| k.as_str()).collect::<Vec<_>>(), ["x-a", "x-b"]);
        assert_eq!(body(&mut from).await.unwrap(), b"something");
        assert_eq!(from.trailers().await.unwrap().unwrap()["x-done"], "yes");
    });
    let event = &rig.memory.wait(1)[0];
    assert_eq!((event.core.kind, event.core.proto.as_str()), (Some(Kind::Http), "http/2"));
    assert_eq!((event.core.op.as_str(), event.core.outcome), ("POST", Some(Outcome::Success)));
    assert_eq!(event.core.status, Some((StatusSpace::Http, "201".to_owned())));
    assert_eq!(event.target.raw, "/orders/1234");
    assert_eq!(event.target.res, "/orders/{id}");
    assert!(event.content.headers.contains(&("host".to_owned(), "a.example".to_owned())));
    let (req, rsp) = (event.body.req.as_ref().unwrap(), event.body.rsp.as_ref().unwrap());
    assert_eq!((req.size, rsp.size, req.digest.is_some()), (Some(9), Some(9), true));
    assert_eq!(req.digest, rsp.digest, "the same bytes have the same digest");
    assert_eq!(event.body.cap.as_ref().unwrap().changes, ["reencoded"]);
    assert!(event.core.lat.is_some() && event.links.conn_seq == Some(1));
    assert_eq!(rig.memory.owed.load(Ordering::Relaxed), 1);
}

#[test]
fn head_and_answers_without_a_body_stay_so() {
    let (upstream, _) = serve(|request, mut respond| {
        Box::pin(async move {
            let status = match request.uri().path() {
                "/204" => 204,
                "/304" => 304,
                _ => 200,
            };
            let response = Response::builder().status(status).header("content-length", "1000");
            respond.send_response(response.body(()).unwrap(), true).unwrap();
        })
    });
    let rig = rig(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let head = Request::head("http://a/x").body(()).unwrap();
        let (parts, body) = fetch(&mut send, head).await.unwrap();
        assert_eq!((parts.status, body.len()), (StatusCode::OK, 0));
        assert_eq!(parts.headers["content-length"], "1000");
        for path in ["/204", "/304"] {
            let (parts, body) = fetch(&mut send, get(path)).await.unwrap();
            assert_eq!((parts.status.as_str(), body.len()), (&path[1..], 0));
        }
    });
    assert!(rig.memory.wait(3).iter().all(|e| e.core.outcome == Some(Outcome::Success)));
}

#[test]
fn a_reset_of_the_client_reaches_the_server_with_its_code() {
    let (told, codes) = std::sync::mpsc::sync_channel(64);
    let (upstream, log) = serve(move |_, mut respond| {
        let told = told.clone();
        Box::pin(async move {
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
            told.send(reason).unwrap();
        })
    });
    let rig = rig(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let (_response, mut to) = send.send_request(get("/wait"), false).unwrap();
        while log.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        to.send_reset(Reason::CANCEL);
        while rig.memory.len() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(codes.recv_timeout(PATIENCE).unwrap(), Reason::CANCEL);
    let event = &rig.memory.wait(1)[0];
    assert_eq!((event.core.outcome, event.core.status.clone()), (Some(Outcome::Cancelled), None));
    assert_eq!((uint(event, 4), event.content.err.as_str()), (Some(8), "client reset the stream: CANCEL"));
}

#[test]
fn a_reset_of_the_server_reaches_the_client_with_its_code() {
    let (upstream, _) = serve(|request, mut respond| {
        Box::pin(async move {
            if request.uri().path() == "/at-once" {
                return respond.send_reset(Reason::ENHANCE_YOUR_CALM);
            }
            let mut to = respond.send_response(Response::new(()), false).unwrap();
            to.send_data(Bytes::from_static(b"half"), false).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            to.send_reset(Reason::INTERNAL_ERROR);
        })
    });
    let rig = rig(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let e = fetch(&mut send, get("/at-once")).await.unwrap_err();
        assert_eq!((e.reason(), e.is_remote()), (Some(Reason::ENHANCE_YOUR_CALM), true));
        let e = fetch(&mut send, get("/late")).await.unwrap_err();
        assert_eq!((e.reason(), e.is_remote()), (Some(Reason::INTERNAL_ERROR), true));
    });
    let events = rig.memory.wait(2);
    assert!(events.iter().all(|e| e.core.outcome == Some(Outcome::ServerError)), "{events:#?}");
    assert_eq!((uint(&events[0], 4), uint(&events[1], 4)), (Some(11), Some(2)));
    assert_eq!(events[1].body.rsp.as_ref().unwrap().size, Some(4));
}

#[test]
fn a_server_that_answers_early_is_passed_on_with_its_no_error() {
    let (upstream, _) = serve(|_request, mut respond| {
        Box::pin(async move {
            let response = Response::builder().status(413).body(()).unwrap();
            respond.send_response(response, true).unwrap();
        })
    });
    let rig = rig(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let request = Request::post("http://a/upload").body(()).unwrap();
        let (response, mut to) = send.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 413);
        let reason = poll_fn(|cx| to.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::NO_ERROR);
        fetch(&mut send, get("/next")).await.unwrap();
    });
    let events = rig.memory.wait(2);
    assert_eq!(events[0].core.status, Some((StatusSpace::Http, "413".to_owned())));
    assert_eq!(events[0].core.outcome, Some(Outcome::CallerError));
}

#[test]
fn connect_passes_as_a_tunnel() {
    let (upstream, _) = serve(|request, mut respond| {
        Box::pin(async move {
            assert_eq!((request.method(), request.uri().to_string()), (&Method::CONNECT, "db:1".to_owned()));
            let mut from = request.into_body();
            let mut to = respond.send_response(Response::new(()), false).unwrap();
            let got = from.data().await.unwrap().unwrap();
            to.send_data(got, true).unwrap();
        })
    });
    let rig = rig(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        let request = Request::connect("db:1").body(()).unwrap();
        let (response, mut to) = send.send_request(request, false).unwrap();
        let mut from = response.await.unwrap().into_body();
        to.send_data(Bytes::from_static(b"ping"), true).unwrap();
        assert_eq!(body(&mut from).await.unwrap(), b"ping");
    });
    let event = &rig.memory.wait(1)[0];
    assert_eq!((event.core.op.as_str(), event.target.raw.as_str()), ("CONNECT", "db:1"));
}

#[test]
fn every_answer_is_owed_before_it_can_be_read() {
    let (upstream, _) = ok("x");
    let rig = rig(upstream);
    run(async {
        let mut send = connect(rig.address).await;
        for i in 1..=50 {
            fetch(&mut send, get("/")).await.unwrap();
            assert!(rig.memory.owed.load(Ordering::SeqCst) >= i, "answer {i} came before its promise");
        }
    });
    assert_eq!(rig.memory.wait(50).last().unwrap().links.conn_seq, Some(50));
}

#[test]
fn a_thousand_streams_over_eight_connections_make_a_thousand_records() {
    let (upstream, log) = ok("body");
    let rig = rig(upstream);
    run(async {
        let mut tasks = Vec::new();
        for c in 0..8 {
            let send = connect(rig.address).await;
            for i in 0..125 {
                let mut send = send.clone();
                tasks.push(tokio::spawn(async move {
                    let (parts, body) = fetch(&mut send, get(&format!("/c{c}/r{i}"))).await.unwrap();
                    assert_eq!((parts.status.as_u16(), body.as_slice()), (200, &b"body"[..]));
                }));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    let stats = rig.gateway.stats();
    let memory = rig.memory.clone();
    rig.gateway.shutdown(Duration::from_secs(5));
    let mut ours: Vec<_> =
        memory.wait(1000).iter().map(|e| format!("{} {}", e.core.op, e.target.raw)).collect();
    let mut theirs = log.lock().unwrap().clone();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
    assert_eq!((stats.requests, memory.owed.load(Ordering::Relaxed)), (1000, 1000));
}

#[test]
fn a_long_stream_makes_records_of_progress() {
    let (upstream, _) = serve(|request, mut respond| {
        Box::pin(async move {
            let mut from = request.into_body();
            let mut to = respond.send_response(Response::new(()), false).unwrap();
            to.send_data(Bytes::from_static(b"first"), false).unwrap();
            let _ = from.data().await;
            to.send_data(Bytes::from_static(b"last"), true).unwrap();
        })
    });
    let rig = Rig::with(upstream, |c| {
        http2(c);
        c.limits.h2_progress = Duration::from_millis(40);
    });
    run(async {
        let mut send = connect(rig.address).await;
        let request = Request::post("http://a/feed").body(()).unwrap();
        let (response, mut to) = send.send_request(request, false).unwrap();
        let mut from = response.await.unwrap().into_body();
        while rig.memory.len() < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        to.send_data(Bytes::from_static(b"enough"), true).unwrap();
        assert_eq!(body(&mut from).await.unwrap(), b"firstlast");
    });
    let memory = rig.memory.clone();
    rig.gateway.shutdown(Duration::from_secs(5));
    let events = memory.wait(memory.len());
    let (last, before) = events.split_last().unwrap();
    assert!(before.iter().all(|e| e.core.rec == Some(Rec::Progress) && e.target.raw == "/feed"));
    assert_eq!(before[0].body.rsp.as_ref().unwrap().size, Some(5));
    assert_eq!((last.core.rec, last.body.rsp.as_ref().unwrap().size), (Some(Rec::Interaction), Some(9)));
    assert_eq!(memory.owed.load(Ordering::Relaxed), events.len() as u64);
}
