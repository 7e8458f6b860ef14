//! The servers that tests and benches talk to, each started with a configuration of its own.

use crate::net::wait_until;
use crate::{Child, TempDir, TestkitError, ensure_program, free_port, io, wait_for_port};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Longest start of a server.
const START: Duration = Duration::from_secs(20);
/// After the expected number of log lines, how long one too many is waited for.
const SETTLE: Duration = Duration::from_millis(150);

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

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

pub(crate) fn launch(dir: TempDir, command: Command, address: SocketAddr) -> Result<Server, TestkitError> {
    let child = Child::start(command, &dir.path().join("output.log"))?;
    wait_for_port(address, START).map_err(|error| match error {
        TestkitError::NotReady { what, seconds, .. } => {
            TestkitError::NotReady { what, seconds, output: child.output() }
        }
        other => other,
    })?;
    Ok(Server { address, dir, child })
}

/// nginx in one process, no log, serving `/1k.txt` of 1,024 bytes and `/` of two.
///
/// # Errors
/// When it does not start.
pub fn nginx() -> Result<Server, TestkitError> {
    nginx_with("access_log off;")
}

/// As [`nginx`], with other directives at the level `http`; `LOG` in them stands for `access.log` in its
/// directory. One process: a worker would outlive its master, which is killed.
fn nginx_with(directives: &str) -> Result<Server, TestkitError> {
    let program = ensure_program("nginx", "nginx-light")?;
    let dir = TempDir::new("nginx")?;
    let address = local(free_port()?);
    let root = dir.path().display();
    let directives = directives.replace("LOG", &dir.path().join("access.log").display().to_string());
    let config = format!(
        "daemon off; master_process off; pid {root}/nginx.pid; error_log {root}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ {directives} keepalive_requests 100000000; default_type text/plain;\n\
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

/// A server that writes a line for each request it takes: what a gateway let through can be counted there.
#[derive(Debug)]
pub struct Backend {
    /// `nginx`, `haproxy`, `python` or `node`.
    pub kind: &'static str,
    /// The process.
    pub server: Server,
    log: PathBuf,
}

impl Backend {
    /// One of each kind.
    ///
    /// # Errors
    /// The first that does not start.
    pub fn all() -> Result<Vec<Backend>, TestkitError> {
        Ok(vec![Backend::nginx()?, Backend::haproxy()?, Backend::python()?, Backend::node()?])
    }

    /// `METHOD TARGET STATUS BYTES` of each request so far; HAProxy's bytes include heads.
    pub fn requests(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned();
        text.lines().filter_map(|line| line.strip_prefix("request ")).map(str::to_owned).collect()
    }

    /// Waits until `n` requests are logged, and a moment longer for one too many.
    ///
    /// # Errors
    /// When there are fewer after 10 s.
    pub fn wait_for(&self, n: usize) -> Result<Vec<String>, TestkitError> {
        let what = format!("{n} requests in the log of {}", self.kind);
        wait_until(&what, START, || self.requests().len() >= n)?;
        std::thread::sleep(SETTLE);
        Ok(self.requests())
    }

    /// nginx: serves files, answers others itself.
    ///
    /// # Errors
    /// When it does not start.
    pub fn nginx() -> Result<Backend, TestkitError> {
        let format = "log_format counted 'request $request_method $request_uri $status $body_bytes_sent';";
        let server = nginx_with(&format!("{format} access_log LOG counted;"))?;
        let log = server.dir.path().join("access.log");
        Ok(Backend { kind: "nginx", server, log })
    }

    /// HAProxy: answers every request itself.
    ///
    /// # Errors
    /// When it does not start.
    pub fn haproxy() -> Result<Backend, TestkitError> {
        let program = ensure_program("haproxy", "haproxy")?;
        let dir = TempDir::new("haproxy-backend")?;
        let address = local(free_port()?);
        let config = format!(
            "global\n nbthread 1\n log stdout format raw local0\ndefaults\n mode http\n log global\n\
             \x20option dontlognull\n log-format \"request %HM %HU %ST %B\"\n timeout client 30s\n timeout server 30s\n\
             \x20timeout connect 5s\n\
             frontend in\n bind {address}\n http-request wait-for-body time 10s\n\
             \x20http-request return status 200 content-type text/plain string \"ok\"\n"
        );
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, config).map_err(io("writing haproxy.cfg"))?;
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&file);
        let log = dir.path().join("output.log");
        Ok(Backend { kind: "haproxy", server: launch(dir, command, address)?, log })
    }

    /// Python's `http.server` with keep-alive.
    ///
    /// # Errors
    /// When it does not start.
    pub fn python() -> Result<Backend, TestkitError> {
        Backend::script("python", "python3", "python3", PYTHON)
    }

    /// node's `http`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn node() -> Result<Backend, TestkitError> {
        Backend::script("node", "node", "nodejs", NODE)
    }

    fn script(kind: &'static str, program: &str, package: &str, text: &str) -> Result<Backend, TestkitError> {
        let program = ensure_program(program, package)?;
        let dir = TempDir::new(kind)?;
        let address = local(free_port()?);
        // node takes other names for modules of another kind, by what lies above the directory.
        let file = dir.path().join("server.cjs");
        std::fs::write(&file, text).map_err(io("writing a server's script"))?;
        let mut command = Command::new(program);
        command.arg(&file).arg(address.port().to_string());
        let log = dir.path().join("output.log");
        Ok(Backend { kind, server: launch(dir, command, address)?, log })
    }
}

/// Reads bodies as `http.server` programs must, answers `ok`, logs each request; a request that it cannot
/// parse is logged by its own error path.
const PYTHON: &str = r#"
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def send_error(self, code, *a, **k):
        print('request', self.command or 'BAD', getattr(self, 'path', '-'), code, 0, flush=True)
        super().send_error(code, *a, **k)
    def answer(self):
        if 'chunked' in self.headers.get('Transfer-Encoding', '').lower():
            while True:
                size = int(self.rfile.readline().split(b';')[0], 16)
                if size == 0: break
                self.rfile.read(size + 2)
            while self.rfile.readline() not in (b'\r\n', b''): pass
        else:
            self.rfile.read(int(self.headers.get('Content-Length', 0)))
        body = b'' if self.command == 'HEAD' else b'ok'
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(body)
        print('request', self.command, self.path, 200, len(body), flush=True)
    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_TRACE = do_CONNECT = answer
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()
"#;

/// As [`PYTHON`], on node.
const NODE: &str = r#"
const server = require('http').createServer((req, res) => {
  req.resume();
  req.on('end', () => {
    const body = req.method === 'HEAD' ? '' : 'ok';
    res.writeHead(200, {'Content-Length': 2});
    res.end(body);
    console.log('request', req.method, req.url, 200, body.length);
  });
});
server.on('clientError', (error, socket) => { console.log('request BAD -', 400, 0); socket.destroy(); });
server.on('connect', (req, socket) => { console.log('request', req.method, req.url, 200, 0); socket.destroy(); });
server.listen(Number(process.argv[2]), '127.0.0.1');
"#;

pub(crate) fn make_readable(dir: &std::path::Path) -> Result<(), TestkitError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, mode).map_err(io("opening the directory to the worker"))
}
