//! What people do to alerts: silence, acknowledge, say what a finding was.
//!
//! Invariant: on disk, sealed, and an event before it is answered.

use crate::alerts::{Alerts, Inner};
use crate::config::AlertError;
use crate::feedback::{Answer, Opinion, Precision};
use crate::filter::{self, FilterError, Proposal};
use crate::matcher::Match;
use crate::memory::Delta;
use crate::message::{Alert, hex};
use crate::silence::{Ack, SILENCES_MAX, Silence, check_words};
use crate::state::{by_person, detail};
use crate::subject::Subject;
use countersign_event::Event;

/// A matter that people were told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenMatter {
    /// Its fingerprint, hexadecimal.
    pub fingerprint: String,
    /// Id of its latest finding, hexadecimal.
    pub finding: String,
    /// Its rule.
    pub rule: String,
    /// When people were last told, Unix ns.
    pub told_ns: u64,
    /// Repeats since then.
    pub repeats: u64,
    /// Who knows of it, if somebody said so.
    pub ack: Option<Ack>,
}

impl Alerts {
    /// Makes a silence that ends at `ends_ns`; gives its id.
    ///
    /// # Errors
    /// It has no condition, author or reason, ends too late, or could mean integrity findings; there are too many.
    pub fn silence(
        &self,
        matches: Match,
        by: &str,
        reason: &str,
        ends_ns: u64,
    ) -> Result<String, AlertError> {
        let inner = &self.inner;
        let made_ns = inner.now();
        let text = format!("{matches:?}");
        let id = inner.seal.id(&[b"silence", &made_ns.to_be_bytes(), text.as_bytes(), by.as_bytes()]);
        let (id, by, reason) = (hex(&id), by.to_owned(), reason.to_owned());
        let silence = Silence { id, matches, by, reason, made_ns, ends_ns };
        silence.check()?;
        let mut kept = inner.kept();
        if kept.memory.silences.len() >= SILENCES_MAX {
            return Err(AlertError::TooMany { what: SILENCES_MAX });
        }
        kept.memory.silences.push(silence.clone());
        kept.save_now()?;
        drop(kept);
        inner.tell_silence("alert.silence.made", &silence, &silence.by);
        Ok(silence.id)
    }

