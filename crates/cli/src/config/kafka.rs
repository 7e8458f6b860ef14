//! An input that fetches from Kafka: from declared keys to types.

use super::nats::NatsTls;
use super::{ConfigError, Reader};
use countersign_collect::consumers::kafka::{Broker, Sasl, is_topic};

/// What is fetched, from where, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kafka {
    /// Some brokers of the cluster.
    pub(crate) brokers: Vec<Broker>,
    /// TLS towards them; `None` = plain text.
    pub(crate) tls: Option<NatsTls>,
    /// Who we are.
    pub(crate) sasl: Sasl,
    /// Names of topics.
    pub(crate) topics: Vec<String>,
    /// Group under which offsets are committed.
    pub(crate) group: String,
}

impl Reader<'_> {
    /// `[input.kafka]` of the input at `at`.
    pub(super) fn kafka(&self, at: &str) -> Result<Kafka, ConfigError> {
        let table = format!("{at}.kafka");
        let refuse = |key: &str, what: String| Err(self.settings.conflict(&format!("{table}.{key}"), what));
        if !self.settings.has_table(&table) {
            let what = "`protocol = \"kafka\"` needs [input.kafka] with `brokers`, `topics` and `group`";
            return Err(self.settings.conflict(at, what));
        }
        let mut brokers: Vec<Broker> = Vec::new();
        for text in self.texts(&format!("{table}.brokers"), &[]) {
            match text.parse() {
                Ok(broker) => brokers.push(broker),
                Err(why) => return refuse("brokers", why),
            }
        }
        if brokers.is_empty() {
            return refuse("brokers", "give at least one broker, as HOST:PORT".to_owned());
        }
        let secure = self.on(&format!("{table}.tls"));
        let ca = self.path(&format!("{table}.ca"));
        let identity = self.pair(&table, ["cert", "key"])?.map(|[cert, key]| (cert, key));
        if !secure && (ca.is_some() || identity.is_some()) {
            return refuse("tls", "`ca`, `cert` and `key` are for TLS: say `tls = true`".to_owned());
        }
        let far = brokers.iter().find(|broker| !secure && !broker.is_loopback());
        if let Some(broker) = far.filter(|_| !self.on(&format!("{at}.plaintext"))) {
            return refuse(
                "brokers",
                format!(
                    "{broker} is off loopback and without TLS: everybody on the way could read and change what is \
                     fetched; say `tls = true`, or `plaintext = true`"
                ),
            );
        }
        let topics = self.texts(&format!("{table}.topics"), &[]);
        if let Some(topic) = topics.iter().find(|topic| !is_topic(topic)) {
            return refuse("topics", format!("`{topic}` is no name of a topic"));
        }
        if topics.is_empty() {
            return refuse("topics", "give at least one topic".to_owned());
        }
        let group = self.need(&table, "group");
        let sasl = self.kafka_login(&table)?;
        let tls = secure.then_some(NatsTls { ca, identity });
        Ok(Kafka { brokers, tls, sasl, topics, group })
    }

    fn kafka_login(&self, table: &str) -> Result<Sasl, ConfigError> {
        let word = self.text(&format!("{table}.login")).unwrap_or_else(|| "none".to_owned());
        let file = self.path(&format!("{table}.login_file"));
        match (word.as_str(), self.text(&format!("{table}.user")), file) {
            ("none", None, None) => Ok(Sasl::None),
            ("plain", Some(user), Some(file)) => Ok(Sasl::Plain(user, file)),
            ("scram-sha-256", Some(user), Some(file)) => Ok(Sasl::Scram(user, file)),
            _ => {
                let what = "`login`, `user` and `login_file` belong together: the mechanism, who, and the file that \
                            holds the password";
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

    const INPUT: &str = "[[input]]\nname=\"a\"\nprotocol=\"kafka\"\n";
    const KAFKA: &str = "[input.kafka]\nbrokers=[\"a:1\"]\ntopics=[\"t\"]\ngroup=\"g\"\n";

    #[test]
    fn an_input_fetches_topics_for_a_group_and_what_cannot_work_is_refused() {
        let login = "tls=true\nlogin=\"scram-sha-256\"\nuser=\"u\"\nlogin_file=\"p\"\n";
        let inputs = config(&format!("{INPUT}{KAFKA}{login}")).unwrap().inputs;
        let Protocol::Kafka(kafka) = &inputs[0].protocol else { panic!("kafka") };
        assert!(matches!(&kafka.sasl, Sasl::Scram(user, _) if user == "u") && kafka.tls.is_some());
        for (text, why) in [
            (INPUT.to_owned(), "needs [input.kafka]"),
            (format!("{INPUT}{KAFKA}"), "plaintext = true"),
            (format!("{INPUT}{KAFKA}ca=\"x\"\n"), "tls = true"),
            (format!("{INPUT}{}tls=true\n", KAFKA.replace("\"t\"", "\"t/x\"")), "no name"),
            (format!("{INPUT}{KAFKA}tls=true\nlogin=\"plain\"\n"), "belong together"),
        ] {
            let found = config(&text).map(|_| ()).unwrap_err().to_string();
            assert!(found.contains(why), "{found}");
        }
    }
}
