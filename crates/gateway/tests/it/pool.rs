//! A service that queries PostgreSQL and Redis over shared connections, everything through one gateway: its
//! statements are joined to the request that it was serving, by a trace id or by inference.

use crate::h2_support;
use crate::support::{Client, Rig, get, http, response, until};
use countersign_event::{Event, LinkVia, Rec};
use countersign_gateway::{Listener, Protocol, Upstream};
use countersign_testkit::postgres::{Postgres, Setup, Version, start};
use countersign_testkit::redis::{Client as RedisClient, Redis};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use tokio::sync::mpsc::{Sender, channel};
use tokio_postgres::NoTls;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const LABEL: [u8; 2] = [0x0a, 0xf7];

/// Statements that wait for the one connection.
const JOBS: usize = 16;

/// One connection to PostgreSQL, shared by all requests.
struct Pool(Sender<(String, mpsc::SyncSender<()>)>);

impl Pool {
    fn new(address: SocketAddr, name: &str) -> Pool {
        let (sender, mut jobs) = channel::<(String, mpsc::SyncSender<()>)>(JOBS);
        let settings = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres application_name='{name}'",
            address.port()
        );
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let (client, connection) = tokio_postgres::connect(&settings, NoTls).await.unwrap();
                tokio::spawn(connection);
                while let Some((sql, done)) = jobs.recv().await {
                    client.simple_query(&sql).await.unwrap();
                    let _ = done.send(());
                }
            });
        });
        Pool(sender)
    }

    fn run(&self, sql: &str) {
        let (done, wait) = mpsc::sync_channel(1);
        self.0.try_send((sql.to_owned(), done)).unwrap();
        wait.recv().unwrap();
    }
}

/// What the service has.
struct Shared {
    pool: Pool,
    redis: Mutex<RedisClient>,
    /// `/hold` answers when told.
    release: Mutex<Option<mpsc::Receiver<()>>>,
}

struct World {
    rig: Rig,
    shared: Arc<OnceLock<Shared>>,
    release: mpsc::SyncSender<()>,
    _servers: (Postgres, Redis),
}

/// What the service does for a path.
fn work(shared: &Shared, path: &str) {
    match path {
        "/pg" => shared.pool.run("select 'work'"),
        "/comment" => shared.pool.run(&format!("select 'work' /*traceparent='{TRACE}'*/")),
        "/redis" => drop(shared.redis.lock().unwrap().ask(&["GET", "work"]).unwrap()),
        "/hold" => {
            let held = shared.release.lock().unwrap().take();
            held.unwrap().recv().unwrap();
        }
        path => panic!("{path}"),
    }
}

impl World {
    fn new(name: &str) -> World {
        let shared = Arc::<OnceLock<Shared>>::default();
        let service = Arc::clone(&shared);
        let (app, _) = http(move |head| {
            work(service.get().unwrap(), head.split(' ').nth(1).unwrap());
            response("x").into_bytes()
        });
        World::of(name, app, Protocol::Http1, shared)
    }

    /// The service speaks HTTP/2.
    fn http2() -> World {
        let shared = Arc::<OnceLock<Shared>>::default();
        let service = Arc::clone(&shared);
        let (app, _) = h2_support::serve(move |request, mut respond| {
            let service = Arc::clone(&service);
            Box::pin(async move {
                work(service.get().unwrap(), request.uri().path());
                respond.send_response(::http::Response::new(()), true).unwrap();
            })
        });
        World::of("shop", app, Protocol::Http2, shared)
    }

    fn of(name: &str, app: SocketAddr, protocol: Protocol, shared: Arc<OnceLock<Shared>>) -> World {
        let (pg, cache) = (start(&Setup::new(Version::V15)).unwrap(), Redis::start(&[]).unwrap());
        let rig = Rig::with(app, |config| {
            config.listeners[0].protocol = protocol;
            for (name, protocol, to) in
                [("pg", Protocol::Postgres, pg.address), ("cache", Protocol::Redis, cache.address)]
            {
                let upstream = Upstream::new(to.ip().to_string(), to.port());
                let mut listener = Listener::new(name, "127.0.0.1:0".parse().unwrap(), upstream);
                listener.protocol = protocol;
                config.listeners.push(listener);
            }
        });
        let addresses = rig.gateway.addresses();
        let (release, held) = mpsc::sync_channel(1);
        let pool = Pool::new(addresses[1].1, name);
        let redis = Mutex::new(RedisClient::connect(addresses[2].1).unwrap());
        let ready = Shared { pool, redis, release: Mutex::new(Some(held)) };
        assert!(shared.set(ready).is_ok());
        World { rig, shared, release, _servers: (pg, cache) }
    }

    fn call(&self, path: &str) {
        let mut client = self.rig.client();
        client.send(get(path));
        client.expect(response("x"));
    }

