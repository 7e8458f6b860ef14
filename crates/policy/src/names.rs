//! How callers, actions and resources are called in policies: entity types and ids.
//!
//! Not Cedar's own objects: those are made only where a policy's condition has to be evaluated. One place
//! says how a request becomes ids, so that index, evaluation and learned policies cannot differ.

use crate::Request;
use cedar_policy::{EntityId, EntityTypeName, EntityUid};
use countersign_event::{Class, PrincipalKind, Verified};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;

/// Operation classes, as in `Action::"class:read"` and `context.class`.
pub const CLASSES: [&str; 11] = [
    "read",
    "create",
    "modify",
    "delete",
    "execute",
    "admin",
    "authenticate",
    "connect",
    "schema",
    "meta",
    "unknown",
];
/// Protocols that policies may name, without version: `Action::"http:GET"`, `Action::"protocol:http"`.
pub const PROTOCOLS: [&str; 21] = [
    "http",
    "grpc",
    "websocket",
    "sse",
    "postgresql",
    "redis",
    "mcp",
    "jsonrpc",
    "mysql",
    "mqtt",
    "amqp",
    "kafka",
    "nats",
    "mongodb",
    "dns",
    "ldap",
    "memcached",
    "ssh",
    "tls",
    "tcp",
    "opaque",
];

macro_rules! types {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// The entity types of the schema.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Type { $($variant),+ }
        impl Type {
            pub(crate) const ALL: &'static [Type] = &[$(Type::$variant),+];
            pub(crate) fn name(self) -> &'static str {
                match self { $(Type::$variant => $name),+ }
            }
            pub(crate) fn from_name(name: &str) -> Option<Type> {
                match name { $($name => Some(Type::$variant),)+ _ => None }
            }
        }
    };
}
types! {
    Service = "Countersign::Service", Workload = "Countersign::Workload", User = "Countersign::User",
    Device = "Countersign::Device", Node = "Countersign::Node", AiAgent = "Countersign::AiAgent",
    Role = "Countersign::Role", System = "Countersign::System", Anonymous = "Countersign::Anonymous",
    Unknown = "Countersign::Unknown", Claimed = "Countersign::Claimed", Group = "Countersign::Group", Target = "Countersign::Target",
    Resource = "Countersign::Resource", Action = "Action",
}

impl Type {
    /// The types that callers have.
    pub(crate) const CALLERS: [Type; 11] = [
        Type::Service,
        Type::Workload,
        Type::User,
        Type::Device,
        Type::Node,
        Type::AiAgent,
        Type::Role,
        Type::System,
        Type::Anonymous,
        Type::Unknown,
        Type::Claimed,
    ];

    pub(crate) fn of_kind(kind: Option<PrincipalKind>) -> Type {
        match kind {
            Some(PrincipalKind::Service) => Type::Service,
            Some(PrincipalKind::Workload) => Type::Workload,
            Some(PrincipalKind::User) => Type::User,
            Some(PrincipalKind::Device) => Type::Device,
            Some(PrincipalKind::Node) => Type::Node,
            Some(PrincipalKind::AiAgent) => Type::AiAgent,
            Some(PrincipalKind::Role) => Type::Role,
            Some(PrincipalKind::System) => Type::System,
            Some(PrincipalKind::Anonymous) => Type::Anonymous,
            Some(PrincipalKind::Other(_)) | None => Type::Unknown,
        }
    }
}

/// Id of the caller whom nobody identified.
pub(crate) const NOBODY: &str = "anon:";

/// Type and id of the caller.
///
/// A failed or missing proof leaves an identity that anyone could have written (level 1), with the id that
/// was claimed. It must not match a rule for the real holder of that id, so it has a type of its own.
pub(crate) fn caller<'a>(request: &Request<'a>) -> (Type, &'a str) {
    match request.principal {
        Some(principal) if principal.verified.code() <= Verified::Claimed.code() => {
            (Type::Claimed, &principal.id)
        }
        Some(principal) => (Type::of_kind(principal.kind), &principal.id),
        None => (Type::Anonymous, NOBODY),
    }
}

/// A protocol without its version: `http` of `http/1.1`. A rule for HTTP must not be passed by speaking HTTP/2.
pub(crate) fn family(protocol: &str) -> &str {
    protocol.split_once('/').map_or(protocol, |(family, _)| family)
}

/// The word of a class.
pub(crate) fn class_word(class: Option<Class>) -> &'static str {
    match class {
        Some(Class::Other(_)) | None => "unknown",
        Some(class) => class.word(),
    }
}

/// Id of an action: `http:GET`.
pub(crate) fn action(protocol: &str, operation: &str) -> String {
    join(family(protocol), ':', operation)
}

/// Id of a resource: service, slash, template without a leading slash. A slash in the service's name is
/// written `%2F`, so the first slash always ends it.
pub(crate) fn resource(service: &str, template: &str) -> String {
    let template = template.strip_prefix('/').unwrap_or(template);
    if service.contains(['/', '%']) {
        return join(&service.replace('%', "%25").replace('/', "%2F"), '/', template);
    }
    join(service, '/', template)
}

/// Not `format!`: this is done for every call.
fn join(a: &str, between: char, b: &str) -> String {
    let mut out = String::with_capacity(a.len() + b.len() + 1);
    out.push_str(a);
    out.push(between);
    out.push_str(b);
    out
}

