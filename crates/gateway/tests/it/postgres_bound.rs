//! tokio-postgres, which demands channel binding and has another implementation of it than libpq, through a gateway
//! that verifies.

use crate::postgres::drained;
use crate::postgres_login::verifying;
use crate::postgres_tls::World;
use countersign_event::Rec;
use countersign_identity::client_tls;
use countersign_testkit::postgres::{PASSWORD, Version};
use countersign_wire::scram::end_point;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::tls::{self, TlsConnect, TlsStream};
use tokio_rustls::{TlsConnector, client};

struct Tls(Arc<ClientConfig>);
struct Bound(client::TlsStream<TcpStream>);

impl TlsConnect<TcpStream> for Tls {
    type Stream = Bound;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Bound>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        let name = ServerName::try_from("localhost").unwrap();
        Box::pin(async move { TlsConnector::from(self.0).connect(name, stream).await.map(Bound) })
    }
}

impl TlsStream for Bound {
    fn channel_binding(&self) -> tls::ChannelBinding {
        let shown = self.0.get_ref().1.peer_certificates().unwrap();
        tls::ChannelBinding::tls_server_end_point(end_point(&shown[0]).unwrap())
    }
}

impl AsyncRead for Bound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Bound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn answer(world: &World, port: u16, password: &str) -> Result<i32, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.user("postgres").password(password).dbname("postgres");
    config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Require);
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut tls = (*client_tls(&[world.ca()], None).unwrap()).clone();
    tls.alpn_protocols = vec![b"postgresql".to_vec()];
    let (client, connection) = config.connect_raw(stream, Tls(Arc::new(tls))).await?;
    tokio::spawn(connection);
    Ok(client.query_one("select 40 + 2", &[]).await?.get(0))
}

#[test]
fn tokio_postgres_binds_to_the_gateways_channel() {
    let world = World::new(Version::V15);
    let (rig, _) = verifying(&world);
    let port = rig.address.port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(answer(&world, port, PASSWORD)).unwrap(), 42);
    let error = runtime.block_on(answer(&world, port, "wrong")).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("28P01"), "{error}");
    drop(runtime);
    let events = drained(rig);
    let open = events.iter().find(|e| e.core.rec == Some(Rec::SessionOpen)).unwrap();
    let method = crate::postgres::word(open, countersign_event::fields::detail::sql::METHOD);
    assert_eq!(method, "scram-sha-256-plus");
}
