//! nginx as a plain HTTP/2 server, clear text with prior knowledge, that logs every request.

use crate::servers::Server;
use crate::{Child, TempDir, TestkitError, ensure_program, free_port, io, wait_for_port};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

/// Longest start.
const START: Duration = Duration::from_secs(10);

/// Serves `/1k.txt` (1,024 bytes), `/big` (`big` bytes, sparse) and `/` over HTTP/2; PUT stores below `/put/`.
/// Its access log (`access.log` in its directory) has one line a request: `method uri status protocol`.
///
/// # Errors
/// Where nginx cannot be installed or does not start.
pub fn nginx_h2(big: u64) -> Result<Server, TestkitError> {
    let program = ensure_program("nginx", "nginx-light")?;
    let dir = TempDir::new("nginx-h2")?;
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free_port()?);
    let root = dir.path().display();
    let config = format!(
        "daemon off; master_process off; pid {root}/nginx.pid; error_log {root}/error.log; user root;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ log_format one '$request_method $request_uri $status $server_protocol';\n\
         access_log {root}/access.log one; keepalive_requests 100000000; default_type text/plain;\n\
         client_max_body_size 0; absolute_redirect off; http2_max_concurrent_streams 512;\n\
         client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;\n\
         uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
         server {{ listen {address} http2; root {root}/www;\n\
         location /echo {{ return 200 '$http_host|$http_x_mark|$request_body'; }}\n\
         location /moved {{ return 301 /1k.txt; }}\n\
         location /none {{ return 204; }} }} }}\n"
    );
    let www = dir.path().join("www");
    std::fs::create_dir_all(&www).map_err(io("creating the documents"))?;
    std::fs::write(www.join("1k.txt"), [b'x'; 1024]).map_err(io("writing 1k.txt"))?;
    std::fs::write(www.join("index.html"), b"ok").map_err(io("writing index.html"))?;
    let sparse = std::fs::File::create(www.join("big")).map_err(io("creating the big file"))?;
    sparse.set_len(big).map_err(io("sizing the big file"))?;
    let file = dir.path().join("nginx.conf");
    std::fs::write(&file, config).map_err(io("writing nginx.conf"))?;
    let mut command = Command::new(program);
    command.arg("-e").arg(dir.path().join("error.log")).arg("-c").arg(&file);
    let child = Child::start(command, &dir.path().join("output.log"))?;
    wait_for_port(address, START)?;
    Ok(Server { address, dir, child })
}

/// What [`nginx_h2`] has logged.
pub fn access_log(server: &Server) -> Vec<String> {
    let text = std::fs::read_to_string(server.dir.path().join("access.log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
