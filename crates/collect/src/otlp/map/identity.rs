//! Who called whom, by what an SDK says: all of it claimed.

use super::super::semconv::Sets;
use super::{Mapper, Side, SpanFacts};
use crate::draft::ip;
use countersign_event::{Endpoint, Kind, Principal, PrincipalKind, Relation, Verified};

/// The service of a span as a principal: `user:NAMESPACE/NAME`, kind service, claimed. `None` = it has no name.
pub(crate) fn service(facts: &SpanFacts, realm: &str) -> Option<Principal> {
    principal(&facts.service, &facts.namespace, &facts.instance, realm)
}

fn principal(service: &str, namespace: &str, instance: &str, realm: &str) -> Option<Principal> {
    if service.is_empty() {
        return None;
    }
    let realm = if namespace.is_empty() { realm } else { namespace };
    let mut who = Principal::new(format!("user:{realm}/{service}"), Verified::Claimed);
    who.kind = Some(PrincipalKind::Service);
    who.from = Some(countersign_event::IdentityFrom::RecordField);
    service.clone_into(&mut who.svc);
    instance.clone_into(&mut who.inst);
    Some(who)
}

/// Puts a caller's service in front: whoever is there already is the one on whose behalf it called.
pub(crate) fn called_by(event: &mut countersign_event::Event, caller: Principal) {
    if let Some(mut user) = event.who.who.replace(caller) {
        user.rel = Some(Relation::OnBehalfOf);
        event.who.obo.insert(0, user);
    }
}

