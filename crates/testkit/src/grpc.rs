//! gRPC's own Python implementation as server and client, without generated code.
//!
//! The server writes one line a call; the client prints what came of each. Scripts: `grpc/server.py`,
//! `grpc/client.py`.

use crate::{Child, TempDir, TestkitError, free_port, io, python};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Longest start, and longest run of a client.
const PATIENCE: Duration = Duration::from_secs(90);
const PACKAGES: [&str; 2] = ["grpcio==1.76.0", "grpcio-health-checking==1.76.0"];

/// A running server.
#[derive(Debug)]
pub struct GrpcServer {
    /// Where it listens, clear text.
    pub address: SocketAddr,
    /// A `FileDescriptorSet` with `grpc.health.v1`.
    pub descriptors: PathBuf,
    dir: TempDir,
    child: Child,
}

fn script(dir: &TempDir, name: &str, text: &str) -> Result<PathBuf, TestkitError> {
    let file = dir.path().join(name);
    std::fs::write(&file, text).map_err(io(format!("writing {name}")))?;
    Ok(file)
}

impl GrpcServer {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// Where Python or its packages cannot be installed, or the server does not start.
    pub fn start() -> Result<GrpcServer, TestkitError> {
        let python = python::venv("grpc", &PACKAGES)?;
        let dir = TempDir::new("grpc")?;
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free_port()?);
        let descriptors = dir.path().join("health.binpb");
        let mut command = Command::new(python);
        command.arg(script(&dir, "server.py", include_str!("grpc/server.py"))?);
        command.arg(address.to_string()).arg(&descriptors);
        let mut child = Child::start(command, &dir.path().join("server.log"))?;
        child.wait_for_line("ready", PATIENCE)?;
        Ok(GrpcServer { address, descriptors, dir, child })
    }

    /// The lines it wrote, one for each call that its handlers ended.
    pub fn calls(&self) -> Vec<String> {
        self.child.output().lines().filter(|l| l.contains("\"method\"")).map(str::to_owned).collect()
    }

    /// Waits until its output has `needle`.
    ///
    /// # Errors
    /// When that takes longer than a minute and a half.
    pub fn wait_for(&mut self, needle: &str) -> Result<String, TestkitError> {
        self.child.wait_for_line(needle, PATIENCE)
    }

    /// Runs a scenario of the client against `target`; gives the lines that it printed.
    ///
    /// # Errors
    /// When it fails or takes too long; the text has what it printed.
    pub fn client(&self, target: SocketAddr, scenario: &[&str]) -> Result<Vec<String>, TestkitError> {
        let python = python::venv("grpc", &PACKAGES)?;
        let mut command = Command::new(python);
        command.arg(script(&self.dir, "client.py", include_str!("grpc/client.py"))?);
        command.arg(target.to_string()).args(scenario);
        let log = TempDir::new("grpc-client")?;
        let mut child = Child::start(command, &log.path().join("client.log"))?;
        let status = child.wait(PATIENCE)?;
        let output = child.output();
        if !status.success() {
            let what = "the gRPC client's success".to_owned();
            return Err(TestkitError::NotReady { what, seconds: PATIENCE.as_secs(), output });
        }
        Ok(output.lines().filter(|l| l.starts_with('{')).map(str::to_owned).collect())
    }
}
