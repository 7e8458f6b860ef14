//! TLS of listeners and towards upstreams: from declared keys to types. What comes from the Workload API needs one.

use super::listener::{FromWorkload, ListenerTls, UpstreamTls};
use super::{ConfigError, Reader};
use std::path::PathBuf;

impl Reader<'_> {
    /// `wanted` = the upstream's URL asks for TLS.
    pub(super) fn upstream_tls(&self, at: &str, wanted: bool) -> Result<UpstreamTls, ConfigError> {
        let identity = self.pair(at, ["upstream_cert", "upstream_key"])?.map(|[cert, key]| (cert, key));
        let tls = UpstreamTls {
            ca: self.path(&format!("{at}.upstream_ca")),
            name: self.text(&format!("{at}.upstream_name")).unwrap_or_default(),
            identity,
            workload: self.workload(at, ["upstream_svid", "upstream_bundles"])?,
            ids: self.texts(&format!("{at}.upstream_ids"), &[]),
        };
        let conflict = |what: &str| Err(self.settings.conflict(&format!("{at}.upstream"), what));
        match (wanted, tls.ca.is_some(), tls.workload.bundles) {
            (true, false, false) => conflict(
                "an upstream with TLS needs `upstream_ca`, the authorities its certificate must come from, or \
                 `upstream_bundles`",
            ),
            (_, true, true) => conflict("of `upstream_ca` and `upstream_bundles` only one can be given"),
            _ if tls.identity.is_some() && tls.workload.svid.is_some() => {
                conflict("of `upstream_cert` and `upstream_svid` only one can be given")
            }
            // An SVID of a workload has its id, and mostly no name.
            (_, _, true) if tls.ids.is_empty() => {
                conflict("with `upstream_bundles` the upstream is known by its id: give `upstream_ids`")
            }
            _ => Ok(tls),
        }
    }

    pub(super) fn listener_tls(&self, at: &str) -> Result<Option<ListenerTls>, ConfigError> {
        let table = format!("{at}.tls");
        if !self.settings.has_table(&table) {
            return Ok(None);
        }
        let own = self.pair(&table, ["cert", "key"])?;
        let workload = self.workload(&table, ["svid", "client_bundles"])?;
        let more = self.each(&format!("{table}.certificate"), |at| {
            Ok((self.resolve(self.need(at, "cert")), self.resolve(self.need(at, "key"))))
        })?;
        let conflict = |what: &str| Err(self.settings.conflict(&table, what));
        if own.is_some() == workload.svid.is_some() {
            return conflict("callers see either `cert` and `key`, or `svid`: give one of the two");
        }
        if !more.is_empty() && workload.svid.is_some() {
            return conflict("[[listener.tls.certificate]] stands beside `cert`, not beside `svid`");
        }
        let [cert, key] = own.unwrap_or_default();
        let client_auth = self.text(&format!("{table}.client_auth")).unwrap_or_else(|| "optional".into());
        let tls = ListenerTls {
            cert,
            key,
            more,
            workload,
            client_ca: self.path(&format!("{table}.client_ca")),
            client_auth,
        };
        let authorities = (tls.client_ca.is_some(), tls.workload.bundles);
        match (tls.client_auth.as_str(), authorities) {
            ("required", (false, false)) => conflict(
                "`client_auth = \"required\"` needs `client_ca`, the authorities of the callers, or `client_bundles`",
            ),
            (_, (true, true)) => conflict("of `client_ca` and `client_bundles` only one can be given"),
            _ => Ok(Some(tls)),
        }
    }

    /// Two paths that belong together.
    pub(super) fn pair(&self, at: &str, names: [&str; 2]) -> Result<Option<[PathBuf; 2]>, ConfigError> {
        match names.map(|name| self.path(&format!("{at}.{name}"))) {
            [Some(cert), Some(key)] => Ok(Some([cert, key])),
            [None, None] => Ok(None),
            _ => {
                let [cert, key] = names;
                Err(self.settings.conflict(at, format!("`{cert}` and `{key}` belong together: give both")))
            }
        }
    }

    pub(super) fn workload(&self, at: &str, names: [&str; 2]) -> Result<FromWorkload, ConfigError> {
        let [svid, bundles] = names.map(|name| format!("{at}.{name}"));
        let from = FromWorkload { svid: self.text(&svid), bundles: self.on(&bundles) };
        if (from.svid.is_some() || from.bundles) && self.settings.get("identity.workload_api").is_none() {
            let what = "there is no agent to ask: name its endpoint with `identity.workload_api`";
            return Err(self.settings.conflict(at, what));
        }
        if let Some(id) = from.svid.as_deref().filter(|id| *id != "first" && !id.starts_with("spiffe://")) {
            let what = format!("`{id}` is no SVID: write its id, spiffe://DOMAIN/PATH, or first");
            return Err(self.settings.conflict(&svid, what));
        }
        Ok(from)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use std::path::PathBuf;

    const LISTENER: &str = "[[listener]]\nname=\"a\"\nlisten=\"127.0.0.1:1\"\n";
    const AGENT: &str = "[identity]\nworkload_api=\"unix:///run/agent.sock\"\n";

    #[test]
    fn svids_and_bundles_take_the_place_of_files() {
        let text = format!(
            "{AGENT}{LISTENER}upstream=\"https://h\"\nupstream_svid=\"first\"\nupstream_bundles=true\n\
             upstream_ids=[\"spiffe://example.org/orders\", \"spiffe://other.org\"]\n[listener.tls]\n\
             svid=\"spiffe://example.org/gw\"\nclient_bundles=true\nclient_auth=\"required\"\n"
        );
        let listener = config(&text).unwrap().listeners.remove(0);
        let tls = listener.tls.unwrap();
        assert_eq!(
            (tls.workload.svid.as_deref(), tls.workload.bundles),
            (Some("spiffe://example.org/gw"), true)
        );
        assert_eq!(listener.upstream_tls.workload.svid.as_deref(), Some("first"));
        assert_eq!(listener.upstream_tls.ids.len(), 2);
    }

    #[test]
    fn a_listener_may_have_several_certificates() {
        let text = format!(
            "{LISTENER}upstream=\"http://h\"\n[listener.tls]\ncert=\"a.pem\"\nkey=\"a.key\"\n\
             [[listener.tls.certificate]]\ncert=\"b.pem\"\nkey=\"b.key\"\n"
        );
        let tls = config(&text).unwrap().listeners.remove(0).tls.unwrap();
        let at = |name: &str| PathBuf::from("/etc/countersign").join(name);
        assert_eq!(tls.more, [(at("b.pem"), at("b.key"))]);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (text, why) in [
            (format!("{LISTENER}upstream=\"http://h\"\n[listener.tls]\nsvid=\"first\"\n"), "no agent to ask"),
            (format!("{AGENT}{LISTENER}upstream=\"http://h\"\n[listener.tls]\nsvid=\"gw\"\n"), "is no SVID"),
            (format!("{LISTENER}upstream=\"http://h\"\n[listener.tls]\ncert=\"c\"\n"), "belong together"),
            (format!("{LISTENER}upstream=\"http://h\"\n[listener.tls]\nclient_ca=\"c\"\n"), "either `cert`"),
            (
                format!("{AGENT}{LISTENER}upstream=\"https://h\"\nupstream_bundles=true\n"),
                "give `upstream_ids`",
            ),
            (
                format!("{LISTENER}upstream=\"http://h\"\n[listener.grpc]\nfields=[\"a\"]\n"),
                "belong together",
            ),
        ] {
            let found = config(&text).unwrap_err().to_string();
            assert!(found.contains(why), "{found}");
        }
    }
}
