//! The files that pages load, embedded once and served under a digest of their content.
//!
//! The digest stands in the path, above all names, so that modules import each other by relative names and
//! every answer may be cached for ever. Invariant: one digest, one content.

use crate::dictionary;
use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use ring::digest::{Context, SHA256};
use std::sync::LazyLock;

const JS: &str = "text/javascript; charset=utf-8";

/// Embedded files: path, media type, content.
static FILES: LazyLock<Vec<(&'static str, &'static str, String)>> = LazyLock::new(|| {
    macro_rules! file {
        ($path:literal, $kind:expr) => {
            ($path, $kind, include_str!(concat!("../assets/", $path)).to_owned())
        };
    }
    vec![
        file!("style.css", "text/css; charset=utf-8"),
        file!("icon.svg", "image/svg+xml"),
        file!("app.js", JS),
        file!("dom.js", JS),
        file!("fragment.js", JS),
        file!("overview.js", JS),
        file!("tail.js", JS),
        file!("map.js", JS),
        file!("verify.js", JS),
        file!("evidence.js", JS),
        file!("note.js", JS),
        file!("tree.js", JS),
        file!("cbor.js", JS),
        file!("sha256.js", JS),
        file!("ed25519.js", JS),
        file!("vendor/noble-ed25519-3.2.0/index.js", JS),
        file!("vendor/noble-ed25519-3.2.0/LICENSE", "text/plain; charset=utf-8"),
        ("dictionary.js", JS, dictionary::module()),
    ]
});

/// First 16 hex digits of the digest over all files.
static BUNDLE: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Context::new(&SHA256);
    for (path, _, content) in FILES.iter() {
        hash.update(&(path.len() as u64).to_be_bytes());
        hash.update(path.as_bytes());
        hash.update(&(content.len() as u64).to_be_bytes());
        hash.update(content.as_bytes());
    }
    countersign_event::json::hex(&hash.finish().as_ref()[..8])
});

/// Address of a file on this server.
pub fn url(path: &str) -> String {
    format!("/assets/{}/{path}", *BUNDLE)
}

/// Paths of all files, for tests.
pub fn paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(path, _, _)| *path)
}

/// Answers `/assets/{bundle}/{path}`.
pub(crate) fn serve(bundle: &str, path: &str) -> Option<Response<Body>> {
    let (_, kind, content) = FILES.iter().find(|(name, _, _)| *name == path)?;
    if bundle != *BUNDLE {
        return None;
    }
    Response::builder()
        .status(StatusCode::OK)
        .header(header::CONTENT_TYPE, *kind)
        .header(header::CACHE_CONTROL, "public, max-age=31536000, immutable")
        .body(Body::from(content.as_str()))
        .ok()
}
