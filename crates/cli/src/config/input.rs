//! Inputs of the collector: from declared keys to types.

use super::kafka::Kafka;
use super::nats::Nats;
use super::{ConfigError, Reader};
use countersign_collect::KeepRaw;
use countersign_collect::files::glob::Pattern;
use countersign_collect::files::{Framing, TrailSettings};
use countersign_collect::formats::{self, Format};
use countersign_collect::receivers::Enrolled;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// One input.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Unique name.
    pub(crate) name: String,
    /// What is spoken, and where.
    pub(crate) protocol: Protocol,
    /// What the records are; `None` = find out.
    pub(crate) format: Option<&'static Format>,
    /// File with a format of the operator's own; what reads the records, or what `format` carries.
    pub(crate) format_file: Option<PathBuf>,
    /// Identities are believed as far as an import can be, of senders that were checked.
    pub(crate) asserted: bool,
    /// A sender must show a credential.
    pub(crate) required: bool,
    /// Realm of names without one.
    pub(crate) realm: String,
    /// Whose bytes are kept.
    pub(crate) keep_raw: KeepRaw,
    /// File with the key that senders of Fluent's protocol must prove.
    pub(crate) shared_key: Option<PathBuf>,
    /// Takes records of the audit draft.
    pub(crate) audit: bool,
    /// What a leaf's index is appended to for its proof; empty = nothing.
    pub(crate) audit_proofs: String,
    /// TLS towards senders.
    pub(crate) tls: Option<InputTls>,
    /// Edges that may send; only with [`Protocol::Edge`].
    pub(crate) edges: Vec<Enrolled>,
    /// It is nobody's wish: where its port is in use, it is left out.
    pub(crate) by_default: bool,
}

/// What an input speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// All push protocols over HTTP, to this address.
    Http(SocketAddr),
    /// Syslog, to this address.
    Syslog(SocketAddr),
    /// Fluent's forward protocol, to this address.
    Fluent(SocketAddr),
    /// Records of edges of ours, to this address.
    Edge(SocketAddr),
    /// Nothing: it reads files.
    Files(Files),
    /// NATS, towards servers that it fetches from.
    Nats(Nats),
    /// Kafka, towards brokers that it fetches from.
    Kafka(Kafka),
}

impl Protocol {
    /// Where senders connect; `None` = nobody does.
    pub(crate) fn listen(&self) -> Option<SocketAddr> {
        match self {
            Protocol::Http(at) | Protocol::Syslog(at) | Protocol::Fluent(at) | Protocol::Edge(at) => {
                Some(*at)
            }
            Protocol::Files(_) | Protocol::Nats(_) | Protocol::Kafka(_) => None,
        }
    }
}

/// Which files an input reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// Patterns of paths.
    pub(crate) paths: Vec<Pattern>,
    /// Those to leave out.
    pub(crate) exclude: Vec<Pattern>,
    /// Where one record ends.
    pub(crate) framing: Framing,
    /// What proves CloudTrail's files.
    pub(crate) trail: Option<TrailSettings>,
}

/// Keys that an input which fetches cannot have.
const NOT_FETCHED: [&str; 7] =
    ["listen", "credential", "paths", "exclude", "frame", "cloudtrail_keys", "cloudtrail_digests"];

/// TLS of an input.
#[derive(Clone, Debug)]
pub(crate) struct InputTls {
    /// PEM chain.
    pub(crate) cert: PathBuf,
    /// PEM key.
    pub(crate) key: PathBuf,
    /// Authorities of the senders.
    pub(crate) client_ca: Option<PathBuf>,
    /// `none`, `optional` or `required`.
    pub(crate) client_auth: String,
}

