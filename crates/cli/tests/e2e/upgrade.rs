//! Live upgrade through the real binary: SIGUSR2 under load fails no request and misses no record; a new process
//! that cannot start, or that dies on the way, costs nothing that is not declared.

use crate::support::{Home, Random, upstream};
use countersign_testkit::{Child, free_port, repetitions, wait_for_port};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is replaced while the test runs: whichever process has it ends with this.
struct Server {
    home: Home,
    address: SocketAddr,
    config: PathBuf,
    first: Option<Child>,
}

impl Server {
    fn start(label: &str) -> Server {
        let home = Home::new(label);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let config = home.path().join("countersign.toml");
        let text = format!(
            "[limits]\ndrain_time = \"10s\"\n[web]\nenabled = false\n[[listener]]\nname = \"front\"\nservice = \"orders\"\n\
             listen = \"{address}\"\nupstream = \"http://{}\"\n",
            upstream()
        );
        std::fs::write(&config, text).unwrap();
        let mut server = Server { home, address, config, first: None };
        server.launch();
        server
    }

    fn launch(&mut self) {
        let command = self.home.command(&["run", "--config", self.config.to_str().unwrap()]);
        let child = Child::start(command, &self.home.path().join("run.log")).unwrap();
        let ready = wait_for_port(self.address, PATIENCE).is_ok() && until(|| self.pid() == Some(child.id()));
        assert!(ready, "the gateway did not start: {}", child.output());
        self.first = Some(child);
    }

    /// The process that serves, by its own word.
    fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.home.data().join("pid")).ok()?.trim().parse().ok()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("run.log")).unwrap_or_default()
    }

    fn stop(&mut self) {
        let pid = self.pid().unwrap();
        signal("INT", pid);
        assert!(until(|| !alive(pid)), "no clean end: {}", self.log());
        self.first = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            signal("KILL", pid);
        }
    }
}

fn signal(name: &str, pid: u32) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
}

/// Running: neither gone nor a zombie that its parent has not noticed.
fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn child_of(pid: u32) -> Option<u32> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        if let Some(child) = children.split_whitespace().find_map(|c| c.parse().ok()) {
            return Some(child);
        }
    }
    None
}

