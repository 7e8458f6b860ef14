//! The servers that tests and benches talk to, each started with a configuration of its own.

use crate::{Child, TempDir, TestkitError, ensure_program, free_port, io, wait_for_port};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

/// Longest start of a server.
const START: Duration = Duration::from_secs(10);

/// A server, its address and its directory.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its directory: configuration, log, documents.
    pub dir: TempDir,
    /// The process.
    pub child: Child,
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn launch(dir: TempDir, command: Command, address: SocketAddr) -> Result<Server, TestkitError> {
    let child = Child::start(command, &dir.path().join("output.log"))?;
    wait_for_port(address, START)?;
    Ok(Server { address, dir, child })
}

/// nginx with one worker, no log, serving `/1k.txt` of 1,024 bytes and `/` of two.
pub fn nginx() -> Result<Server, TestkitError> {
    let program = ensure_program("nginx", "nginx-light")?;
    let dir = TempDir::new("nginx")?;
    let address = local(free_port()?);
    let root = dir.path().display();
    let config = format!(
        "daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; default_type text/plain;\n\
         client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;\n\
         uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
         server {{ listen {address}; root {root}/www; }} }}\n"
    );
    let www = dir.path().join("www");
    std::fs::create_dir_all(&www).map_err(io("creating the documents"))?;
    std::fs::write(www.join("1k.txt"), [b'x'; 1024]).map_err(io("writing 1k.txt"))?;
    std::fs::write(www.join("index.html"), b"ok").map_err(io("writing index.html"))?;
    let file = dir.path().join("nginx.conf");
    std::fs::write(&file, config).map_err(io("writing nginx.conf"))?;
    let mut command = Command::new(program);
    command.arg("-e").arg(dir.path().join("error.log")).arg("-c").arg(&file);
    // The worker drops to an unprivileged user, which must be able to read the documents.
    make_readable(dir.path())?;
    launch(dir, command, address)
}

/// HAProxy in HTTP mode with one thread and `option httplog` to the datagram socket `log_socket`.
pub fn haproxy(upstream: SocketAddr, log_socket: &std::path::Path) -> Result<Server, TestkitError> {
    let program = ensure_program("haproxy", "haproxy")?;
    let dir = TempDir::new("haproxy")?;
    let address = local(free_port()?);
    let config = format!(
        "global\n nbthread 1\n maxconn 4096\n stats socket {dir}/stats.sock\n log {log} len 2048 local0\n\
         defaults\n mode http\n option httplog\n log global\n http-reuse always\n timeout connect 5s\n\
         \x20timeout client 30s\n timeout server 30s\n\
         frontend in\n bind {address}\n default_backend out\nbackend out\n server s {upstream}\n",
        dir = dir.path().display(),
        log = log_socket.display(),
    );
    let file = dir.path().join("haproxy.cfg");
    std::fs::write(&file, config).map_err(io("writing haproxy.cfg"))?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&file);
    launch(dir, command, address)
}

fn make_readable(dir: &std::path::Path) -> Result<(), TestkitError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, mode).map_err(io("opening the directory to the worker"))
}
