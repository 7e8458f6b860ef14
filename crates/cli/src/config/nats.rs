//! An input that fetches from NATS JetStream: from declared keys to types.

use super::{ConfigError, Reader};
use countersign_collect::consumers::nats::api::{is_name, is_subject};
use countersign_collect::consumers::nats::{Login, Server};
use std::path::PathBuf;

/// What is fetched, from where, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nats {
    /// Servers of one cluster.
    pub(crate) servers: Vec<Server>,
    /// TLS towards them; `None` = plain text.
    pub(crate) tls: Option<NatsTls>,
    /// Who we are.
    pub(crate) login: Login,
    /// Name of the stream.
    pub(crate) stream: String,
    /// Name of the durable consumer.
    pub(crate) consumer: String,
    /// Make the consumer where there is none.
    pub(crate) create: bool,
    /// For a consumer that is made: the subjects it chooses; empty = all.
    pub(crate) subject: String,
}

/// Whom we believe, and what we show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NatsTls {
    /// Authorities of the servers; `None` = the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Certificate and key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

impl Reader<'_> {
    /// `[input.nats]` of the input at `at`.
    pub(super) fn nats(&self, at: &str) -> Result<Nats, ConfigError> {
        let table = format!("{at}.nats");
        if !self.settings.has_table(&table) {
            let what = "`protocol = \"nats\"` needs [input.nats] with `servers`, `stream` and `consumer`";
            return Err(self.settings.conflict(at, what));
        }
        let (servers, secure) = self.nats_servers(at, &table)?;
        let ca = self.path(&format!("{table}.ca"));
        let identity = self.pair(&table, ["cert", "key"])?.map(|[cert, key]| (cert, key));
        if !secure && (ca.is_some() || identity.is_some()) {
            let what =
                "`ca`, `cert` and `key` are for TLS: write the addresses in `servers` as tls://HOST:PORT";
            return Err(self.settings.conflict(&table, what));
        }
        let [stream, consumer] = ["stream", "consumer"].map(|name| self.need(&table, name));
        for (key, name) in [("stream", &stream), ("consumer", &consumer)] {
            if !is_name(name) {
                let what =
                    format!("`{name}` is no name of a stream or a consumer: no dots, blanks, `*` or `>`");
                return Err(self.settings.conflict(&format!("{table}.{key}"), what));
            }
        }
        let create = self.on(&format!("{table}.create"));
        let subject = self.text(&format!("{table}.subject")).unwrap_or_default();
        if !subject.is_empty() && (!create || !is_subject(&subject)) {
            let what = format!(
                "`{subject}` must be a subject, and chooses only for a consumer that is made: say `create = true`, or \
                 give the consumer that filter where it is made"
            );
            return Err(self.settings.conflict(&format!("{table}.subject"), what));
        }
        let login = self.nats_login(&table)?;
        let tls = secure.then_some(NatsTls { ca, identity });
        Ok(Nats { servers, tls, login, stream, consumer, create, subject })
    }

    /// The servers, and whether they are spoken to by TLS: all or none.
    fn nats_servers(&self, at: &str, table: &str) -> Result<(Vec<Server>, bool), ConfigError> {
        let key = format!("{table}.servers");
        let refuse = |what: String| Err(self.settings.conflict(&key, what));
        let mut servers: Vec<Server> = Vec::new();
        for text in self.texts(&key, &[]) {
            match text.parse() {
                Ok(server) => servers.push(server),
                Err(why) => return refuse(why),
            }
        }
        let Some(secure) = servers.first().map(|server| server.tls) else {
            return refuse("give at least one server, as nats://HOST:PORT or tls://HOST:PORT".to_owned());
        };
        if servers.iter().any(|server| server.tls != secure) {
            return refuse(
                "some servers are tls:// and some are not; one of them would be read by all".to_owned(),
            );
        }
        let far = servers.iter().find(|server| !secure && !server.is_loopback());
        if let Some(server) = far.filter(|_| !self.on(&format!("{at}.plaintext"))) {
            return refuse(format!(
                "{server} is off loopback and without TLS: everybody on the way could read and change what is \
                 fetched; write tls://, or say `plaintext = true`"
            ));
        }
        Ok((servers, secure))
    }

    fn nats_login(&self, table: &str) -> Result<Login, ConfigError> {
        let word = self.text(&format!("{table}.login")).unwrap_or_else(|| "none".to_owned());
        let file = self.path(&format!("{table}.login_file"));
        let user = self.text(&format!("{table}.user"));
        if user.is_some() != (word == "password") {
            let what = "`user` and `login = \"password\"` belong together: give both";
            return Err(self.settings.conflict(&format!("{table}.login"), what));
        }
        match (word.as_str(), file) {
            ("none", None) => Ok(Login::Nothing),
            ("password", Some(file)) => Ok(Login::Password(user.unwrap_or_default(), file)),
            ("token", Some(file)) => Ok(Login::Token(file)),
            ("nkey", Some(file)) => Ok(Login::Nkey(file)),
            ("creds", Some(file)) => Ok(Login::Creds(file)),
            _ => {
                let what =
                    "`login` and `login_file` belong together: the kind of login, and the file that holds it";
                Err(self.settings.conflict(&format!("{table}.login"), what))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::Protocol;
    use super::super::tests::config;
    use super::*;

    const INPUT: &str = "[[input]]\nname=\"a\"\nprotocol=\"nats\"\n";
    const NATS: &str = "[input.nats]\nservers=[\"tls://a:1\",\"tls://b\"]\nstream=\"S\"\nconsumer=\"c\"\n";

    #[test]
    fn an_input_fetches_from_a_stream_by_a_consumer_with_a_login_from_a_file() {
        let text = format!("{INPUT}{NATS}ca=\"ca.pem\"\nlogin=\"creds\"\nlogin_file=\"n.creds\"\n");
        let inputs = config(&text).unwrap().inputs;
        let Protocol::Nats(nats) = &inputs[0].protocol else { panic!("nats") };
        assert_eq!((nats.servers.len(), nats.stream.as_str(), nats.create), (2, "S", false));
        assert!(nats.tls.as_ref().unwrap().ca.as_ref().unwrap().ends_with("ca.pem"));
        assert!(matches!(&nats.login, Login::Creds(file) if file.ends_with("n.creds")));
        assert_eq!(inputs[0].protocol.listen(), None);
    }

    #[test]
    fn what_cannot_work_or_would_be_read_on_the_way_is_refused() {
        let plain = NATS.replace("tls://a:1\",\"tls://b", "nats://127.0.0.1");
        assert!(config(&format!("{INPUT}{plain}")).unwrap().inputs.len() == 1);
        let far = plain.replace("127.0.0.1", "192.0.2.1");
        assert!(config(&format!("{INPUT}plaintext=true\n{far}")).is_ok());
        for (text, why) in [
            (INPUT.to_owned(), "needs [input.nats]"),
            (format!("{INPUT}{far}"), "plaintext = true"),
            (format!("{INPUT}{plain}ca=\"x\"\n"), "tls://"),
            (format!("{INPUT}{}", NATS.replace("tls://b", "nats://b")), "some are not"),
            (format!("{INPUT}{}", NATS.replace("\"S\"", "\"S.x\"")), "no name"),
            (format!("{INPUT}{NATS}cert=\"x\"\n"), "belong together"),
            (format!("{INPUT}{NATS}subject=\"a.>\"\n"), "create = true"),
            (format!("{INPUT}{NATS}login=\"nkey\"\n"), "login_file"),
            (format!("{INPUT}{NATS}login=\"password\"\nlogin_file=\"x\"\n"), "`user`"),
            (format!("{INPUT}listen=\"127.0.0.1:1\"\n{NATS}"), "belongs to an input that listens"),
            (format!("[[input]]\nname=\"a\"\nlisten=\"127.0.0.1:1\"\n{NATS}"), "protocol = \"nats\""),
        ] {
            let found = config(&text).map(|_| ()).unwrap_err().to_string();
            assert!(found.contains(why), "{found}");
        }
    }
}
