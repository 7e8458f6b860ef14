//! A look at the sockets of this machine: the files of `/proc` read, and which sockets are our own.

use super::{Seen, TEXT_MAX, Watch, proc_net};
use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Most of our own sockets that are told apart.
const OWN_MAX: usize = 1 << 20;

/// Where the kernel tells.
#[derive(Clone, Debug)]
pub struct Places {
    /// IPv4.
    pub tcp: PathBuf,
    /// IPv6; may be missing.
    pub tcp6: PathBuf,
    /// Our own open files.
    pub own: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            tcp: PathBuf::from("/proc/net/tcp"),
            tcp6: PathBuf::from("/proc/net/tcp6"),
            own: PathBuf::from("/proc/self/fd"),
        }
    }
}

/// The connections to the watched addresses that are open now. Those of this process are `through`.
///
/// The tables are read twice with our own sockets in between: a connection that stands in both was open when ours were
/// listed, so a socket of ours that opens or closes meanwhile can not pass for a stranger's. `watch.own` is not used.
///
/// # Errors
/// A file cannot be read; without `/proc` there is no such witness.
pub fn look(places: &Places, watch: &Watch) -> io::Result<Seen> {
    let first = tables(places)?;
    let watch = Watch { own: own(&places.own)?, ..watch.clone() };
    let second = tables(places)?;
    let read = |texts: &[String]| proc_net(&texts.iter().map(String::as_str).collect::<Vec<_>>(), &watch);
    let (first, mut second) = (read(&first), read(&second));
    let before: BTreeSet<_> = first.connections.iter().map(|c| (c.src, c.src_port, c.dst)).collect();
    second.connections.retain(|c| c.through || before.contains(&(c.src, c.src_port, c.dst)));
    Ok(second)
}

fn tables(places: &Places) -> io::Result<Vec<String>> {
    let four = bounded(&places.tcp)?;
    match bounded(&places.tcp6) {
        Ok(six) => Ok(vec![four, six]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![four]),
        Err(error) => Err(error),
    }
}

fn bounded(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(TEXT_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The numbers of our own sockets: `socket:[12345]`.
fn own(path: &Path) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for file in std::fs::read_dir(path)?.take(OWN_MAX) {
        // A file that was closed meanwhile is none of ours any more.
        let Ok(link) = file.and_then(|file| std::fs::read_link(file.path())) else { continue };
        let name = link.to_string_lossy();
        let number = name.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    Ok(numbers)
}
