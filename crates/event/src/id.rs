//! Event ids. A producer's own id is never used as one: who chooses the id could suppress others' events.

use sha2::{Digest, Sha256};

/// Event id of an observed event: `SHA-256("countersign/eid/1" || len u16 BE || agent || stream || seq)[..16]`.
///
/// `agent` is at most 256 bytes (the encoder enforces it), so its length fits.
pub fn eid(agent: &str, stream: &[u8; 16], seq: u64) -> [u8; 16] {
    let mut hash = prefix(agent);
    hash.update(stream);
    hash.update(seq.to_be_bytes());
    cut(hash)
}

/// Event id of a record that came with an id of its own: `stream || seq` is replaced by SHA-256 of that id.
pub fn import_eid(agent: &str, source_id: &[u8]) -> [u8; 16] {
    let mut hash = prefix(agent);
    hash.update(Sha256::digest(source_id));
    cut(hash)
}

fn prefix(agent: &str) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update(b"countersign/eid/1");
    hash.update((agent.len() as u16).to_be_bytes());
    hash.update(agent.as_bytes());
    hash
}

fn cut(hash: Sha256) -> [u8; 16] {
    let full: [u8; 32] = hash.finalize().into();
    let mut out = [0; 16];
    out.copy_from_slice(&full[..16]);
    out
}
