//! tokio-postgres direct and through: the same transcript, parameters read by their type, portals part by part.

use crate::postgres::{drained, number, operations, rig, server, word};
use countersign_event::Class;
use countersign_event::cbor::Value;
use countersign_event::fields::detail::sql;
use std::future::Future;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, NoTls};

pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn connect(port: u16) -> Client {
    let settings = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let (client, connection) = tokio_postgres::connect(&settings, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn state<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().map_or("closed", |code| code.code()).to_owned(),
    }
}

const ERRORS: [&str; 6] = [
    "select 1/0",
    "selec 1",
    "select * from nowhere",
    "select 'x'::int",
    "insert into t values (1)",
    "select no_such_function()",
];

pub(crate) async fn transcript(port: u16) -> Vec<String> {
    let mut client = connect(port).await;
    let mut out = Vec::new();
    client
        .batch_execute("create temp table t (id int primary key, v text); insert into t values (1, 'one')")
        .await
        .unwrap();
    let values: [&(dyn ToSql + Sync); 6] = [&7_i32, &-7_i64, &1.5_f64, &true, &"text", &vec![0_u8, 255]];
    let types = ["int4", "int8", "float8", "bool", "text", "bytea"];
    for (value, of) in values.into_iter().zip(types) {
        let row = client.query_one(&format!("select $1::{of}::text"), &[value]).await.unwrap();
        out.push(row.get::<_, String>(0));
    }
    for text in ERRORS {
        out.push(state(client.query(text, &[]).await));
        out.push(state(client.batch_execute(text).await));
    }
    let prepared = client.prepare("select g from generate_series(1, $1::int) g").await.unwrap();
    for n in [0_i32, 1, 500] {
        out.push(client.query(&prepared, &[&n]).await.unwrap().len().to_string());
    }
    let many = (1..=20_i32).map(|n| {
        let (client, prepared) = (&client, &prepared);
        async move { client.query(prepared, &[&n]).await.unwrap().len() }
    });
    // All at once: the driver sends them as a pipeline.
    let mut all = Vec::new();
    let mut pending: Vec<_> = many.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        pending.retain_mut(|one| match one.as_mut().poll(cx) {
            std::task::Poll::Ready(n) => {
                all.push(n);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    drop(pending);
    out.push(format!("{all:?}"));
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind(&prepared, &[&10_i32]).await.unwrap();
    for limit in [4, 4, 4] {
        out.push(transaction.query_portal(&portal, limit).await.unwrap().len().to_string());
    }
    out.push(state(transaction.rollback().await));
    let cancel = client.cancel_token();
    let sleeping = client.query("select pg_sleep(30)", &[]);
    let canceller = async move {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    };
    let handle = tokio::spawn(canceller);
    out.push(state(sleeping.await));
    handle.await.unwrap();
    out
}

#[test]
fn tokio_postgres_sees_the_same_direct_and_through() {
    let server = server();
    let rig = rig(&server, |config| config.listeners[0].postgres.parameters = true);
    let direct = block(transcript(server.address.port()));
    let through = block(transcript(rig.address.port()));
    assert_eq!(direct, through);
    let events = drained(rig);
    let operations = operations(&events);
    let values: Vec<&str> = operations
        .iter()
        .filter(|e| e.content.stmt.starts_with("select $1::"))
        .flat_map(|e| e.content.params.iter().map(String::as_str))
        .collect();
    assert_eq!(values, ["7", "-7", "1.5", "t", "text", "\\x00ff"]);
    let parts: Vec<_> = operations
        .iter()
        .filter(|e| e.content.detail.contains_key(&sql::PORTAL_ROWS))
        .map(|e| {
            (number(e, sql::ROWS), number(e, sql::PORTAL_ROWS), e.content.detail.get(&sql::PARTIAL).cloned())
        })
        .collect();
    let partial = Some(Value::Bool(true));
    assert_eq!(
        parts,
        [(Some(4), Some(4), partial.clone()), (Some(8 - 4), Some(8), partial), (Some(2), Some(10), None),]
    );
    let series = operations.iter().filter(|e| e.content.stmt.contains("generate_series"));
    assert!(series.clone().all(|e| !word(e, sql::PREPARED).is_empty() && e.core.class != Some(Class::Meta)));
    assert_eq!(series.count(), 3 + 20 + 3);
}