fn until(mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// One request; whether the server said that the connection ends.
fn ask(stream: &mut BufReader<TcpStream>, path: &str) -> std::io::Result<bool> {
    stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())?;
    let (mut close, mut length, mut line) = (false, 0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let lower = line.to_ascii_lowercase();
        if lower.starts_with("http/") && !lower.contains(" 200 ") {
            return Err(std::io::Error::other(line));
        }
        close |= lower == "connection: close\r\n";
        length = lower.strip_prefix("content-length:").map_or(length, |v| v.trim().parse().unwrap_or(0));
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(close)
}

fn connect(address: SocketAddr) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// Keep-alive requests until told to stop; any failure is a panic.
fn steady(address: SocketAddr, pause: Duration, stop: &AtomicBool, answered: &AtomicU64) {
    let mut stream = None;
    while !stop.load(Ordering::Relaxed) {
        let open = stream.get_or_insert_with(|| connect(address).unwrap());
        let close = ask(open, "/load").unwrap();
        answered.fetch_add(1, Ordering::Relaxed);
        if close {
            stream = None;
        }
        std::thread::sleep(pause);
    }
}

fn number(home: &Home, sql: &str) -> u64 {
    let text = home.ok(&["sql", "-o", "ndjson", sql]);
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

const LOST: &str = "select coalesce(sum(\"count\"), 0) as n from gaps";
const RECORDED: &str = "select count(*) as n from events where service = 'orders' and rec <> 'finding'";

#[test]
fn ten_upgrades_under_load_fail_no_request_and_miss_no_record() {
    let mut server = Server::start("upgrade");
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for pause in [0, 0, 0, 1, 20, 150] {
            let (address, stop, answered) = (server.address, &stop, &answered);
            scope.spawn(move || steady(address, Duration::from_millis(pause), stop, answered));
        }
        for round in 0..10 {
            std::thread::sleep(Duration::from_millis(100));
            let old = server.pid().unwrap();
            signal("USR2", old);
            let passed = until(|| server.pid().is_some_and(|new| new != old) && !alive(old));
            if !passed {
                stop.store(true, Ordering::Relaxed);
                panic!("upgrade {round} did not happen: {}", server.log());
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let answered = answered.load(Ordering::Relaxed);
    assert!(answered > 1_000, "{answered}");
    assert_eq!(server.log().matches("has taken over").count(), 10, "{}", server.log());
    assert_eq!(server.home.settle("service:orders -rec:finding", answered), answered);
    assert_eq!(server.home.count("op:upgrade outcome:success"), 10);
    server.stop();
    assert_eq!(number(&server.home, RECORDED), answered);
    assert_eq!(number(&server.home, LOST), 0);
    assert_eq!(server.home.run(&["fsck"]).status.code(), Some(0));
}

#[test]
fn a_new_process_that_refuses_its_configuration_leaves_the_old_one_in_service() {
    let mut server = Server::start("upgrade-refused");
    let (old, good) = (server.pid().unwrap(), std::fs::read_to_string(&server.config).unwrap());
    let mut stream = connect(server.address).unwrap();
    assert!(!ask(&mut stream, "/1").unwrap());
    std::fs::write(&server.config, good.replace("listen =", "lisen =")).unwrap();
    signal("USR2", old);
    assert_eq!(server.home.settle("op:upgrade outcome:caller_error", 1), 1);
    assert!(!ask(&mut stream, "/2").unwrap(), "an open connection does not notice");
    assert_eq!(server.pid(), Some(old));
    assert!(server.log().contains("lisen"), "the reason is told: {}", server.log());
    assert_eq!(server.home.settle("service:orders", 2), 2);
    server.stop();
}

#[test]
fn a_kill_at_any_moment_of_an_upgrade_loses_nothing_that_is_not_declared() {
    let rounds = repetitions(3, 20) as u64;
    let mut random = Random(20_261_122);
    let mut server = Server::start("upgrade-kill");
    let answered = AtomicU64::new(0);
    let stayed = &mut 0;
    for round in 0..rounds {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (address, stop, answered) = (server.address, &stop, &answered);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let Ok(mut stream) = connect(address) else {
                            std::thread::sleep(Duration::from_millis(5));
                            continue;
                        };
                        while !stop.load(Ordering::Relaxed)
                            && ask(&mut stream, "/load").is_ok_and(|close| !close)
                        {
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(100));
            let old = server.pid().unwrap();
            signal("USR2", old);
            let mut new = None;
            until(|| {
                new = child_of(old);
                new.is_some() || !alive(old)
            });
            let wait = random.below(3_000);
            std::thread::sleep(Duration::from_millis(wait));
            new.into_iter().for_each(|new| signal("KILL", new));
            // Either the old one goes on, or it had handed over and ends.
            let stays = |log: &str| log.matches("did not start:").count() + log.matches("unchanged").count();
            let before = *stayed;
            let settled = until(|| {
                *stayed = stays(&server.log());
                !alive(old) || (*stayed > before && server.pid() == Some(old))
            });
            assert!(settled, "{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
            stop.store(true, Ordering::SeqCst);
            println!("round {round}: killed after {wait} ms, the old process lives: {}", alive(old));
        });
        let lives = server.pid().is_some_and(alive);
        if !lives {
            server.launch();
        }
    }
    let answered = answered.load(Ordering::SeqCst);
    server.stop();
    let (recorded, lost) = (number(&server.home, RECORDED), number(&server.home, LOST));
    println!("{answered} answered, {recorded} recorded, {lost} declared lost");
    assert!(recorded + lost >= answered, "{recorded} recorded and {lost} declared of {answered} answered");
    assert_eq!(server.home.run(&["fsck"]).status.code(), Some(0));
}

#[test]
fn when_the_new_process_dies_while_the_old_one_drains_no_answer_passes_without_a_record() {
    let mut server = Server::start("upgrade-orphan");
    let old = server.pid().unwrap();
    let mut idle = connect(server.address).unwrap();
    assert!(!ask(&mut idle, "/1").unwrap());
    signal("USR2", old);
    assert!(until(|| server.log().contains("has taken over")), "{}", server.log());
    let new = server.pid().unwrap();
    assert!(new != old && alive(old), "the old one waits for its idle connection");
    signal("KILL", new);
    assert!(until(|| !alive(new)));
    // Before the old process knows, its answer still goes with a promise in its own count file.
    let answered = 1 + u64::from(ask(&mut idle, "/2").is_ok());
    assert!(ask(&mut idle, "/3").is_err(), "nobody can record it any more");
    assert!(until(|| !alive(old)), "{}", server.log());
    server.launch();
    server.stop();
    let (recorded, lost) = (number(&server.home, RECORDED), number(&server.home, LOST));
    assert_eq!(recorded + lost, answered, "{recorded} recorded, {lost} declared");
    assert_eq!(server.home.run(&["fsck"]).status.code(), Some(0));
}

#[test]
fn the_process_id_is_where_service_managers_look() {
    let mut server = Server::start("pid");
    let file = server.home.data().join("pid");
    assert!(Path::new(&file).exists());
    server.stop();
    assert!(!file.exists(), "removed at the end");
}
