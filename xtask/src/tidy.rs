//! `tidy`: a report on the tree's shape. It is talked about, it fails nothing.

use crate::XtaskError;
use crate::stages::root;
use std::path::{Path, PathBuf};

/// Longest functions and files listed.
const LISTED: usize = 10;

#[derive(Default)]
struct Tree {
    files: Vec<(usize, PathBuf)>,
    functions: Vec<(usize, String)>,
    product_lines: usize,
    unwraps: usize,
    unsafes: usize,
    documented: usize,
    tests: usize,
}

/// Prints the table.
pub(crate) fn report() -> Result<(), XtaskError> {
    let root = root();
    let mut paths = Vec::new();
    for top in ["crates", "xtask"] {
        collect(&root.join(top), &mut paths)?;
    }
    paths.sort();
    let mut tree = Tree::default();
    for path in &paths {
        let text = read(path)?;
        measure(&mut tree, path.strip_prefix(&root).unwrap_or(path), &text);
    }
    print(&mut tree);
    Ok(())
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) -> Result<(), XtaskError> {
    let failed = |error| XtaskError::Io(format!("listing {}", dir.display()), error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, out)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, XtaskError> {
    std::fs::read_to_string(path)
        .map_err(|error| XtaskError::Io(format!("reading {}", path.display()), error))
}

fn measure(tree: &mut Tree, path: &Path, text: &str) {
    tree.tests += text.matches("#[test]").count() + text.matches("#[tokio::test").count();
    let apart = |part: &str| path.components().any(|component| component.as_os_str() == part);
    if apart("tests") || apart("examples") {
        return;
    }
    let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines: Vec<&str> = product.lines().collect();
    tree.files.push((lines.len(), path.to_owned()));
    tree.product_lines += lines.len();
    tree.documented += usize::from(text.starts_with("//!"));
    for line in lines.iter().filter(|line| !line.trim_start().starts_with("//")) {
        tree.unwraps += usize::from(line.contains(".unwrap()") || line.contains(".expect("));
        tree.unsafes += usize::from(line.contains("unsafe {") || line.contains("unsafe fn"));
    }
    functions(tree, path, &lines);
}

/// A function runs from its `fn` line to the closing brace at the same indentation.
fn functions(tree: &mut Tree, path: &Path, lines: &[&str]) {
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let words: Vec<&str> = body.split_ascii_whitespace().take(4).collect();
        if !words.contains(&"fn") || body.starts_with("//") || body.ends_with(';') {
            continue;
        }
        let indent = line.len() - body.len();
        let closing = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[start..].iter().position(|line| *line == closing) {
            let name = body.split('(').next().unwrap_or(body).trim();
            tree.functions.push((length + 1, format!("{}:{} {name}", path.display(), start + 1)));
        }
    }
}

fn print(tree: &mut Tree) {
    tree.files.sort_by(|a, b| b.cmp(a));
    tree.functions.sort_by(|a, b| b.cmp(a));
    let at = |lengths: &[usize], share: usize| lengths.get(lengths.len() * share / 100).copied().unwrap_or(0);
    let files: Vec<usize> = tree.files.iter().rev().map(|(length, _)| *length).collect();
    let functions: Vec<usize> = tree.functions.iter().rev().map(|(length, _)| *length).collect();
    let last = |lengths: &[usize]| lengths.last().copied().unwrap_or(0);
    println!("product lines                    {}", tree.product_lines);
    println!(
        "function length p90 / p99 / max  {} / {} / {}   (good: 22 / 60 / 100)",
        at(&functions, 90),
        at(&functions, 99),
        last(&functions)
    );
    println!(
        "file length median / p90 / max   {} / {} / {}   (good: 150 / 350 / 600)",
        at(&files, 50),
        at(&files, 90),
        last(&files)
    );
    println!("unwrap or expect outside tests   {}   (good: 0)", tree.unwraps);
    println!("unsafe                           {}   (good: 0)", tree.unsafes);
    println!("files that open with module docs {} of {}", tree.documented, tree.files.len());
    let per_thousand = tree.tests as f64 * 1000.0 / tree.product_lines.max(1) as f64;
    println!("tests per 1,000 product lines    {per_thousand:.1}   (good: 25 and more)");
    println!("longest files:");
    for (length, path) in tree.files.iter().take(LISTED) {
        println!("  {length:>5}  {}", path.display());
    }
    println!("longest functions:");
    for (length, place) in tree.functions.iter().take(LISTED) {
        println!("  {length:>5}  {place}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The fuzz package is outside the workspace, so nothing else here would notice a manifest that cannot be read.
    #[test]
    fn every_fuzz_target_has_one_entry_of_its_own_in_the_manifest() {
        let root =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let fuzz = Path::new(&root).join("../fuzz");
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        let mut listed = BTreeSet::new();
        for entry in manifest.split("[[bin]]").skip(1) {
            let of = |key: &str| -> Vec<&str> {
                let lines = entry.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
                lines.map(|value| value.trim_matches('"')).collect()
            };
            let (names, paths) = (of("name"), of("path"));
            assert!(names.len() == 1 && paths.len() == 1, "one name and one path: {entry}");
            assert_eq!(paths, [format!("fuzz_targets/{}.rs", names[0])]);
            assert!(listed.insert(names[0].to_owned()), "{} is listed twice", names[0]);
        }
        let files: BTreeSet<String> = std::fs::read_dir(fuzz.join("fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(files, listed);
    }
}
