//! Why identities could not be set up. Not what a peer did wrong: that is a [`crate::Failure`].

use std::path::PathBuf;

/// Errors of configuration and files; none of them ever holds a key, a token or a secret.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read.
    #[error("read {what} {path}: {source}; check that the path is right and readable by this user")]
    Read {
        /// What the file is for.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("write {path}: {source}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file was read and is not what it should be.
    #[error("{what} {path}: {why}")]
    File {
        /// What the file is for.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A setting makes no sense.
    #[error("{setting}: {why}")]
    Setting {
        /// The setting, as in the configuration file.
        setting: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// TLS could not be set up with these files.
    #[error("tls with {path}: {why}")]
    Tls {
        /// The certificate or authority file.
        path: PathBuf,
        /// What rustls said.
        why: String,
    },
    /// The throw-away authority could not make a key, certificate or token.
    #[error("throw-away authority: {0}")]
    Authority(String),
}