/// Cedar's name of a type and id.
pub(crate) fn uid(names: &TypeNames, ty: Type, id: &str) -> Option<EntityUid> {
    let name = names.0.get(ty as usize)?.clone();
    Some(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}

/// Type and id of Cedar's name; `None` when the schema has no such type.
pub(crate) fn of_uid(uid: &EntityUid) -> Option<(Type, &str)> {
    Some((Type::from_name(&uid.type_name().to_string())?, uid.id().unescaped()))
}

/// The parsed names of all types, in their order.
#[derive(Clone, Debug)]
pub(crate) struct TypeNames(Vec<EntityTypeName>);

impl TypeNames {
    pub(crate) fn new() -> Option<TypeNames> {
        let names = Type::ALL.iter().map(|t| EntityTypeName::from_str(t.name()).ok());
        Some(TypeNames(names.collect::<Option<Vec<_>>>()?))
    }
}

/// FNV-1a: for maps whose keys stand in the operator's files. A caller can look up what he likes, but not put
/// anything in, so he cannot make its lists long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// See [`Fnv`].
pub(crate) type Fast = BuildHasherDefault<Fnv>;
/// Numbers by name.
type Found = HashMap<Box<str>, u32, Fast>;

/// Numbers for the ids that policies or entities name; all other ids are of no interest.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    by_type: Vec<Found>,
    uids: Vec<EntityUid>,
}

impl Numbers {
    pub(crate) fn get(&self, ty: Type, id: &str) -> Option<u32> {
        self.by_type.get(ty as usize)?.get(id).copied()
    }

    pub(crate) fn uid(&self, number: u32) -> Option<&EntityUid> {
        self.uids.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn uids(&self) -> impl Iterator<Item = &EntityUid> {
        self.uids.iter()
    }

    /// The number of an id, a new one if need be; `None` if there are 2³² already.
    pub(crate) fn of(&mut self, names: &TypeNames, ty: Type, id: &str) -> Option<u32> {
        if let Some(known) = self.get(ty, id) {
            return Some(known);
        }
        let number = u32::try_from(self.uids.len()).ok()?;
        self.uids.push(uid(names, ty, id)?);
        if self.by_type.is_empty() {
            self.by_type.resize_with(Type::ALL.len(), Found::default);
        }
        self.by_type.get_mut(ty as usize)?.insert(id.into(), number);
        Some(number)
    }
}

/// The numbers of actions, to be found without spelling their ids out for each call.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    classes: Vec<(&'static str, u32)>,
    protocols: Found,
    /// By protocol without its version, then by operation.
    operations: HashMap<Box<str>, Found, Fast>,
}

impl Actions {
    /// All that are numbered now.
    pub(crate) fn new(numbers: &Numbers) -> Actions {
        let mut actions = Actions::default();
        for (id, number) in numbers.by_type.get(Type::Action as usize).into_iter().flatten() {
            let Some((head, tail)) = id.split_once(':') else { continue };
            if head == "class" {
                actions.classes.extend(CLASSES.iter().find(|class| **class == tail).map(|c| (*c, *number)));
            }
            if head == "protocol" {
                actions.protocols.insert(tail.into(), *number);
            }
            actions.operations.entry(head.into()).or_default().insert(tail.into(), *number);
        }
        actions
    }

    pub(crate) fn class(&self, class: Option<Class>) -> Option<u32> {
        let word = class_word(class);
        self.classes.iter().find(|(class, _)| *class == word).map(|(_, number)| *number)
    }

    /// `protocol` with its version or without.
    pub(crate) fn protocol(&self, protocol: &str) -> Option<u32> {
        self.protocols.get(protocol).copied()
    }

    /// The number of `protocol:operation`.
    pub(crate) fn operation(&self, numbers: &Numbers, protocol: &str, operation: &str) -> Option<u32> {
        let family = family(protocol);
        // Here the first colon of the id is not the one in the middle.
        if family.contains(':') {
            return numbers.get(Type::Action, &action(protocol, operation));
        }
        self.operations.get(family)?.get(operation).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_in_the_order_of_their_names() {
        assert!(Type::ALL.iter().enumerate().all(|(n, t)| *t as usize == n));
        assert!(Type::ALL.iter().all(|t| Type::from_name(t.name()) == Some(*t)));
        assert!(TypeNames::new().is_some());
    }

    #[test]
    fn a_resource_of_one_service_is_never_one_of_another() {
        assert_eq!(resource("orders", "/orders/{id}"), "orders/orders/{id}");
        assert_eq!(resource("shop", "public.payments"), "shop/public.payments");
        assert_eq!(resource("a/b", "/c"), "a%2Fb/c");
        assert_ne!(resource("a/b", "/c"), resource("a", "/b/c"));
        assert_ne!(resource("a%2Fb", "/c"), resource("a/b", "/c"));
    }

    #[test]
    fn a_version_of_a_protocol_is_no_way_around_a_policy() {
        assert_eq!(action("http/1.1", "DELETE"), action("http/2", "DELETE"));
        assert_eq!(action("mcp/2025-11-25", "tools/call"), "mcp:tools/call");
    }
}