    /// The one record that `is` names, once it is there.
    fn record(&self, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let operation = |e: &Event| matches!(e.core.rec, Some(Rec::Interaction | Rec::Outcome));
        let find = || self.rig.memory.all().into_iter().filter(|e| operation(e) && is(e)).collect::<Vec<_>>();
        until(what, || !find().is_empty());
        let mut found = find();
        assert_eq!(found.len(), 1, "{what}: {found:?}");
        found.remove(0)
    }

    fn request(&self, path: &str) -> Event {
        self.record(path, |e| e.target.raw == path)
    }

    fn statement(&self) -> Event {
        self.record("the statement", |e| e.core.op == "SELECT")
    }
}

fn place(event: &Event) -> ([u8; 16], u64) {
    (event.links.conn.unwrap(), event.links.conn_seq.unwrap())
}

fn causes(event: &Event) -> Vec<(([u8; 16], u64), u64)> {
    event.links.cause.iter().map(|(conn, number, score)| ((*conn, *number), *score)).collect()
}

#[test]
fn what_a_service_asks_while_it_serves_one_request_is_probably_for_that_request() {
    let world = World::new("shop");
    world.call("/pg");
    world.call("/redis");
    let (request, statement) = (world.request("/pg"), world.statement());
    assert_eq!(causes(&statement), [(place(&request), 900)]);
    assert_eq!((statement.links.via, statement.links.trace), (Some(LinkVia::Inferred), None));
    let (request, command) =
        (world.request("/redis"), world.record("GET", |e| e.core.op == "GET" && e.target.svc != "svc"));
    assert_eq!(causes(&command), [(place(&request), 900)]);
    assert_eq!(command.links.via, Some(LinkVia::Inferred));
    assert!(request.links.cause.is_empty() && request.links.via.is_none());
}

#[test]
fn with_two_requests_open_the_score_says_that_it_may_be_either() {
    let world = World::new("shop");
    let mut holding = Client::new(world.rig.address);
    holding.send(get("/hold"));
    until("the service has it", || world.shared.get().unwrap().release.lock().unwrap().is_none());
    world.call("/pg");
    let statement = world.statement();
    world.release.send(()).unwrap();
    holding.expect(response("x"));
    let (held, asked) = (world.request("/hold"), world.request("/pg"));
    let found = causes(&statement);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].0, place(&asked), "the one that began last comes first");
    assert_eq!(found[1].0, place(&held));
    assert!(found.iter().map(|(_, score)| score).sum::<u64>() <= 900, "{found:?}");
    assert!(found.iter().all(|(_, score)| *score <= 600), "{found:?}");
}

#[test]
fn with_no_request_open_there_is_no_link() {
    let world = World::new("shop");
    world.call("/redis");
    world.request("/redis");
    world.shared.get().unwrap().pool.run("select 'of its own accord'");
    let statement = world.statement();
    assert!(statement.links.cause.is_empty());
    assert_eq!((statement.links.via, statement.links.trace), (None, None));
}

#[test]
fn a_trace_id_that_the_statement_carries_is_the_link_and_nothing_is_inferred() {
    let world = World::new("shop");
    world.call("/comment");
    let statement = world.statement();
    assert_eq!(statement.links.trace.unwrap()[..2], LABEL);
    assert_eq!((statement.links.via, causes(&statement)), (Some(LinkVia::SqlComment), Vec::new()));
}

#[test]
fn a_trace_id_in_a_sessions_name_is_the_link() {
    let world = World::new(TRACE);
    let shared = world.shared.get().unwrap();
    shared.redis.lock().unwrap().ask(&["CLIENT", "SETNAME", TRACE]).unwrap();
    world.call("/pg");
    world.call("/redis");
    let command = world.record("GET", |e| e.core.op == "GET" && e.target.svc != "svc");
    for event in [world.statement(), command] {
        assert_eq!(event.links.trace.unwrap()[..2], LABEL);
        assert_eq!((event.links.via, causes(&event)), (Some(LinkVia::SessionName), Vec::new()));
    }
    shared.pool.run("set application_name = 'shop'");
    let set = world.record("SET", |e| e.core.op == "SET");
    assert_eq!(set.links.trace, None, "the one that changes the name");
    shared.pool.run("show application_name");
    assert_eq!(world.record("SHOW", |e| e.core.op == "SHOW").links.trace, None);
    let named = world.record("CLIENT SETNAME", |e| e.core.op == "CLIENT SETNAME");
    assert_eq!(named.links.trace, None);
}

#[test]
fn a_stream_of_http_2_is_a_cause_like_any_other_request() {
    let world = World::http2();
    h2_support::run(async {
        let mut send = h2_support::connect(world.rig.address).await;
        for _ in 0..2 {
            h2_support::fetch(&mut send, h2_support::get("/redis")).await.unwrap();
        }
        h2_support::fetch(&mut send, h2_support::get("/pg")).await.unwrap();
    });
    let (request, statement) = (world.request("/pg"), world.statement());
    assert_eq!(request.core.proto, "http/2");
    assert_eq!(causes(&statement), [(place(&request), 900)], "streams that have ended are none");
}
