//! From a proposal to a policy in force: only through a signature of somebody whom the configuration names.

use crate::support::{all, call, payments};
use countersign_event::{Class, Kind, Mode, Outcome, Principal, PrincipalKind, Rec, Verified};
use countersign_policy::learn::{Options, Seen, propose};
use countersign_policy::{Bundle, Policy, PolicyConfig, PolicySet, Request, adopt, refuses};
use countersign_proof::note::{Note, NoteSigner, VerifierKey};
use std::fs;
use std::path::Path;

const FILE: &str = "proposal.cedar";

fn signer(name: &str, seed: u8) -> NoteSigner {
    NoteSigner::from_seed(name, &[seed; 32]).unwrap()
}

fn seen() -> Seen<'static> {
    Seen {
        principal: crate::support::PAYMENTS,
        kind: Some(PrincipalKind::Workload),
        verified: Verified::Bound,
        operation: "GET",
        protocol: "http/1.1",
        class: Some(Class::Read),
        service: "orders",
        resource: "/orders/{id}",
        day: 20_000,
        flagged: false,
        calls: 3,
    }
}

fn proposed() -> Bundle {
    let proposal = propose([seen()], &Options::default());
    Bundle { note: proposal.note(), cedar: proposal.cedar, report: proposal.report }
}

fn config(dir: &Path, signers: Vec<VerifierKey>) -> PolicyConfig {
    PolicyConfig { policies: vec![dir.to_owned()], signers, ..all(Mode::Enforce) }
}

#[test]
fn a_signed_proposal_is_adopted_takes_effect_and_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (draft, policies) = (dir.path().join("draft"), dir.path().join("policies"));
    fs::create_dir(&policies).unwrap();
    let ann = signer("ann@example.org", 1);
    let config = config(&policies, vec![ann.verifier()]);
    let set = PolicySet::load(config.clone()).unwrap();
    let who = payments();
    assert!(refuses(&set.decide(&call(&who))));

    proposed().write(&draft).unwrap();
    let mut bundle = Bundle::read(&draft).unwrap();
    bundle.sign("draft", &ann).unwrap();
    bundle.write(&draft).unwrap();
    let adoption = adopt(&Bundle::read(&draft).unwrap(), &policies.join("proposal"), &config).unwrap();
    assert_eq!((adoption.signers.as_slice(), adoption.permits), (&["ann@example.org".to_owned()][..], 1));

    assert!(set.reload().unwrap());
    let decision = set.decide(&call(&who));
    assert!(!refuses(&decision) && decision.policies[0].starts_with("learned-"));
    let news = set.adoptions();
    assert_eq!(news, [adoption]);
    let mut event = news[0].event(1);
    assert_eq!((event.core.rec, event.core.kind), (Some(Rec::Platform), Some(Kind::Policy)));
    assert_eq!((event.core.op.as_str(), event.core.outcome), ("policy.adopt", Some(Outcome::Success)));
    assert_eq!(event.who.who.as_ref().map(|p| p.id.as_str()), Some("signer:ann@example.org"));
    assert_eq!((event.target.res.as_str(), event.target.id.len()), ("policy/proposal", 64));
    (event.core.agent, event.core.seq) = ("spiffe://example.org/gw".into(), 1);
    assert!(event.encode().is_ok());
    set.reload().unwrap();
    assert!(set.adoptions().is_empty(), "told once");
}

#[test]
fn nothing_but_the_signed_bytes_by_a_known_signer_is_in_force() {
    let (ann, eve) = (signer("ann@example.org", 1), signer("eve@example.org", 2));
    let impostor = signer("ann@example.org", 3);
    let witness = NoteSigner::cosigner_from_seed("ann@example.org", &[1; 32]).unwrap();
    let known = [ann.verifier(), witness.verifier()];
    let signed = |by: &NoteSigner| {
        let mut bundle = proposed();
        bundle.sign("x", by).unwrap();
        bundle
    };
    let good = signed(&ann);
    let forged = {
        // The right name and key id over another text.
        let line = Note::parse(good.note.as_bytes()).unwrap().signatures()[0].clone();
        let other = Note::new("countersign/policy-proposal/v1\nsha256 00\n", vec![line]).unwrap();
        Bundle { note: other.to_string(), ..good.clone() }
    };
    let cases = [
        ("not signed", proposed()),
        ("no note", Bundle { note: String::new(), ..good.clone() }),
        ("by a stranger", signed(&eve)),
        ("by another key of the same name", signed(&impostor)),
        (
            "wider permits",
            Bundle { cedar: format!("{}permit(principal, action, resource);\n", good.cedar), ..good.clone() },
        ),
        ("other numbers", Bundle { report: good.report.replace("\"seen\":3", "\"seen\":9"), ..good.clone() }),
        ("another text under the signature", forged),
    ];
    for (what, bundle) in cases {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), known.to_vec());
        assert!(adopt(&bundle, &dir.path().join("proposal"), &config).is_err(), "{what}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{what}: nothing was written");
        // Put there by hand it is refused as well, and what was in force stays.
        let set = PolicySet::load(config).unwrap();
        bundle.write(&dir.path().join("proposal")).unwrap();
        assert!(set.reload().is_err(), "{what}");
        let who = payments();
        assert!(refuses(&set.decide(&call(&who))), "{what}");
        let news = set.adoptions();
        assert_eq!(news.len(), 1, "{what}");
        let mut event = news[0].event(1);
        assert_eq!(event.core.outcome, Some(Outcome::Denied), "{what}");
        assert!(!event.content.err.is_empty() && event.who.who.is_none());
        (event.core.agent, event.core.seq) = ("spiffe://example.org/gw".into(), 1);
        assert!(event.encode().is_ok());
        assert!(set.reload().is_err() && set.adoptions().is_empty(), "{what}: told once");
    }
    assert!(proposed().sign("x", &witness).is_err(), "a witness's key signs no policy");
}

