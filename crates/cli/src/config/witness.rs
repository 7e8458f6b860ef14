//! What is held against the record: what should be, and who else looks. From declared keys to types.

use super::{ConfigError, Reader};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Expectations and witnesses.
#[derive(Clone, Debug, Default)]
pub(crate) struct CoverageSettings {
    /// Documents: the service that each is about (empty = its own word), and its file.
    pub(crate) expected: Vec<(String, PathBuf)>,
    /// Promises, likewise.
    pub(crate) levels: Vec<(String, PathBuf)>,
    /// Contracts, likewise.
    pub(crate) contracts: Vec<(String, PathBuf)>,
    /// Independent observers.
    pub(crate) witnesses: Vec<Witness>,
}

/// An observer.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// Empty = those of all listeners.
    pub(crate) upstreams: Vec<SocketAddr>,
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) command: Vec<String>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) every: Duration,
}

impl Reader<'_> {
    pub(super) fn coverage(&self) -> Result<CoverageSettings, ConfigError> {
        let documents = |path: &str| -> Vec<(String, PathBuf)> {
            let texts = self.texts(path, &[]).into_iter();
            let document = texts.map(|text| match text.split_once('=') {
                Some((service, file)) => (service.to_owned(), self.resolve(file.to_owned())),
                None => (String::new(), self.resolve(text)),
            });
            document.collect()
        };
        Ok(CoverageSettings {
            expected: documents("coverage.expected"),
            levels: documents("slo.files"),
            contracts: documents("contract.files"),
            witnesses: self.each("witness", |at| self.witness(at))?,
        })
    }

    fn parsed<T: FromStr>(&self, path: &str, what: &str) -> Result<Vec<T>, ConfigError> {
        let one = |text: String| {
            text.parse().map_err(|_| self.settings.conflict(path, format!("`{text}` is no {what}")))
        };
        self.texts(path, &[]).into_iter().map(one).collect()
    }

    fn witness(&self, at: &str) -> Result<Witness, ConfigError> {
        let kind = self.text(&format!("{at}.kind")).unwrap_or_else(|| "proc".to_owned());
        let upstreams = self.parsed(&format!("{at}.upstreams"), "address, IP:PORT")?;
        let gateways = self.parsed(&format!("{at}.gateways"), "IP address")?;
        let (command, file) = (self.texts(&format!("{at}.command"), &[]), self.path(&format!("{at}.file")));
        let refuse = |what: &str| Err(self.settings.conflict(at, what.to_owned()));
        match kind.as_str() {
            "postgres" | "nats" if command.is_empty() == file.is_none() => {
                return refuse("needs exactly one of `command` and `file`: how its answer is had");
            }
            "postgres" | "nats" | "redis" if upstreams.len() != 1 => {
                return refuse("needs one address in `upstreams`: the server's own");
            }
            _ => {}
        }
        Ok(Witness {
            name: self.need(at, "name"),
            kind,
            upstreams,
            gateways,
            command,
            file,
            user: self.text(&format!("{at}.user")),
            every: self.span(&format!("{at}.every"), 10_000),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;

    #[test]
    fn witnesses_say_what_they_need() {
        let read =
            config("[[witness]]\nname=\"proc:a\"\n[coverage]\nexpected=[\"a.toml\",\"orders=b.proto\"]\n")
                .unwrap();
        assert_eq!(
            (read.coverage.witnesses[0].kind.as_str(), read.coverage.witnesses[0].every.as_secs()),
            ("proc", 10)
        );
        assert_eq!(read.coverage.expected[1].0, "orders");
        for (text, why) in [
            ("kind=\"postgres\"\nupstreams=[\"127.0.0.1:5432\"]\n", "exactly one of"),
            ("kind=\"redis\"\n", "the server's own"),
            ("upstreams=[\"db\"]\n", "`db` is no address"),
            ("gateways=[\"x\"]\n", "`x` is no IP"),
        ] {
            let error = config(&format!("[[witness]]\nname=\"a\"\n{text}")).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