impl Mapper<'_> {
    /// Both ends: addresses, services, users.
    pub(super) fn ends(&mut self) {
        self.sockets();
        self.places();
        self.user();
        self.services();
    }

    fn sockets(&mut self) {
        let (attributes, callee) = (&self.attributes, self.side == Side::Callee);
        let address = |sets| attributes.text(sets);
        let port = |sets| attributes.uint(sets).and_then(|port| u16::try_from(port).ok());
        let (mut remote, mut local) = (Endpoint::default(), Endpoint::default());
        put(&mut remote, address(Sets::PeerAddress));
        put(&mut remote, address(Sets::PeerName));
        remote.port = port(Sets::PeerPort);
        put(&mut local, address(Sets::LocalAddress));
        put(&mut local, address(Sets::LocalName));
        local.port = port(Sets::LocalPort);
        let (src, dst) = if callee { (&mut remote, &mut local) } else { (&mut local, &mut remote) };
        put(dst, address(Sets::ServerAddress));
        if let Some(port) = port(Sets::ServerPort) {
            dst.port = Some(port);
        }
        let client = address(Sets::ClientAddress);
        match (client, src.ip) {
            // Behind a proxy it is what the proxy said: a hop.
            (Some(client), Some(known)) if ip(client) != Some(known) => {
                self.draft.hop(client, Verified::Claimed)
            }
            (Some(client), _) => {
                put(src, Some(client));
                src.port = src.port.or(port(Sets::ClientPort));
            }
            _ => {}
        }
        let peer = &mut *self.draft.event.peer;
        merge(&mut peer.src, remote, local, callee, &mut peer.dst);
    }

    /// Where in a cluster the one runs that wrote the record.
    fn places(&mut self) {
        let take = |name| self.resource.take(name).unwrap_or_default().to_owned();
        let workload = take("k8s.pod.name");
        let (ns, node, zone) =
            (take("k8s.namespace.name"), take("k8s.node.name"), take("cloud.availability_zone"));
        let region = take("cloud.region");
        let event = &mut self.draft.event;
        if ![&workload, &ns, &node, &zone].iter().all(|text| text.is_empty()) {
            let own = if self.side == Side::Callee { &mut event.peer.dst } else { &mut event.peer.src };
            let own = own.get_or_insert_default();
            (own.workload, own.ns, own.node, own.zone) = (workload, ns, node, zone);
        }
        if self.side == Side::Callee {
            event.target.region = region;
        } else if !region.is_empty() {
            self.draft.said("/resource/attributes/cloud.region", &region);
        }
    }

    fn user(&mut self) {
        let attributes = &self.attributes;
        let name = attributes.text(Sets::UserName);
        let user = attributes.text(Sets::AuditActorId).or_else(|| attributes.text(Sets::UserId)).or(name);
        let Some(user) = user else { return };
        let realm = self.resource.text_of("service.namespace").unwrap_or(self.realm);
        let kind = match attributes.text(Sets::AuditActorType) {
            Some("service") => PrincipalKind::Service,
            Some("system") => PrincipalKind::System,
            _ => PrincipalKind::User,
        };
        // An id that is a canonical one already stays as it is.
        let canonical =
            ["spiffe://", "arn:", "user:", "key:", "k8s-sa:", "jwt:"].iter().any(|p| user.starts_with(p));
        let id = if canonical { user.to_owned() } else { format!("user:{realm}/{user}") };
        let groups = attributes.texts(Sets::Roles).into_iter().map(str::to_owned).collect();
        let who = self.draft.who(id, kind, Verified::Claimed);
        name.unwrap_or(user).clone_into(&mut who.name);
        who.groups = groups;
    }

    fn services(&mut self) {
        let take = |name| self.resource.take(name).unwrap_or_default();
        let own = (take("service.name"), take("service.namespace"), take("service.instance.id"));
        let peer = self.attributes.text(Sets::PeerService).unwrap_or_default();
        let event = &mut self.draft.event;
        if self.side == Side::Callee {
            own.0.clone_into(&mut event.target.svc);
            if !own.2.is_empty() {
                self.draft.said("/resource/attributes/service.instance.id", own.2);
            }
            if !own.1.is_empty() {
                self.draft.said("/resource/attributes/service.namespace", own.1);
            }
            if let Some(caller) = principal(peer, "", "", self.realm) {
                called_by(&mut self.draft.event, caller);
            }
            return;
        }
        if !peer.is_empty() {
            peer.clone_into(&mut event.target.svc);
        }
        if let Some(caller) = principal(own.0, own.1, own.2, self.realm) {
            called_by(event, caller);
        }
        self.database_user();
    }

    fn database_user(&mut self) {
        let event = &mut self.draft.event;
        if !matches!(event.core.kind, Some(Kind::Sql | Kind::Kv | Kind::Doc)) {
            return;
        }
        let Some(user) = self.attributes.text(Sets::DbUser) else { return };
        let server = event.peer.dst.as_ref().map(|dst| match dst.ip {
            Some(ip) if dst.host.is_empty() => ip.to_string(),
            _ => dst.host.clone(),
        });
        let id = format!(
            "db:{user}@{}",
            server.filter(|server| !server.is_empty()).unwrap_or(self.realm.to_owned())
        );
        let mut login = Principal::new(id, Verified::Claimed);
        login.kind = Some(PrincipalKind::User);
        login.from = Some(countersign_event::IdentityFrom::RecordField);
        user.clone_into(&mut login.name);
        match event.who.who {
            Some(_) => event.who.also.push(login),
            None => event.who.who = Some(login),
        }
    }
}

/// An address goes to the address, any other text to the host.
fn put(end: &mut Endpoint, text: Option<&str>) {
    let Some(text) = text else { return };
    match ip(text) {
        Some(ip) => end.ip = end.ip.or(Some(ip)),
        None => text.clone_into(&mut end.host),
    }
}

/// The ends as found, beside what a URL said already.
fn merge(
    src: &mut Option<Endpoint>,
    remote: Endpoint,
    local: Endpoint,
    callee: bool,
    dst: &mut Option<Endpoint>,
) {
    let (caller, called) = if callee { (remote, local) } else { (local, remote) };
    for (end, found) in [(src, caller), (dst, called)] {
        if found == Endpoint::default() {
            continue;
        }
        let end = end.get_or_insert_default();
        end.ip = found.ip.or(end.ip);
        end.port = found.port.or(end.port);
        if !found.host.is_empty() {
            end.host = found.host;
        }
    }
}