    /// Ends a silence before its time.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn expire(&self, id: &str, by: &str) -> Result<(), AlertError> {
        check_words("silence", by, "note", "", false)?;
        let mut kept = self.inner.kept();
        let at = kept.memory.silences.iter().position(|silence| silence.id == id);
        let at = at.ok_or_else(|| AlertError::NotKnown { what: "silence", id: id.to_owned() })?;
        let silence = kept.memory.silences.remove(at);
        kept.save_now()?;
        drop(kept);
        self.inner.tell_silence("alert.silence.ended", &silence, by);
        Ok(())
    }

    /// The silences that hold, oldest first.
    pub fn silences(&self) -> Vec<Silence> {
        let now = self.inner.now();
        let kept = self.inner.kept();
        kept.memory.silences.iter().filter(|silence| silence.ends_ns > now).cloned().collect()
    }

    /// Says that somebody knows of a matter: its repeats ring nobody until it resolves, or gets worse. `target` is its
    /// fingerprint, or the id of its latest finding.
    ///
    /// # Errors
    /// Nobody was told of such a matter, or it is over.
    pub fn acknowledge(&self, target: &str, by: &str, note: &str) -> Result<(), AlertError> {
        check_words("acknowledge", by, "note", note, false)?;
        let at_ns = self.inner.now();
        let mut kept = self.inner.kept();
        let open = kept.memory.matters.iter().filter(|(_, matter)| matter.open);
        let mut found =
            open.filter(|(fingerprint, matter)| *fingerprint == target || matter.finding == target);
        let (fingerprint, matter) = found
            .next()
            .ok_or_else(|| AlertError::NotKnown { what: "open matter", id: target.to_owned() })?;
        let (fingerprint, mut matter) = (fingerprint.clone(), matter.clone());
        let finding = matter.finding.clone();
        matter.ack = Some(Ack { by: by.to_owned(), note: note.to_owned(), at_ns });
        kept.apply(Delta { matters: vec![(fingerprint.clone(), matter)], ..Delta::default() });
        kept.save_now()?;
        drop(kept);
        let pairs = vec![
            (detail::FINGERPRINT, fingerprint.as_str().into()),
            (detail::FINDING, finding.as_str().into()),
        ];
        self.inner.tell_event(by_person("alert.acknowledged", by, note, pairs, at_ns));
        Ok(())
    }

    /// The matters that are open, of which people were told.
    pub fn matters(&self) -> Vec<OpenMatter> {
        let kept = self.inner.kept();
        let open = kept.memory.matters.iter().filter(|(_, matter)| matter.open);
        let matter = open.map(|(fingerprint, matter)| OpenMatter {
            fingerprint: fingerprint.clone(),
            finding: matter.finding.clone(),
            rule: matter.rule.clone(),
            told_ns: matter.told_ns,
            repeats: matter.repeats,
            ack: matter.ack.clone(),
        });
        matter.collect()
    }

    /// Says what a finding was. A later answer replaces an earlier one.
    ///
    /// # Errors
    /// The event is no finding, or nobody says why.
    pub fn feedback(
        &self,
        finding: &Event,
        index: u64,
        answer: Answer,
        by: &str,
        why: &str,
    ) -> Result<(), AlertError> {
        let alert = Alert::any(finding, index);
        let alert = alert
            .ok_or_else(|| AlertError::NotKnown { what: "finding at ledger index", id: index.to_string() })?;
        let at_ns = self.inner.now();
        let subject = Subject::of_alert(&alert);
        let id = alert.finding().unwrap_or_default();
        let opinion = Opinion::new(&subject, id.clone(), index, answer, by, why, at_ns);
        opinion.check()?;
        let mut kept = self.inner.kept();
        kept.memory.feedback.add(opinion);
        kept.save_now()?;
        drop(kept);
        let pairs = vec![(detail::ANSWER, answer.word().into()), (detail::FINDING, id.as_str().into())];
        let mut event = by_person("alert.feedback", by, why, pairs, at_ns);
        event.links.of = Some(finding.core.eid);
        event.core.labels = vec![crate::message::clip(&subject.rule, 64).to_owned()];
        self.inner.tell_event(event);
        Ok(())
    }

    /// What people said, oldest first.
    pub fn opinions(&self) -> Vec<Opinion> {
        self.inner.kept().memory.feedback.opinions.clone()
    }

    /// How precise each rule is, of which somebody said something.
    pub fn precision(&self) -> Vec<Precision> {
        self.inner.kept().memory.feedback.precision()
    }

    /// Proposes a filter for a rule from the findings marked false; see [`crate::propose`].
    ///
    /// # Errors
    /// There is nothing to propose.
    pub fn propose_filter(&self, rule: &str, ends_ns: u64) -> Result<Proposal, FilterError> {
        filter::propose(rule, &self.opinions(), self.inner.now(), ends_ns)
    }
}

impl Inner {
    /// Silences whose end has come go, each with an event.
    pub(crate) fn end_silences(&self) {
        let now = self.now();
        let mut kept = self.kept();
        let (ended, hold): (Vec<_>, Vec<_>) =
            std::mem::take(&mut kept.memory.silences).into_iter().partition(|silence| silence.ends_ns <= now);
        kept.memory.silences = hold;
        if ended.is_empty() {
            return;
        }
        // If the disk refuses, it ends again at the next start.
        if let Err(error) = kept.save_now() {
            tracing::warn!(target: "countersign::alert", %error, "end of a silence not saved");
        }
        drop(kept);
        for silence in ended {
            self.tell_silence("alert.silence.ended", &silence, &silence.by);
        }
    }

    fn tell_silence(&self, operation: &str, silence: &Silence, by: &str) {
        let pairs =
            vec![(detail::SILENCE, silence.id.as_str().into()), (detail::ENDS, silence.ends_ns.into())];
        self.tell_event(by_person(operation, by, &silence.reason, pairs, self.now()));
    }
}
