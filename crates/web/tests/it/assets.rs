//! The files that pages load: vendored ones are what they claim, ours use nothing that the policy forbids.

use ring::digest::{SHA256, digest};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Most bytes of script, uncompressed, that one page may load; the goal is 60 KB compressed.
const SCRIPT_MAX: usize = 120 << 10;

fn assets() -> PathBuf {
    countersign_testkit::crate_dir(env!("CARGO_MANIFEST_DIR")).join("assets")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(assets().join(path)).unwrap()
}

#[test]
fn vendored_files_are_what_their_list_says() {
    let vendor = assets().join("vendor");
    for package in std::fs::read_dir(&vendor).unwrap().map(|entry| entry.unwrap().path()) {
        let list = std::fs::read_to_string(package.join("VENDOR.toml")).unwrap();
        for key in ["name = ", "version = ", "licence = ", "source = "] {
            assert!(list.contains(key), "{key} in {}", package.display());
        }
        let listed: BTreeSet<(String, String)> = list
            .split_once("[sha256]")
            .unwrap()
            .1
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, sum)| (name.trim_matches('"').to_owned(), sum.trim_matches('"').to_owned()))
            .collect();
        let found: BTreeSet<(String, String)> = std::fs::read_dir(&package)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name() != "VENDOR.toml")
            .map(|entry| {
                let sum = digest(&SHA256, &std::fs::read(entry.path()).unwrap());
                (entry.file_name().into_string().unwrap(), countersign_event::json::hex(sum.as_ref()))
            })
            .collect();
        assert_eq!(listed, found, "{}", package.display());
    }
}

#[test]
fn our_modules_use_no_sink_that_the_policy_forbids() {
    let forbidden = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "DOMParser",
        "eval(",
        "new Function",
        "srcdoc",
        "createContextualFragment",
        "setHTML",
        "new Worker",
        "javascript:",
        "http://",
        "https://",
    ];
    for path in
        countersign_web::asset_paths().filter(|path| path.ends_with(".js") && !path.starts_with("vendor/"))
    {
        if path == "dictionary.js" {
            continue;
        }
        let text = read(path);
        assert!(text.starts_with("//"), "{path} says what it is");
        for word in forbidden {
            assert!(!text.contains(word), "{word} in {path}");
        }
    }
}

#[test]
fn every_import_is_an_asset_and_the_scripts_stay_small() {
    let all: BTreeSet<&str> = countersign_web::asset_paths().collect();
    let mut bytes = 0;
    for path in all.iter().filter(|path| path.ends_with(".js") && **path != "dictionary.js") {
        let text = read(path);
        bytes += text.len();
        if path.starts_with("vendor/") {
            continue;
        }
        for line in text.lines().filter(|line| line.starts_with("import ")) {
            let target = line.rsplit_once("\"./").unwrap().1.trim_end_matches("\";");
            assert!(all.contains(target), "{path} imports {target}");
        }
    }
    assert!(bytes < SCRIPT_MAX, "{bytes} bytes of script");
}

#[test]
fn style_has_no_foreign_address() {
    let css = read("style.css");
    for word in ["url(", "@import", "http"] {
        assert!(!css.contains(word), "{word}");
    }
    for feature in [
        "prefers-color-scheme: dark",
        "forced-colors: active",
        "prefers-contrast: more",
        "prefers-reduced-motion",
    ] {
        assert!(css.contains(feature), "{feature}");
    }
}
