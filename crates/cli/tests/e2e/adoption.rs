//! A proposal of learn mode: in force only with the signature of a person whom the configuration names.

use crate::support::{Home, stop, upstream};
use countersign_testkit::{Child, free_port, wait_for_port};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn a_proposal_is_adopted_with_a_known_signature_and_refused_without() {
    let home = Home::new("adopt");
    let at = |name: &str| home.path().join(name).display().to_string();
    let policies = home.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    std::fs::write(policies.join("all.cedar"), "@id(\"all\")\npermit(principal, action, resource);\n")
        .unwrap();
    let alice = home.ok(&["policy", "keygen", "alice", "--out", &at("alice.key")]);
    home.ok(&["policy", "keygen", "mallory", "--out", &at("mallory.key")]);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let file = home.path().join("countersign.toml");
    let text = format!(
        "[policy]\nfiles = [\"{}\"]\nsigners = [\"{}\"]\n[web]\nenabled = false\n[[listener]]\nname = \"front\"\n\
         listen = \"{address}\"\nupstream = \"http://{}\"\npolicy = \"enforce\"\n",
        policies.display(),
        alice.trim(),
        upstream()
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let child = Child::start(home.command(&["run", "--config", file]), &home.path().join("run.log")).unwrap();
    wait_for_port(address, Duration::from_secs(30)).unwrap_or_else(|_| panic!("{}", child.output()));

    // Nothing was learnt, so it permits nothing; what is looked at here is who may put it in force.
    let learnt = home.run(&["policy", "learn", "--out", &at("proposal"), "--config", file]);
    assert!(home.path().join("proposal.note").exists(), "{learnt:?}");
    let adopt = || home.run(&["policy", "adopt", &at("proposal"), "--config", file]);
    assert_eq!(adopt().status.code(), Some(2), "nobody has signed it");
    home.ok(&["policy", "sign", &at("proposal"), "--with", &at("mallory.key")]);
    assert_eq!(adopt().status.code(), Some(2), "nobody who may has signed it");
    assert!(!policies.join("proposal.cedar").exists());
    home.ok(&["policy", "sign", &at("proposal.note"), "--with", &at("alice.key")]);
    let adopted = adopt();
    let said = String::from_utf8_lossy(&adopted.stdout).into_owned();
    assert!(adopted.status.success() && said.contains("alice"), "{adopted:?}");
    assert_eq!(home.settle("op:policy.adopt outcome:success", 1), 1);

    // A changed text is not what was signed: refused, recorded, and what was in force stays.
    let cedar = policies.join("proposal.cedar");
    let text = std::fs::read_to_string(&cedar).unwrap();
    std::fs::write(&cedar, format!("{text}\n@id(\"more\")\npermit(principal, action, resource);\n")).unwrap();
    assert_eq!(home.settle("op:policy.adopt outcome:denied", 1), 1);
    assert!(home.settle("op:reload resource:policy outcome:caller_error", 1) >= 1);
    stop(child);
}
