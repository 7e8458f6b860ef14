//! The signer (stub).
use crate::LedgerError;
use countersign_proof::{Hash, VerifierKey};

/// What a signer remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignerStatus {
    /// Highest fence number that was taken.
    pub fence: u64,
    /// Last size signed.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
}

/// A request for a signature over a tree head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// Number that the caller took by [`Signer::fence`].
    pub fence: u64,
    /// The log's origin.
    pub origin: String,
    /// Size to sign.
    pub size: u64,
    /// Root at that size.
    pub root: Hash,
    /// Consistency proof from the signer's last size.
    pub consistency: Vec<Hash>,
}

/// Holds the log key and a memory of its own; refuses to sign two histories.
pub trait Signer: Send + Sync {
    /// Takes over: the number must be higher than any before, and lower ones are refused from now on.
    fn fence(&self, number: u64) -> Result<(), LedgerError>;
    /// What the signer remembers.
    fn status(&self) -> Result<SignerStatus, LedgerError>;
    /// The public half of the log key.
    fn verifier(&self) -> VerifierKey;
    /// Persists (fence, size, root), then returns the signed note.
    fn sign(&self, request: &SignRequest) -> Result<String, LedgerError>;
}

/// A signer in this process with its own directory.
pub struct LocalSigner;
