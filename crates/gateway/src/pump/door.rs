//! A listening address: the ways that lead on from it, and which of them the name that a client asks for (SNI, RFC
//! 6066 section 3) leads to.
//!
//! Not reading the name, which is `pump/greet.rs`'s. Invariant: what has no way is refused, never led to another one.

use super::worker::Route;
use crate::config::{GatewayConfig, Listener, NamedRoute, Protocol, ServerNames};
use crate::error::GatewayError;
use crate::tls::{Followed, Stamp};
use countersign_wire::ja4::host_name;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// See the module's documentation.
pub(crate) struct Door {
    /// The listener's own way; what is refused is recorded under its name.
    pub(crate) own: Arc<Route>,
    /// It leads nowhere: only names do.
    only: bool,
    exact: HashMap<String, Arc<Route>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Arc<Route>>,
    /// Open connections.
    pub(crate) open: AtomicUsize,
}

impl Door {
    fn new(own: Arc<Route>, only: bool) -> Door {
        let (exact, wildcard) = Default::default();
        Door { own, only, exact, wildcard, open: AtomicUsize::new(0) }
    }

    /// There is one way, whatever the name.
    pub(crate) fn is_plain(&self) -> bool {
        !self.only && self.exact.is_empty() && self.wildcard.is_empty()
    }

    /// The way of a server name; empty = none was given.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Route>> {
        let wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wildcard).or_else(|| self.unnamed())
    }

    /// The way of callers that give no name.
    pub(crate) fn unnamed(&self) -> Option<&Arc<Route>> {
        (!self.only).then_some(&self.own)
    }

    /// The ways to PostgreSQL servers, each once for each of its names.
    fn postgres(&self) -> impl Iterator<Item = &Arc<Route>> {
        let all = self.unnamed().into_iter().chain(self.exact.values()).chain(self.wildcard.values());
        all.filter(|route| route.protocol == Protocol::Postgres)
    }

    /// Whether requests for encryption of PostgreSQL are answered.
    pub(crate) fn speaks_postgres(&self) -> bool {
        self.postgres().next().is_some()
    }

    /// The way of a PostgreSQL cancellation in clear text, which gives no name: the listener's own, or the only one
    /// there is.
    pub(crate) fn of_cancellation(&self) -> Option<&Arc<Route>> {
        if self.unnamed().is_some_and(|own| own.protocol == Protocol::Postgres) {
            return Some(&self.own);
        }
        let mut all = self.postgres();
        let first = all.next()?;
        all.all(|other| Arc::ptr_eq(first, other)).then_some(first)
    }
}

/// All listeners and named routes of `config`, in the order of their indices: listeners first.
pub(crate) fn all_routes(config: &GatewayConfig) -> Vec<&Listener> {
    let named = config.server_names.values().flat_map(|names| names.routes.iter().map(|named| &named.to));
    config.listeners.iter().chain(named).collect()
}

/// Doors in the order of the listeners, and what must be read again when files change.
///
/// # Errors
/// The first setting or file that cannot be used.
pub(crate) fn open_all(config: &GatewayConfig) -> Result<(Vec<Door>, Vec<Followed>), GatewayError> {
    for (listener, names) in &config.server_names {
        check(config, listener, names)?;
    }
    let (mut doors, mut followed) = (Vec::new(), Vec::new());
    let mut add = |index, listener: &Listener, more: &[(PathBuf, PathBuf)], pass_through| {
        let stamp = Stamp::of(listener, more);
        let route = Arc::new(Route::new(index, listener, more, pass_through)?);
        followed.push(Followed::new(listener.clone(), more.to_vec(), Arc::clone(&route), stamp));
        Ok::<_, GatewayError>(route)
    };
    for (index, listener) in config.listeners.iter().enumerate() {
        let names = config.server_names.get(&listener.name);
        let more = names.map_or(&[][..], |names| names.certificates.as_slice());
        doors.push(Door::new(add(index, listener, more, false)?, names.is_some_and(|names| names.only)));
    }
    let mut index = config.listeners.len();
    for (listener, names) in &config.server_names {
        let door = config.listeners.iter().zip(&mut doors).find(|(l, _)| l.name == *listener);
        let Some((_, door)) = door else { continue };
        for NamedRoute { names, to, certificates, pass_through } in &names.routes {
            let route = add(index, to, certificates, *pass_through)?;
            index += 1;
            for name in names {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(rest) => door.wildcard.insert(rest.to_owned(), Arc::clone(&route)),
                    None => door.exact.insert(name, Arc::clone(&route)),
                };
            }
        }
    }
    Ok((doors, followed))
}

fn check(config: &GatewayConfig, listener: &str, names: &ServerNames) -> Result<(), GatewayError> {
    let fail = |why: String| Err(GatewayError::Config { listener: listener.to_owned(), why });
    let Some(own) = config.listeners.iter().find(|l| l.name == listener) else {
        return fail("server names are given for a listener that is not there".to_owned());
    };
    if own.tls.is_none() && !names.certificates.is_empty() {
        return fail("further certificates need tls on the listener".to_owned());
    }
    if names.only && names.routes.is_empty() {
        return fail("only server names lead on, and there is no route for one".to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    for route in &names.routes {
        let to = &route.to.name;
        if route.names.is_empty() {
            return fail(format!("route {to} has no server name"));
        }
        for name in &route.names {
            let name = name.to_ascii_lowercase();
            if host_name(name.strip_prefix("*.").unwrap_or(&name).as_bytes()).is_none() {
                return fail(format!(
                    "route {to}: {name} is no server name; give a DNS name, or *. and one (one label is wild)"
                ));
            }
            if !seen.insert(name.clone()) {
                return fail(format!("the server name {name} leads two ways"));
            }
        }
        match (route.pass_through, &route.to.tls) {
            (true, Some(_)) => {
                return fail(format!("route {to}: TLS that passes through has no certificate here"));
            }
            (true, None) if route.to.protocol != Protocol::Opaque => {
                return fail(format!("route {to}: TLS that passes through is opaque; set that protocol"));
            }
            (true, None) if route.to.upstream.tls.is_some() => {
                return fail(format!(
                    "route {to}: TLS that passes through is the caller's; drop the upstream's"
                ));
            }
            (false, None) => return fail(format!("route {to} needs tls, or to let it pass through")),
            _ => {}
        }
    }
    Ok(())
}
