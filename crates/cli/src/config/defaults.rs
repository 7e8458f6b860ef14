//! Defaults that depend on the machine: where data and key lie. The only place of this crate that
//! reads the environment for configuration.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Address of the dashboard.
pub(crate) const WEB_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7470);
/// How many ports after a busy one are tried for the dashboard.
pub(crate) const WEB_PORTS_TRIED: u16 = 20;
/// Header that carries an API key.
pub(crate) const API_KEY_HEADER: &str = "x-api-key";
/// Accepted signature algorithms of tokens.
pub(crate) const JWT_ALGORITHMS: [&str; 3] = ["ES256", "RS256", "EdDSA"];
/// Learning span of first-seen edges, ms.
pub(crate) const LEARNING_MS: u64 = 10 * 60 * 1_000;
/// Events learnt from at least.
pub(crate) const LEARNING_EVENTS: u64 = 1_000;
/// Learning span of baselines, ms.
pub(crate) const BASELINE_LEARNING_MS: u64 = 7 * 24 * 3_600 * 1_000;
/// Events of a peer group learnt from at least.
pub(crate) const BASELINE_EVENTS: u64 = 1_000;
/// Bytes of state of all baselines.
pub(crate) const DETECT_STATE: u64 = 1 << 30;

/// `$XDG_STATE_HOME/countersign`, else `~/.local/state/countersign`.
pub(crate) fn data_dir() -> PathBuf {
    under("XDG_STATE_HOME", ".local/state")
}

/// `$XDG_CONFIG_HOME/countersign/kek`, else `~/.config/countersign/kek`.
pub(crate) fn kek_path() -> PathBuf {
    under("XDG_CONFIG_HOME", ".config").join("kek")
}

fn under(variable: &str, home: &str) -> PathBuf {
    // A relative path in an XDG variable is invalid by its specification and ignored.
    let base = std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = base.unwrap_or_else(|| {
        let root = std::env::var_os("HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        root.unwrap_or_else(|| PathBuf::from("/")).join(home)
    });
    base.join("countersign")
}
