//! Checkpoints of an evidence file: who signed them, and whether each extends the one before it.

use super::verify::{Structural, Verifier};
use crate::report::{Check, Status, shown};
use crate::{Checkpoint, Hash, Note, verify_consistency};

impl Verifier<'_> {
    pub(super) fn checkpoint(&mut self, note: &str) -> Result<(), Structural> {
        if self.counts[3] + self.counts[4] > 0 || !self.pending.is_none() {
            return Err("a checkpoint after the first proof or entry".to_owned());
        }
        if !self.linked {
            self.unchecked.consistency += 1;
        }
        let head = match self.policy.accept(note.as_bytes()) {
            Ok(accepted) => {
                let cosigners: Vec<String> = accepted.cosigned.iter().map(|(name, _)| shown(name)).collect();
                if !accepted.quorum_met {
                    self.findings.add(Check::Quorum, Status::Insufficient, || {
                        let have =
                            if cosigners.is_empty() { "nobody".to_owned() } else { cosigners.join(", ") };
                        format!("quorum {} is not met; cosigned by {have}", shown(&self.policy.quorum_name()))
                    });
                }
                self.unchecked.unknown_lines += accepted.unknown;
                self.quorum = cosigners;
                accepted.checkpoint
            }
            Err(error) if error.is_integrity() => {
                self.findings.add(Check::Checkpoint, Status::Broken, || shown(&error.to_string()));
                // Its proofs are checked all the same, so that the report names everything that is wrong.
                let text = Note::parse(note.as_bytes()).map_err(|error| error.to_string())?;
                Checkpoint::parse(text.text()).map_err(|error| error.to_string())?
            }
            Err(error) => return Err(shown(&error.to_string())),
        };
        self.push_head(head)
    }

    fn push_head(&mut self, head: Checkpoint) -> Result<(), Structural> {
        if self.origin != Some(&head.origin) {
            self.findings.add(Check::Checkpoint, Status::Broken, || {
                format!("the checkpoint is of {}, the file of another log", shown(&head.origin))
            });
        }
        self.linked = true;
        if let Some(before) = self.heads.last() {
            if head.size < before.size {
                return Err("checkpoints are not in order of size".to_owned());
            }
            if head.size == before.size && head.root != before.root {
                self.findings.add(Check::Checkpoint, Status::Broken, || {
                    format!("FORK: two signed checkpoints of size {} with different roots", head.size)
                });
            }
            self.linked = head.size == before.size;
        }
        if self.heads.len() > 1 {
            self.heads.remove(0);
        }
        self.heads.push(head);
        Ok(())
    }

    pub(super) fn consistency(&mut self, hashes: &[Hash]) -> Result<(), Structural> {
        let [before, after] = self.heads.as_slice() else {
            return Err("a consistency proof without two checkpoints before it".to_owned());
        };
        if self.counts[3] + self.counts[4] > 0 || !self.pending.is_none() {
            return Err("a consistency proof after the first entry".to_owned());
        }
        let verdict = verify_consistency(before.size, after.size, &before.root, &after.root, hashes);
        if let Err(error) = verdict {
            self.findings.add(Check::Consistency, Status::Broken, || {
                format!("size {} does not extend size {}: {error}", after.size, before.size)
            });
        }
        (self.linked, self.links) = (true, self.links + 1);
        Ok(())
    }
}
