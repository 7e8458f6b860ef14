//! redis-py's own tests, from its source distribution, direct and through: the same ones must pass.
//!
//! The standalone part: no cluster, no modules, no TLS, no sentinel, no credential providers. The plain test
//! command runs the files that say most about the protocol, `COUNTERSIGN_TORTURE=full` all of them.

use crate::redis::{drained, operations, rig};
use countersign_testkit::redis::Redis;
use countersign_testkit::{python, torture_full};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = "redis==8.1.0";
const PLAIN: &[&str] = &["test_commands", "test_pipeline", "test_scripting", "test_pubsub", "test_function"];
const WHOLE: &[&str] = &[
    "test_commands",
    "test_pipeline",
    "test_scripting",
    "test_pubsub",
    "test_function",
    "test_connection",
    "test_connection_pool",
    "test_encoding",
    "test_lock",
    "test_monitor",
    "test_cache",
    "test_client",
    "test_retry",
    "test_asyncio/test_commands",
    "test_asyncio/test_pipeline",
    "test_asyncio/test_pubsub",
    "test_asyncio/test_scripting",
    "test_asyncio/test_connection_pool",
    "test_asyncio/test_encoding",
    "test_asyncio/test_lock",
    "test_asyncio/test_monitor",
];
const MARKS: &str = "not onlycluster and not redismod and not ssl and not cp_integration \
    and not multidb_integration and not replica";

fn environment() -> PathBuf {
    let packages = [
        VERSION,
        "pytest",
        "pytest-asyncio",
        "pytest-timeout",
        "packaging",
        "PyJWT",
        "numpy",
        "pybreaker",
        "xxhash",
        "cryptography",
    ];
    python::venv("redis-py", &packages).unwrap()
}

/// Names of the tests that passed, and of those that did not.
fn suite(python: &Path, source: &Path, server: SocketAddr) -> (BTreeSet<String>, BTreeSet<String>) {
    let files = if torture_full() { WHOLE } else { PLAIN };
    let mut command = Command::new(python);
    command.current_dir(source).env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["-m", "pytest", "-q", "-rpfE", "--tb=no", "-p", "no:cacheprovider", "--timeout", "90"]);
    command.args(["-W", "ignore", "-m", MARKS, "--redis-url", &format!("redis://{server}/0")]);
    command.args(files.iter().map(|f| format!("tests/{f}.py")));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let listed = |word: &str| {
        let name = |l: &str| l.strip_prefix(word)?.split(" - ").next().map(|n| n.trim().to_owned());
        text.lines().filter_map(name).collect::<BTreeSet<_>>()
    };
    let failed = listed("FAILED ").union(&listed("ERROR ")).cloned().collect();
    let passed = listed("PASSED ");
    assert!(!passed.is_empty(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    (passed, failed)
}

#[test]
fn the_same_tests_of_redis_py_pass_direct_and_through() {
    let python = environment();
    let source = python::source(&python, VERSION, "redis").unwrap();
    let (first, second) = (Redis::start(&[]).unwrap(), Redis::start(&[]).unwrap());
    let rig = rig(second.address, |_| {});
    let (direct, through) = std::thread::scope(|scope| {
        let direct = scope.spawn(|| suite(&python, &source, first.address));
        (suite(&python, &source, rig.address), direct.join().unwrap())
    });
    let (through, direct) = (direct, through);
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    println!("redis-py: {} passed direct, {} through", direct.0.len(), through.0.len());
    assert_eq!((only(&direct.0, &through.0), only(&through.0, &direct.0)), (Vec::new(), Vec::new()));
    assert!(direct.0.len() * 10 >= (direct.0.len() + direct.1.len()) * 7, "failed direct: {:?}", direct.1);
    let events = drained(&rig);
    assert!(operations(&events).len() > 1_000);
}
