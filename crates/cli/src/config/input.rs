//! Inputs of the collector: from declared keys to types.

use super::{ConfigError, Reader};
use countersign_collect::KeepRaw;
use countersign_collect::formats::{self, Format};
use countersign_collect::receivers::Enrolled;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// One input.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Unique name.
    pub(crate) name: String,
    /// Where senders connect.
    pub(crate) listen: SocketAddr,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// What the records are; `None` = find out.
    pub(crate) format: Option<&'static Format>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// All push protocols over HTTP.
    Http,
    /// Syslog.
    Syslog,
    /// Fluent's forward protocol.
    Fluent,
    /// Records of edges of ours.
    Edge,
}

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
    let input = |name: &str, port, protocol| Input {
        name: name.to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        protocol,
        format: None,
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
            let twin = |other: &Input| other.name == input.name || other.listen == input.listen;
            if inputs.iter().take(i).any(twin) {
                let what = format!(
                    "input `{}` at {} repeats the name or the address of another; give each its own",
                    input.name, input.listen
                );
                return Err(self.settings.conflict(&format!("input[{i}].name"), what));
            }
        }
        Ok(inputs)
    }

    fn input(&self, at: &str) -> Result<Input, ConfigError> {
        let name = self.need(at, "name");
        let listen = self.address(&format!("{at}.listen"))?;
        let mut tls = self.input_tls(at)?;
        let word = |key: &str| self.text(&format!("{at}.{key}")).unwrap_or_default();
        let protocol = match word("protocol").as_str() {
            "syslog" => Protocol::Syslog,
            "fluent" => Protocol::Fluent,
            "edge" => Protocol::Edge,
            _ => Protocol::Http,
        };
        let edges = self.enrolled(at)?;
        self.edge_input(at, protocol, &mut tls, &edges)?;
        if tls.is_none() && !listen.ip().is_loopback() && !self.on(&format!("{at}.plaintext")) {
            let what = format!(
                "{listen} is off loopback and without TLS: everybody on the way could read and change what is sent; \
                 give [input.tls], or say `plaintext = true`"
            );
            return Err(self.settings.conflict(&format!("{at}.listen"), what));
        }
        let required = word("credential") == "required";
        let asserted = word("trust") == "asserted";
        let shared_key = self.path(&format!("{at}.shared_key"));
        if shared_key.is_some() && protocol != Protocol::Fluent {
            let what =
                "`shared_key` is asked for by protocol \"fluent\" alone; say that, or leave the key out";
            return Err(self.settings.conflict(&format!("{at}.shared_key"), what));
        }
        Ok(Input {
            listen,
            protocol,
            edges,
            format: self.format(at)?,
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
        protocol: Protocol,
        tls: &mut Option<InputTls>,
        edges: &[Enrolled],
    ) -> Result<(), ConfigError> {
        let conflict = |what: &str| Err(self.settings.conflict(at, what));
        match (protocol, tls) {
            (Protocol::Edge, Some(tls)) if tls.client_ca.is_some() => {
                tls.client_auth = "required".to_owned();
                if edges.is_empty() {
                    return conflict("an input for edges names those that may send: add [[input.edge]]");
                }
                Ok(())
            }
            (Protocol::Edge, _) => conflict(
                "an input for edges needs [input.tls] with `client_ca`: an edge is known by its certificate",
            ),
            _ if edges.is_empty() => Ok(()),
            _ => conflict("[[input.edge]] needs `protocol = \"edge\"`"),
        }
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
            (format!("{input}[input.tls]\ncert=\"c\"\nkey=\"k\"\nclient_auth=\"required\"\n"), "client_ca"),
        ] {
            let error = config(&text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_configuration_without_inputs_has_none() {
        assert!(config("").unwrap().inputs.is_empty());
    }
}
