//! Names of services and words of their interfaces. Nothing here is a pattern that a detector may know.

/// Core services and the collection that each serves.
pub(super) const CORE: [(&str, &str); 24] = [
    ("orders", "orders"),
    ("catalog", "products"),
    ("accounts", "accounts"),
    ("payments", "payments"),
    ("inventory", "items"),
    ("shipping", "shipments"),
    ("pricing", "quotes"),
    ("invoices", "invoices"),
    ("profiles", "profiles"),
    ("cart", "carts"),
    ("notifications", "messages"),
    ("search", "documents"),
    ("reviews", "reviews"),
    ("loyalty", "cards"),
    ("fraud", "assessments"),
    ("tax", "rates"),
    ("returns", "returns"),
    ("documents", "files"),
    ("scheduling", "slots"),
    ("warehouse", "bins"),
    ("subscriptions", "subscriptions"),
    ("contracts", "contracts"),
    ("tickets", "tickets"),
    ("devices", "devices"),
];
/// Services that take calls from outside.
pub(super) const FRONT: [&str; 4] = ["web-bff", "mobile-api", "partner-api", "webhook-intake"];
/// Callers from outside, behind address translation.
pub(super) const PARTNERS: [&str; 4] = ["acme-logistics", "northbank", "brightmart", "fleetworks"];
/// Services outside that ours call.
pub(super) const OUTSIDE: [&str; 5] = [
    "api.cardnet.example",
    "mail.sendwell.example",
    "geo.maptiles.example",
    "sms.textline.example",
    "storage.coldvault.example",
];
/// Services outside that ours have not called before; an attacker's, or a new supplier's.
pub(super) const NEW_OUTSIDE: [&str; 6] = [
    "cdn-telemetry.example",
    "sync.paste-drop.example",
    "updates.softmirror.example",
    "203-0-113-77.rev.example",
    "files.dropzone.example",
    "api.quickhook.example",
];
/// Where workloads run.
pub(super) const ZONES: [&str; 3] = ["eu-1a", "eu-1b", "eu-1c"];
/// Nodes in one zone.
pub(super) const NODES: usize = 5;

/// A name as Kubernetes makes them: no vowels, no digits that look like letters.
pub(super) fn suffix(rng: &mut super::rng::Rng, length: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..length).map(|_| char::from(LETTERS[rng.index(LETTERS.len())])).collect()
}
