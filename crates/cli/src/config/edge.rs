//! An edge that ships to a core, and the edges that a core lets send: from declared keys to types.

use super::listener::UpstreamTls;
use super::{ConfigError, Reader};
use countersign_collect::receivers::Enrolled;
use countersign_collect::ship::link::Core;
use countersign_collect::ship::trim::KEEP;
use countersign_wire::ingest::is_name;
use std::time::Duration;

/// Where an edge ships to, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    /// Its name: its records' agents begin with `edge:NAME/`.
    pub(crate) name: String,
    /// Where the core listens.
    pub(crate) core: Core,
    /// Our certificate and the core's authorities.
    pub(crate) tls: UpstreamTls,
    /// Longest pause between two attempts.
    pub(crate) retry_max: Duration,
    /// Bytes of write-ahead log that stay although the core has them.
    pub(crate) keep: u64,
}

impl Reader<'_> {
    /// `[edge]`.
    pub(super) fn edge(&self) -> Result<Option<Edge>, ConfigError> {
        if !self.settings.has_table("edge") {
            return Ok(None);
        }
        let conflict = |key: &str, what: String| Err(self.settings.conflict(key, what));
        let name = self.need("edge", "name");
        if !is_name(&name) {
            return conflict("edge.name", bad_name(&name));
        }
        let core = match self.need("edge", "core").parse() {
            Ok(core) => core,
            Err(why) => return conflict("edge.core", why),
        };
        let tls = UpstreamTls {
            ca: self.path("edge.ca"),
            name: String::new(),
            identity: self.pair("edge", ["cert", "key"])?.map(|[cert, key]| (cert, key)),
            workload: self.workload("edge", ["svid", "bundles"])?,
            ids: self.texts("edge.core_ids", &[]),
        };
        if tls.identity.is_some() == tls.workload.svid.is_some() {
            let what = "a core knows an edge by its certificate: give either `cert` and `key`, or `svid`";
            return conflict("edge", what.to_owned());
        }
        if tls.ca.is_some() == tls.workload.bundles {
            let what =
                "give either `ca`, the authorities that the core's certificate must come from, or `bundles`";
            return conflict("edge", what.to_owned());
        }
        if tls.workload.bundles && tls.ids.is_empty() {
            let what = "with `bundles` the core is known by its id: give `core_ids`";
            return conflict("edge", what.to_owned());
        }
        let retry_max = self.span("edge.retry_max", 30_000);
        let keep = self.number("edge.keep", KEEP);
        Ok(Some(Edge { name, core, tls, retry_max, keep }))
    }

    /// `[[input.edge]]` of one input.
    pub(super) fn enrolled(&self, at: &str) -> Result<Vec<Enrolled>, ConfigError> {
        let edges = self.each(&format!("{at}.edge"), |at| {
            let (name, identity) = (self.need(at, "name"), self.need(at, "identity"));
            if !is_name(&name) {
                return Err(self.settings.conflict(&format!("{at}.name"), bad_name(&name)));
            }
            Ok(Enrolled { name, identity, agents: self.texts(&format!("{at}.agents"), &[]) })
        })?;
        for (i, edge) in edges.iter().enumerate() {
            if edges.iter().take(i).any(|other| other.name == edge.name || other.identity == edge.identity) {
                let what = format!(
                    "edge `{}` repeats the name or the identity of another; give each its own",
                    edge.name
                );
                return Err(self.settings.conflict(&format!("{at}.edge"), what));
            }
        }
        Ok(edges)
    }
}

fn bad_name(name: &str) -> String {
    format!("`{name}` is no name for an edge: 1 to 64 letters, digits, `.`, `-` and `_`")
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;

    const EDGE: &str = "[edge]\nname=\"eu-1\"\ncore=\"https://core:1\"\n";
    const INPUT: &str = "[[input]]\nname=\"e\"\nlisten=\"127.0.0.1:1\"\nprotocol=\"edge\"\n";
    const TLS: &str = "[input.tls]\ncert=\"c\"\nkey=\"k\"\nclient_ca=\"a\"\n";
    const ONE: &str = "[[input.edge]]\nname=\"eu-1\"\nidentity=\"spiffe://example.org/eu-1\"\n";

    #[test]
    fn an_edge_has_a_name_a_core_a_certificate_and_authorities() {
        let files = "ca=\"a\"\ncert=\"c\"\nkey=\"k\"\n";
        let read = config(&format!("role=\"edge\"\n{EDGE}{files}")).unwrap();
        assert_eq!(read.edge.as_ref().unwrap().core.to_string(), "https://core:1");
        assert_eq!(read.agent("input:a"), "edge:eu-1/input:a");
        assert_eq!(config(&format!("{EDGE}{files}")).unwrap().agent("input:a"), "input:a", "another role");
        for (text, why) in [
            (EDGE.replace("eu-1", "eu 1") + files, "no name"),
            (EDGE.replace("https", "http") + files, "TLS alone"),
            (format!("{EDGE}ca=\"a\"\ncert=\"c\"\n"), "belong together"),
            (format!("{EDGE}ca=\"a\"\n"), "by its certificate"),
            (format!("{EDGE}cert=\"c\"\nkey=\"k\"\n"), "either `ca`"),
            (format!("{EDGE}svid=\"first\"\nca=\"a\"\n"), "no agent to ask"),
            ("[edge]\nname=\"a\"\n".to_owned(), "core"),
        ] {
            let found = config(&text).unwrap_err().to_string();
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn an_input_for_edges_demands_certificates_and_names_who_may_send() {
        let inputs = config(&format!("{INPUT}{TLS}{ONE}")).unwrap().inputs;
        assert_eq!((inputs[0].edges[0].name.as_str(), inputs[0].edges.len()), ("eu-1", 1));
        assert_eq!(inputs[0].tls.as_ref().unwrap().client_auth, "required");
        for (text, why) in [
            (format!("{INPUT}{ONE}"), "client_ca"),
            (format!("{INPUT}{}{ONE}", TLS.replace("client_ca=\"a\"\n", "")), "client_ca"),
            (format!("{INPUT}{TLS}"), "[[input.edge]]"),
            (format!("{INPUT}{TLS}{ONE}{ONE}"), "repeats"),
            (format!("{}{TLS}{ONE}", INPUT.replace("protocol=\"edge\"", "protocol=\"http\"")), "protocol"),
        ] {
            let found = config(&text).unwrap_err().to_string();
            assert!(found.contains(why), "{found}");
        }
    }
}
