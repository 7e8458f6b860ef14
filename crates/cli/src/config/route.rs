//! Ways through a listener that are chosen by server name: the listener, with what is different on each.

use super::listener::{Listener, NamedRoute, Upstream, UpstreamTls};
use super::{ConfigError, Reader};

impl Reader<'_> {
    pub(super) fn route(&self, at: &str, of: &Listener) -> Result<NamedRoute, ConfigError> {
        let conflict = |what: String| self.settings.conflict(at, what);
        let upstream = Upstream::parse(&self.need(at, "upstream")).map_err(conflict)?;
        let pass_through = self.on(&format!("{at}.pass_through"));
        let word =
            |name: &str, other: &str| self.text(&format!("{at}.{name}")).unwrap_or_else(|| other.to_owned());
        let protocol = word("protocol", if pass_through { "opaque" } else { upstream.scheme.protocol() });
        if !upstream.scheme.speaks(&protocol) {
            return Err(conflict(format!(
                "an upstream {upstream} does not speak `protocol = \"{protocol}\"`"
            )));
        }
        if pass_through && (protocol != "opaque" || upstream.tls) {
            let what =
                "TLS that passes through is opaque, and its upstream is written tcp://HOST:PORT or http://";
            return Err(conflict(what.to_owned()));
        }
        let mut tls = of.tls.clone().filter(|_| !pass_through);
        if !pass_through && tls.is_none() {
            return Err(conflict(
                "a way by server name needs [listener.tls], or `pass_through = true`".to_owned(),
            ));
        }
        if let (Some(tls), Some([cert, key])) = (&mut tls, self.pair(at, ["cert", "key"])?) {
            (tls.cert, tls.key, tls.workload.svid) = (cert, key, None);
        }
        if let Some(tls) = &mut tls {
            tls.more.clear();
        }
        let ca = self.path(&format!("{at}.upstream_ca"));
        if upstream.tls && ca.is_none() {
            return Err(conflict("an upstream with TLS needs `upstream_ca`".to_owned()));
        }
        let to = Listener {
            name: self.need(at, "name"),
            service: word("service", &upstream.authority()),
            durability: word("durability", &of.durability),
            record: word("record", &of.record),
            policy: self.mode(at, of.policy)?,
            upstream_tls: UpstreamTls { ca, name: word("upstream_name", ""), ..UpstreamTls::default() },
            protocol,
            tls,
            upstream,
            ..of.clone()
        };
        Ok(NamedRoute { names: self.texts(&format!("{at}.names"), &[]), pass_through, to })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;

    const LISTENER: &str = "[[listener]]\nname=\"a\"\nlisten=\"127.0.0.1:1\"\nupstream=\"http://h\"\ndurability=\"strict\"\n\
                            [listener.tls]\ncert=\"c\"\nkey=\"k\"\n";

    #[test]
    fn a_way_is_the_listener_with_what_is_different() {
        let text = format!(
            "{LISTENER}[[listener.route]]\nname=\"b\"\nnames=[\"b.example.org\"]\nupstream=\"redis://r\"\n\
             cert=\"b.pem\"\nkey=\"b.key\"\n[[listener.route]]\nname=\"c\"\nnames=[\"*.c.org\"]\n\
             upstream=\"tcp://c:443\"\npass_through=true\n"
        );
        let listener = config(&text).unwrap().listeners.remove(0);
        let [b, c] = listener.routes.as_slice() else { panic!("two ways") };
        assert_eq!(
            (b.to.name.as_str(), b.to.protocol.as_str(), b.to.durability.as_str()),
            ("b", "redis", "strict")
        );
        assert!(b.to.tls.as_ref().unwrap().cert.ends_with("b.pem"));
        assert!(c.pass_through && c.to.tls.is_none() && c.to.protocol == "opaque");
    }

    #[test]
    fn what_cannot_be_a_way_is_refused() {
        let way = "[[listener.route]]\nname=\"b\"\nnames=[\"b\"]\n";
        for (text, why) in [
            (format!("{LISTENER}{way}upstream=\"https://h\"\n"), "upstream_ca"),
            (format!("{LISTENER}{way}upstream=\"redis://h\"\nprotocol=\"postgres\"\n"), "does not speak"),
            (
                format!("{LISTENER}{way}upstream=\"http://h\"\nprotocol=\"http1\"\npass_through=true\n"),
                "opaque",
            ),
            (
                format!("{LISTENER}[[listener.route]]\nname=\"a\"\nnames=[\"b\"]\nupstream=\"http://h\"\n"),
                "repeats",
            ),
        ] {
            let found = config(&text).unwrap_err().to_string();
            assert!(found.contains(why), "{found}");
        }
    }
}