/// What there is without a configuration file.
pub(crate) fn defaults() -> Vec<Input> {
    let input = |name: &str, port, protocol: fn(SocketAddr) -> Protocol| Input {
        name: name.to_owned(),
        protocol: protocol(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        format: None,
        format_file: None,
        asserted: false,
        required: false,
        realm: name.to_owned(),
        keep_raw: KeepRaw::default(),
        shared_key: None,
        audit: false,
        audit_proofs: String::new(),
        tls: None,
        edges: Vec::new(),
        by_default: true,
    };
    vec![
        input("push", 4318, Protocol::Http),
        input("otlp", 4317, Protocol::Http),
        input("syslog", 5514, Protocol::Syslog),
    ]
}

impl Reader<'_> {
    pub(super) fn inputs(&self) -> Result<Vec<Input>, ConfigError> {
        let inputs = self.each("input", |at| self.input(at))?;
        for (i, input) in inputs.iter().enumerate() {
            let listen = input.protocol.listen();
            let twin = |other: &Input| {
                other.name == input.name || (listen.is_some() && other.protocol.listen() == listen)
            };
            if inputs.iter().take(i).any(twin) {
                let what = format!(
                    "input `{}` repeats the name or the address of another; give each its own",
                    input.name
                );
                return Err(self.settings.conflict(&format!("input[{i}].name"), what));
            }
        }
        Ok(inputs)
    }

    fn input(&self, at: &str) -> Result<Input, ConfigError> {
        let name = self.need(at, "name");
        let mut tls = self.input_tls(at)?;
        let protocol = self.protocol(at, tls.is_some())?;
        let edges = self.enrolled(at)?;
        self.edge_input(at, &protocol, &mut tls, &edges)?;
        let word = |key: &str| self.text(&format!("{at}.{key}")).unwrap_or_default();
        let required = word("credential") == "required";
        let asserted = word("trust") == "asserted";
        let shared_key = self.path(&format!("{at}.shared_key"));
        if shared_key.is_some() && !matches!(protocol, Protocol::Fluent(_)) {
            let what =
                "`shared_key` is asked for by protocol \"fluent\" alone; say that, or leave the key out";
            return Err(self.settings.conflict(&format!("{at}.shared_key"), what));
        }
        Ok(Input {
            format: self.format(at)?,
            format_file: self.format_file(at)?,
            protocol,
            edges,
            asserted,
            required,
            realm: self.text(&format!("{at}.realm")).unwrap_or_else(|| name.clone()),
            keep_raw: match word("keep_raw").as_str() {
                "all" => KeepRaw::All,
                "none" => KeepRaw::None,
                _ => KeepRaw::Unparsed,
            },
            shared_key,
            audit: self.on(&format!("{at}.audit")),
            audit_proofs: self.text(&format!("{at}.audit_proofs")).unwrap_or_default(),
            tls,
            by_default: false,
            name,
        })
    }

    /// An edge is known by its certificate alone, so one is demanded whatever `client_auth` says.
    fn edge_input(
        &self,
        at: &str,
        protocol: &Protocol,
        tls: &mut Option<InputTls>,
        edges: &[Enrolled],
    ) -> Result<(), ConfigError> {
        let conflict = |what: &str| Err(self.settings.conflict(at, what));
        match (protocol, tls) {
            (Protocol::Edge(_), Some(tls)) if tls.client_ca.is_some() => {
                tls.client_auth = "required".to_owned();
                if edges.is_empty() {
                    return conflict("an input for edges names those that may send: add [[input.edge]]");
                }
                Ok(())
            }
            (Protocol::Edge(_), _) => conflict(
                "an input for edges needs [input.tls] with `client_ca`: an edge is known by its certificate",
            ),
            _ if edges.is_empty() => Ok(()),
            _ => conflict("[[input.edge]] needs `protocol = \"edge\"`"),
        }
    }

    fn protocol(&self, at: &str, tls: bool) -> Result<Protocol, ConfigError> {
        let word = self.text(&format!("{at}.protocol")).unwrap_or_default();
        let refuse = |key: &str, what: String| Err(self.settings.conflict(&format!("{at}.{key}"), what));
        let given = |key: &&&str| self.settings.get(&format!("{at}.{key}")).is_some();
        if word == "file" {
            if let Some(key) = ["listen", "plaintext", "credential"].iter().find(given) {
                return refuse(key, format!("`{key}` belongs to an input that listens; files have `paths`"));
            }
            if tls {
                return refuse(
                    "tls",
                    "[input.tls] belongs to an input that listens; files have `paths`".into(),
                );
            }
            return self.files(at).map(Protocol::Files);
        }
        if word == "nats" || word == "kafka" {
            if let Some(key) = NOT_FETCHED.iter().find(given) {
                let what = "belongs to an input that listens or reads files; this one fetches";
                return refuse(key, format!("`{key}` {what}, see [input.{word}]"));
            }
            if tls {
                let what = "[input.tls] belongs to an input that listens; `ca`, `cert` and `key` of what is fetched are in";
                return refuse("tls", format!("{what} [input.{word}]"));
            }
            return match word.as_str() {
                "kafka" => self.kafka(at).map(Protocol::Kafka),
                _ => self.nats(at).map(Protocol::Nats),
            };
        }
        for table in ["nats", "kafka"] {
            if self.settings.has_table(&format!("{at}.{table}")) {
                return refuse(table, format!("[input.{table}] needs `protocol = \"{table}\"`"));
            }
        }
        if let Some(key) =
            ["paths", "exclude", "frame", "cloudtrail_keys", "cloudtrail_digests"].iter().find(given)
        {
            return refuse(key, format!("`{key}` belongs to `protocol = \"file\"`"));
        }
        if self.text(&format!("{at}.listen")).is_none() {
            let what = "an input needs `listen`, where senders connect, or `protocol = \"file\"` and `paths`";
            return Err(self.settings.conflict(at, what));
        }
        let listen = self.address(&format!("{at}.listen"))?;
        if !tls && !listen.ip().is_loopback() && !self.on(&format!("{at}.plaintext")) {
            let what = format!(
                "{listen} is off loopback and without TLS: everybody on the way could read and change what is sent; \
                 give [input.tls], or say `plaintext = true`"
            );
            return refuse("listen", what);
        }
        Ok(match word.as_str() {
            "syslog" => Protocol::Syslog(listen),
            "fluent" => Protocol::Fluent(listen),
            "edge" => Protocol::Edge(listen),
            _ => Protocol::Http(listen),
        })
    }

    fn files(&self, at: &str) -> Result<Files, ConfigError> {
        let patterns = |key: &str| {
            let path = format!("{at}.{key}");
            let texts = self.texts(&path, &[]).into_iter().map(|text| self.resolve(text));
            texts
                .map(|text| {
                    let shown = text.to_string_lossy().into_owned();
                    Pattern::new(&shown)
                        .map_err(|why| self.settings.conflict(&path, format!("`{shown}`: {why}")))
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let paths = patterns("paths")?;
        if paths.is_empty() {
            let what = "`protocol = \"file\"` needs `paths`, patterns of the files to follow";
            return Err(self.settings.conflict(at, what));
        }
        let framing = match self.text(&format!("{at}.frame")).as_deref() {
            Some(word) => Framing::ALL.iter().find(|(name, _)| *name == word).map(|(_, framing)| *framing),
            None => match self.path(&format!("{at}.format_file")).map(|path| super::own::read(&path)) {
                // What is wrong with it is said where it is asked for.
                Some(own) => own.ok().map(|own| own.framing()),
                None => self.format(at)?.map(|format| Framing::of_format(format.name)),
            },
        };
        let trail = self.trail(at, patterns)?;
        Ok(Files { paths, exclude: patterns("exclude")?, framing: framing.unwrap_or_default(), trail })
    }

    fn format(&self, at: &str) -> Result<Option<&'static Format>, ConfigError> {
        let path = format!("{at}.format");
        match self.text(&path).as_deref() {
            None | Some("auto") => Ok(None),
            Some(name) => match formats::by_name(name) {
                Some(format) => Ok(Some(format)),
                None => Err(self.settings.conflict(&path, unknown_format(name))),
            },
        }
    }

    /// The file is read here too, so that `check` refuses what a start would.
    fn format_file(&self, at: &str) -> Result<Option<PathBuf>, ConfigError> {
        let key = format!("{at}.format_file");
        let Some(path) = self.path(&key) else { return Ok(None) };
        match super::own::read(&path) {
            Ok(_) => Ok(Some(path)),
            Err(error) => Err(self.settings.conflict(&key, error.to_string())),
        }
    }

    fn input_tls(&self, at: &str) -> Result<Option<InputTls>, ConfigError> {
        let table = format!("{at}.tls");
        if !self.settings.has_table(&table) {
            return Ok(None);
        }
        let client_ca = self.path(&format!("{table}.client_ca"));
        let client_auth = self.text(&format!("{table}.client_auth")).unwrap_or_else(|| "optional".to_owned());
        if client_auth == "required" && client_ca.is_none() {
            let what = "`client_auth = \"required\"` needs `client_ca`, the authorities of the senders";
            return Err(self.settings.conflict(&table, what));
        }
        let [cert, key] =
            [self.need(&table, "cert"), self.need(&table, "key")].map(|path| self.resolve(path));
        Ok(Some(InputTls { cert, key, client_ca, client_auth }))
    }
}

/// That there is no such format, with the nearest name.
pub(crate) fn unknown_format(name: &str) -> String {
    let near = formats::FORMATS
        .iter()
        .map(|f| f.name)
        .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    format!(
        "no format is called `{name}`; nearest: {}; countersign parse --help lists all",
        near.unwrap_or("auto")
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    #[test]
    fn inputs_are_read_and_what_cannot_work_is_refused() {
        let input = "[[input]]\nname=\"a\"\nlisten=\"127.0.0.1:1\"\n";
        let inputs = config(input).unwrap().inputs;
        assert!(inputs.len() == 1 && !inputs[0].asserted && inputs[0].realm == "a");
        for (text, why) in [
            (format!("{input}format=\"combind\"\n"), "nearest: combined"),
            (format!("{input}{input}"), "repeats the name"),
            ("[[input]]\nname=\"a\"\nlisten=\"0.0.0.0:1\"\n".to_owned(), "plaintext = true"),
            (format!("{input}shared_key=\"k\"\n"), "protocol \"fluent\""),
            ("[[input]]\nname=\"a\"\n".to_owned(), "needs `listen`"),
            ("[[input]]\nname=\"a\"\nprotocol=\"file\"\n".to_owned(), "needs `paths`"),
            (format!("{input}paths=[\"/a\"]\n"), "belongs to `protocol"),
            (format!("{input}protocol=\"file\"\npaths=[\"/a\"]\n"), "belongs to an input that listens"),
            ("[[input]]\nname=\"a\"\nprotocol=\"file\"\npaths=[\"/a/[b\"]\n".to_owned(), "bracket"),
            (format!("{input}[input.tls]\ncert=\"c\"\nkey=\"k\"\nclient_auth=\"required\"\n"), "client_ca"),
        ] {
            let error = config(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn files_are_named_by_patterns_and_framed_by_their_format() {
        let text =
            "[[input]]\nname=\"a\"\nprotocol=\"file\"\npaths=[\"log/*.csv\"]\nformat=\"postgres-csv\"\n";
        let inputs = config(text).unwrap().inputs;
        let Protocol::Files(files) = &inputs[0].protocol else { panic!("files") };
        assert_eq!(files.framing, Framing::Csv);
        assert!(files.paths[0].matches(std::path::Path::new("/etc/countersign/log/a.csv")));
        let inputs = config(&format!("{text}frame=\"lines\"\n")).unwrap().inputs;
        assert!(matches!(&inputs[0].protocol, Protocol::Files(files) if files.framing == Framing::Lines));
        assert_eq!(inputs[0].protocol.listen(), None);
    }

    #[test]
    fn every_word_for_a_framing_is_one() {
        let key = crate::config::schema::find("input.frame").unwrap();
        let crate::config::schema::Kind::Word(words) = key.kind else { panic!("words") };
        assert_eq!(words, Framing::ALL.map(|(name, _)| name));
    }

    #[test]
    fn a_configuration_without_inputs_has_none() {
        assert!(config("").unwrap().inputs.is_empty());
    }
}
