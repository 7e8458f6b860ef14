//! Paths of requests: cleaned for the record, and reduced to templates so that calls of one kind group.
//!
//! Templates are partly told by the look of a segment (numbers, UUIDs, hex, long texts), partly learned: a
//! place where many different names were seen holds ids. Only calls that succeeded teach, so a scanner's
//! guesses do not. Bounded: [`NODES_MAX`] places, [`CHILDREN_MAX`] names at each.

use super::redact::{REDACTED, cut_at, looks_secret};
use std::collections::HashMap;

/// Places in the learned tree, all routes together.
const NODES_MAX: usize = 8_192;
/// Different names at one place before further ones count as ids.
const CHILDREN_MAX: usize = 64;
/// A longer segment counts as an id.
const NAME_MAX: usize = 40;
/// Segments that are looked at; the rest of a deeper path counts as one id.
const DEPTH_MAX: usize = 32;
/// Bound of `target.raw` and `target.res`, bytes (event schema 1).
pub(crate) const RAW_MAX: usize = 4_096;
const RES_MAX: usize = 1_024;
const ID_MAX: usize = 256;

/// Stands in a template where ids stand.
const ID: &str = "{id}";

/// A path as it may be kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cleaned {
    pub(crate) raw: String,
    pub(crate) redacted: u64,
    /// Original length, when it was cut.
    pub(crate) cut: Option<u64>,
}

/// The path without what looks secret, and without values of path parameters (`;jsessionid=…`).
pub(crate) fn clean(path: &[u8]) -> Cleaned {
    let text = String::from_utf8_lossy(path.get(..RAW_MAX).unwrap_or(path));
    let mut raw = String::with_capacity(text.len());
    let mut redacted = 0;
    for (i, segment) in text.split('/').enumerate() {
        if i > 0 {
            raw.push('/');
        }
        let (name, parameters) = segment.split_once(';').map_or((segment, None), |(n, p)| (n, Some(p)));
        if looks_secret(name) {
            redacted += 1;
            raw.push_str(REDACTED);
        } else {
            raw.push_str(name);
        }
        for parameter in parameters.into_iter().flat_map(|p| p.split(';')) {
            raw.push(';');
            match parameter.split_once('=') {
                Some((key, _)) if !looks_secret(key) => {
                    raw.push_str(key);
                    raw.push('=');
                }
                _ => {}
            }
            redacted += 1;
            raw.push_str(REDACTED);
        }
    }
    cut_at(&mut raw, RAW_MAX);
    Cleaned { raw, redacted, cut: (path.len() > RAW_MAX).then_some(path.len() as u64) }
}

#[derive(Default)]
struct Node {
    children: HashMap<Box<str>, usize>,
}

/// Templates learned so far, by route.
#[derive(Default)]
pub(crate) struct Templates {
    nodes: Vec<Node>,
    roots: HashMap<usize, usize>,
}

impl Templates {
    /// Template of a cleaned path, and the last id in it.
    pub(crate) fn of(&self, route: usize, raw: &str) -> (String, String) {
        let mut template = String::with_capacity(raw.len());
        let mut id = "";
        let mut node = self.roots.get(&route).and_then(|n| self.nodes.get(*n));
        let mut deep = 0;
        for segment in raw.strip_prefix('/').unwrap_or(raw).split('/') {
            template.push('/');
            deep += 1;
            let name = segment.split(';').next().unwrap_or_default();
            let known = node.and_then(|n| n.children.get(name));
            let full = node.is_some_and(|n| n.children.len() >= CHILDREN_MAX) && known.is_none();
            if is_id(name) || full || deep > DEPTH_MAX {
                template.push_str(ID);
                id = name;
                node = node.and_then(|n| n.children.get(ID)).and_then(|n| self.nodes.get(*n));
            } else {
                template.push_str(name);
                node = known.and_then(|n| self.nodes.get(*n));
            }
            if deep > DEPTH_MAX {
                break;
            }
        }
        if !raw.starts_with('/') {
            template.remove(0);
        }
        cut_at(&mut template, RES_MAX);
        let mut id = id.to_owned();
        cut_at(&mut id, ID_MAX);
        (template, id)
    }