#[test]
fn a_proposal_without_its_note_is_not_a_file_written_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), Vec::new());
    fs::write(dir.path().join(FILE), proposed().cedar).unwrap();
    let error = PolicySet::load(config.clone()).unwrap_err().to_string();
    assert!(error.contains("nobody has signed it") && error.contains("policy sign"), "{error}");
    fs::write(dir.path().join(FILE), "permit(principal, action, resource);").unwrap();
    let set = PolicySet::load(config).unwrap();
    assert!(set.adoptions().is_empty(), "what was written by hand needs no signature");
}

#[test]
fn several_people_sign_one_note_and_a_changed_proposal_cannot_be_signed_over() {
    let (ann, bob) = (signer("ann@example.org", 1), signer("bob@example.org", 2));
    let mut bundle = proposed();
    bundle.sign("x", &ann).unwrap();
    bundle.sign("x", &bob).unwrap();
    bundle.sign("x", &ann).unwrap();
    assert_eq!(Note::parse(bundle.note.as_bytes()).unwrap().signatures().len(), 2, "each once");
    let both = [ann.verifier(), bob.verifier()];
    assert_eq!(bundle.verify("x", &both).unwrap(), ["ann@example.org", "bob@example.org"]);
    bundle.cedar.push('\n');
    assert!(bundle.sign("x", &bob).is_err());
}

#[test]
fn a_signed_proposal_that_does_not_fit_the_other_policies_is_not_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let ann = signer("ann@example.org", 1);
    let config = config(dir.path(), vec![ann.verifier()]);
    let mut bundle = proposed();
    let id = bundle.cedar.split('"').nth(1).unwrap().to_owned();
    fs::write(dir.path().join("a.cedar"), format!("@id(\"{id}\")\nforbid(principal, action, resource);"))
        .unwrap();
    bundle.sign("x", &ann).unwrap();
    let error = adopt(&bundle, &dir.path().join("proposal"), &config).unwrap_err().to_string();
    assert!(error.contains("not adopted") && error.contains("two policies are called"), "{error}");
    assert!(!dir.path().join(FILE).exists());
}

#[test]
fn the_whole_way_learns_nothing_from_the_unverified_or_the_flagged() {
    let dir = tempfile::tempdir().unwrap();
    let ann = signer("ann@example.org", 1);
    let config = config(dir.path(), vec![ann.verifier()]);
    let events = [
        seen(),
        Seen { resource: "/claimed", verified: Verified::Claimed, calls: 1_000, ..seen() },
        Seen { resource: "/asserted", verified: Verified::Asserted, calls: 1_000, ..seen() },
        Seen { resource: "/flagged", flagged: true, calls: 1_000, ..seen() },
    ];
    let proposal = propose(events, &Options::default());
    let mut bundle = Bundle { note: proposal.note(), cedar: proposal.cedar, report: proposal.report };
    bundle.sign("x", &ann).unwrap();
    adopt(&bundle, &dir.path().join("proposal"), &config).unwrap();
    let set = PolicySet::load(config).unwrap();
    let who = payments();
    assert!(!refuses(&set.decide(&call(&who))));
    for resource in ["/claimed", "/asserted", "/flagged"] {
        assert!(refuses(&set.decide(&Request { resource, ..call(&who) })), "{resource}");
    }
    let weak = Principal { verified: Verified::Asserted, ..payments() };
    assert!(refuses(&set.decide(&call(&weak))), "what was learned from level 3 holds from level 3");
}
