//! MCP servers and clients of the official SDKs, and a WebSocket pair, as programs in a temporary directory.
//!
//! The scripts beside this file are the same work for every way to a server. Invariants: versions of the SDKs
//! are named here and nowhere else; a server is killed when its handle is dropped.

use crate::{Child, TempDir, TestkitError, free_port, io, node, python, wait_for_port};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Python SDK that speaks 2024-11-05 to 2026-07-28.
const PYTHON: &str = "mcp==2.3.0";
/// Earlier ones, each with the revision that its client proposes.
const PYTHON_V1: [(&str, &str); 3] =
    [("mcp==1.6.0", "2024-11-05"), ("mcp==1.9.4", "2025-03-26"), ("mcp==1.12.4", "2025-06-18")];
/// What the first speaks HTTP/2 with, as client and as server.
const PYTHON_H2: [&str; 3] = [PYTHON, "hypercorn==0.18.0", "httpx2[http2]==2.16.2"];
/// What those earlier ones still work with.
const PYDANTIC: &str = "pydantic==2.11.7";
const WEBSOCKETS: &str = "websockets==17.4";
/// JavaScript SDK: version 1 speaks up to 2025-11-25, version 2 also 2026-07-28.
const JAVASCRIPT: [&str; 5] = [
    "@modelcontextprotocol/sdk@1.32.2",
    "@modelcontextprotocol/server@2.4.0",
    "@modelcontextprotocol/client@2.4.0",
    "@modelcontextprotocol/node@2.1.2",
    "zod@4",
];
/// Longest start of a server, and longest run of a client.
const START: Duration = Duration::from_secs(60);
const RUN: Duration = Duration::from_secs(120);

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    dir: TempDir,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Server {
    /// One line for each tool call, resource read and prompt that the server itself has seen.
    pub fn log(&self) -> Vec<String> {
        lines(&self.dir.path().join("log"))
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.child.output()
    }
}