    /// Notes the path of a call that succeeded.
    pub(crate) fn learn(&mut self, route: usize, raw: &str) {
        let Some(mut at) = self.root(route) else { return };
        for segment in raw.strip_prefix('/').unwrap_or(raw).split('/').take(DEPTH_MAX) {
            let name = segment.split(';').next().unwrap_or_default();
            let name = if is_id(name) { ID } else { name };
            let room = self.nodes.len() < NODES_MAX;
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            if let Some(known) = node.children.get(name) {
                at = *known;
                continue;
            }
            if !room {
                return;
            }
            let name = if node.children.len() >= CHILDREN_MAX { ID } else { name };
            at = match node.children.get(name) {
                Some(known) => *known,
                None => {
                    node.children.insert(name.into(), next);
                    self.nodes.push(Node::default());
                    next
                }
            };
        }
    }

    fn root(&mut self, route: usize) -> Option<usize> {
        if let Some(root) = self.roots.get(&route) {
            return Some(*root);
        }
        if self.nodes.len() >= NODES_MAX {
            return None;
        }
        self.nodes.push(Node::default());
        self.roots.insert(route, self.nodes.len() - 1);
        Some(self.nodes.len() - 1)
    }
}

/// Whether a segment looks like an id by itself.
pub(super) fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let hex = bytes.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    let number = !bytes.is_empty() && digits == bytes.len();
    let hex_id = hex && bytes.len() >= 8 && digits > 0;
    number || hex_id || digits >= 5 || bytes.len() > NAME_MAX || segment == REDACTED || segment.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_tell_ids_by_their_look() {
        let t = Templates::default();
        let of = |p: &str| t.of(0, p);
        assert_eq!(of("/orders/1234/items/9"), ("/orders/{id}/items/{id}".into(), "9".into()));
        assert_eq!(of("/v1/users/550e8400-e29b-41d4-a716-446655440000").0, "/v1/users/{id}");
        assert_eq!(of("/o/deadbee1").0, "/o/{id}");
        assert_eq!(of("/o/inv-000123").0, "/o/{id}");
        assert_eq!(of("/u/a@b.example").0, "/u/{id}");
        assert_eq!(of("/feedback/decade").0, "/feedback/decade");
        assert_eq!(of("/").0, "/");
        assert_eq!(of("*").0, "*");
        assert_eq!(of("").0, "");
        assert_eq!(of(&format!("/{}", "x/".repeat(1000))).0.matches('/').count(), DEPTH_MAX + 1);
    }

    #[test]
    fn a_place_with_many_names_holds_ids_and_memory_stays_bounded() {
        let mut t = Templates::default();
        for i in 0..CHILDREN_MAX {
            t.learn(0, &format!("/users/{}/x", name(i)));
        }
        assert_eq!(t.of(0, "/users/zoe/x"), ("/users/{id}/x".into(), "zoe".into()));
        assert_eq!(t.of(0, &format!("/users/{}/x", name(3))).0, format!("/users/{}/x", name(3)));
        assert_eq!(t.of(1, "/users/zoe/x").0, "/users/zoe/x", "routes learn apart");
        for i in 0..20_000 {
            t.learn(i % 7, &format!("/{}/{}/{}", name(i), name(i / 3), name(i / 5)));
        }
        assert!(t.nodes.len() <= NODES_MAX);
        assert!(t.nodes.iter().all(|n| n.children.len() <= CHILDREN_MAX + 1));
    }

    fn name(i: usize) -> String {
        let letters = b"abcdefghij";
        format!("{i:04}").bytes().map(|d| letters[usize::from(d - b'0')] as char).collect()
    }

    #[test]
    fn secrets_and_path_parameters_are_not_kept() {
        let token = "xJ8kQ2mN5vB7cL9zR4tY6wE3sA1dF0gHpOiUyTrE";
        let cleaned = clean(format!("/reset/{token};v=1/now;jsessionid=abc").as_bytes());
        assert_eq!(cleaned.raw, "/reset/{redacted};v={redacted}/now;jsessionid={redacted}");
        assert_eq!(cleaned.redacted, 3);
        let long = clean(&[b'/'; RAW_MAX + 5]);
        assert_eq!((long.raw.len(), long.cut), (RAW_MAX, Some(RAW_MAX as u64 + 5)));
    }
}
