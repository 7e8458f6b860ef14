//! The table of keys as a page, as lines for a terminal and as JSON.

use super::schema::{Key, keys, plain};
use std::fmt::Write;

/// `docs/reference/configuration.md`; a test compares it with the file.
pub(crate) fn markdown() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         One TOML file, named by `--config`; every key has a default, so no file is needed to start. This page is\n\
         what `countersign check schema --markdown` prints; a test compares them. `countersign check` refuses\n\
         unknown keys with the nearest right one, `countersign check explain KEY` prints one entry,\n\
         `countersign check --print` the configuration in force.\n\n\
         Secrets are never values: a key names the file or the environment variable that holds one.\n\
         Relative paths count from the directory of the configuration file.\n\n\
         | key | type | default | meaning |\n|---|---|---|---|\n",
    );
    for key in keys() {
        let default = if key.required { "required".into() } else { code(key.default) };
        let _ = writeln!(out, "| `{}` | {} | {default} | {} |", key.path, key.kind.describe(), key.doc);
    }
    out.push_str("\n## Example\n\n```toml\n");
    out.push_str(EXAMPLE);
    out.push_str("```\n");
    out
}

/// A whole, valid configuration; a test parses it.
pub(crate) const EXAMPLE: &str = r#"origin = "example.org/orders/1"

[[listener]]
name = "orders"
listen = "127.0.0.1:8081"
upstream = "http://127.0.0.1:8080"
service = "orders-api"

[listener.tls]
cert = "tls/orders.pem"
key = "tls/orders.key"
client_ca = "tls/ca.pem"
client_auth = "required"

[[identity.trust]]
trust_domain = "example.org"
ca = "tls/ca.pem"

[[identity.jwt]]
issuer = "https://login.example.org"
audience = ["orders-api"]
keys = "jwks.json"

[[webhook]]
url = "https://alerts.example.org/hook"
secret_file = "webhook.secret"
"#;

/// One key, for `check explain`.
pub(crate) fn explain(key: &Key) -> String {
    let default = match (key.required, key.default) {
        (true, _) => "none: it must be given".to_string(),
        (false, "") => "none".to_string(),
        (false, text) => text.trim_matches(['(', ')']).to_string(),
    };
    let place = match key.path.rsplit_once('.') {
        None => format!("{} = …", key.path),
        Some((table, name)) if table.ends_with("[]") => format!("[[{}]]\n    {name} = …", plain(table)),
        Some((table, name)) => format!("[{}]\n    {name} = …", plain(table)),
    };
    format!(
        "{}\n  {}\n  type:    {}\n  default: {default}\n  written:\n    {place}\n",
        plain(key.path),
        key.doc,
        key.kind.describe()
    )
}

/// All keys as JSON objects, one a key.
pub(crate) fn json() -> Vec<serde_json::Value> {
    keys()
        .map(|key| {
            serde_json::json!({
                "key": key.path, "type": key.kind.describe(), "default": key.default,
                "required": key.required, "secret": key.secret, "doc": key.doc,
            })
        })
        .collect()
}

fn code(default: &str) -> String {
    match default {
        "" => "none".into(),
        text if text.starts_with('(') => text.trim_matches(['(', ')']).to_string(),
        text => format!("`{text}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_made_from_the_table() {
        let path = countersign_testkit::crate_dir(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs/reference/configuration.md");
        if std::env::var_os("COUNTERSIGN_BLESS").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(found, markdown(), "write it anew with COUNTERSIGN_BLESS=1 cargo test -p countersign-cli");
    }

    #[test]
    fn the_example_is_valid() {
        super::super::load::parse(EXAMPLE, "example.toml").unwrap();
    }
}