/// Lines of a server's own log.
pub fn lines(log: &Path) -> Vec<String> {
    std::fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn start(mut command: Command, dir: TempDir, port: u16) -> Result<Server, TestkitError> {
    command.env("NO_PROXY", "*").stdin(Stdio::null());
    let mut child = Child::start(command, &dir.path().join("output"))?;
    if let Err(error) = wait_for_port(([127, 0, 0, 1], port).into(), START) {
        child.kill();
        return Err(TestkitError::NotReady {
            what: format!("a server ({error})"),
            seconds: START.as_secs(),
            output: child.output(),
        });
    }
    Ok(Server { child, dir, port })
}

fn script(dir: &Path, name: &str, text: &str) -> Result<PathBuf, TestkitError> {
    let path = dir.join(name);
    // Several tests may write the same script; each sees a whole one.
    let draft = dir.join(format!("{name}.{}.{:?}", std::process::id(), std::thread::current().id()));
    std::fs::write(&draft, text).map_err(io(format!("writing {name}")))?;
    std::fs::rename(&draft, &path).map_err(io(format!("placing {name}")))?;
    Ok(path)
}

/// A server of the Python SDK; `transport` = `http`, `json` (answers without streams) or `sse` (2024-11-05); `h2` and
/// `h2-json` are the first two over HTTP/2 with prior knowledge.
///
/// # Errors
/// When it cannot be installed or started.
pub fn python_server(transport: &str) -> Result<Server, TestkitError> {
    let (dir, port) = (TempDir::new("mcp")?, free_port()?);
    let log = dir.path().join("log");
    let command = python_stdio(&dir, transport, port, &log)?;
    start(command, dir, port)
}

fn python_stdio(dir: &TempDir, transport: &str, port: u16, log: &Path) -> Result<Command, TestkitError> {
    let python = python_for(transport)?;
    let server = script(dir.path(), "server.py", include_str!("mcp/server.py"))?;
    let mut command = Command::new(python);
    command.arg(server).arg(transport).arg(port.to_string()).arg(log);
    Ok(command)
}

/// Python with the SDK, and with HTTP/2 where `what` begins with it.
fn python_for(what: &str) -> Result<PathBuf, TestkitError> {
    if what.starts_with("h2") { python::venv("mcp-h2", &PYTHON_H2) } else { python::venv("mcp", &[PYTHON]) }
}

/// The command of a server on standard input and output; `kind` = `python`, `v1-stdio` or `v2-stdio` (JavaScript).
///
/// # Errors
/// When it cannot be installed.
pub fn stdio_server(dir: &TempDir, kind: &str) -> Result<Vec<String>, TestkitError> {
    let log = dir.path().join("log");
    let command = match kind {
        "python" => python_stdio(dir, "stdio", 0, &log)?,
        kind => javascript(kind, 0, &log)?,
    };
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Ok(words.map(|w| w.to_string_lossy().into_owned()).collect())
}

fn javascript(kind: &str, port: u16, log: &Path) -> Result<Command, TestkitError> {
    let dir = node::modules("mcp", &JAVASCRIPT)?;
    let server = script(&dir, "server.mjs", include_str!("mcp/server.mjs"))?;
    let mut command = Command::new(node::node()?);
    command.arg(server).arg(kind).arg(port.to_string()).arg(log);
    Ok(command)
}

/// A server of the JavaScript SDK; `kind` = `v1` (sessions, streams), `v1-json` (sessions, no streams) or `v2`.
///
/// # Errors
/// When it cannot be installed or started.
pub fn javascript_server(kind: &str) -> Result<Server, TestkitError> {
    let (dir, port) = (TempDir::new("mcp-js")?, free_port()?);
    let command = javascript(kind, port, &dir.path().join("log"))?;
    start(command, dir, port)
}

/// What a client of the Python SDK printed; `mode` = `auto`, `legacy`, `2026-07-28`, `sse` or `stdio`, then a URL
/// or the server's command behind `--`; one of the first three behind `h2-` = over HTTP/2 with prior knowledge.
///
/// # Errors
/// When it cannot be installed, or failed.
pub fn python_client(mode: &str, target: &[String]) -> Result<Vec<String>, TestkitError> {
    let dir = TempDir::new("mcp-client")?;
    let mut command = Command::new(python_for(mode)?);
    command.arg(script(dir.path(), "client.py", include_str!("mcp/client.py"))?).arg(mode).args(target);
    transcript(command, &dir)
}

/// As [`python_client`], with the earlier SDK that proposes `revision`, over `transport` = `http` or `sse`.
///
/// # Errors
/// As [`python_client`]; also for a revision that no SDK here proposes.
pub fn python_client_of(revision: &str, transport: &str, url: &str) -> Result<Vec<String>, TestkitError> {
    let found = PYTHON_V1.iter().find(|(_, r)| *r == revision);
    let (package, _) = found.ok_or_else(|| TestkitError::Missing {
        program: format!("an MCP SDK for {revision}"),
        command: "add it to PYTHON_V1".to_owned(),
    })?;
    let dir = TempDir::new("mcp-client")?;
    let mut command = Command::new(python::venv(&format!("mcp-{revision}"), &[package, PYDANTIC])?);
    command
        .arg(script(dir.path(), "client_v1.py", include_str!("mcp/client_v1.py"))?)
        .arg(transport)
        .arg(url);
    transcript(command, &dir)
}

/// What a client of the JavaScript SDK printed; `kind` = `v1`, `v2`, `v2-auto`, `v1-stdio` or `v2-stdio`.
///
/// # Errors
/// As [`python_client`].
pub fn javascript_client(kind: &str, target: &[String]) -> Result<Vec<String>, TestkitError> {
    let modules = node::modules("mcp", &JAVASCRIPT)?;
    let dir = TempDir::new("mcp-client")?;
    let mut command = Command::new(node::node()?);
    command.arg(script(&modules, "client.mjs", include_str!("mcp/client.mjs"))?).arg(kind).args(target);
    transcript(command, &dir)
}

/// A WebSocket echo server.
///
/// # Errors
/// When it cannot be installed or started.
pub fn websocket_server() -> Result<Server, TestkitError> {
    let (dir, port) = (TempDir::new("ws")?, free_port()?);
    let mut command = Command::new(python::venv("websockets", &[WEBSOCKETS])?);
    command.arg(script(dir.path(), "websocket.py", include_str!("mcp/websocket.py"))?);
    command.arg("server").arg(port.to_string());
    start(command, dir, port)
}

/// What a WebSocket client printed; `what` = empty, `mcp` or `deflate`.
///
/// # Errors
/// As [`python_client`].
pub fn websocket_client(url: &str, what: &str) -> Result<Vec<String>, TestkitError> {
    let dir = TempDir::new("ws-client")?;
    let mut command = Command::new(python::venv("websockets", &[WEBSOCKETS])?);
    command.arg(script(dir.path(), "websocket.py", include_str!("mcp/websocket.py"))?);
    command.arg("client").arg(url).arg(what);
    transcript(command, &dir)
}

fn transcript(mut command: Command, dir: &TempDir) -> Result<Vec<String>, TestkitError> {
    command.env("NO_PROXY", "*");
    let mut child = Child::start(command, &dir.path().join("transcript"))?;
    let status = child.wait(RUN)?;
    let output = child.output();
    if !status.success() {
        return Err(TestkitError::NotReady { what: "a client".to_owned(), seconds: 0, output });
    }
    // What a stdio server says on standard error is no part of the client's results; those are JSON lines.
    let result = |line: &&str| line.starts_with("[\"") || !line.contains(' ') || line.starts_with('{');
    Ok(output.lines().filter(result).map(str::to_owned).collect())
}
