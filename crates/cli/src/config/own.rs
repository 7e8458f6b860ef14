//! Formats of the operator's own: a TOML file with one `[format.NAME]`, which is a server's format string or a
//! declared mapping. Reads the file, compiles it and runs the tests that it brings; what a format means is the
//! collector's affair.

use super::read_bounded;
use crate::exit::CliError;
use countersign_collect::formats::own::{KINDS, Own};
use countersign_collect::mapper::{Mapper, Node};
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// Largest file with a format, bytes.
const FILE_MAX: u64 = 256 << 10;
/// Deepest nesting of tables in it.
const DEPTH_MAX: usize = 8;

/// Reads the format in `path`.
///
/// # Errors
/// The file cannot be read, what is wrong in it and where, or the first of its tests that does not hold.
pub(crate) fn read(path: &Path) -> Result<Own, CliError> {
    let text = read_bounded(path, FILE_MAX)?;
    compile(&text).map_err(|why| {
        CliError::new(
            format!("cannot use the format in {}", path.display()),
            why,
            "docs/guide/mapper.md has an example; countersign parse --format-file FILE tries it",
        )
    })
}

fn compile(text: &str) -> Result<Own, String> {
    let root = DeTable::parse(text).map_err(|e| e.to_string().trim_end().to_owned())?;
    let Node::Table(root) = table(root.get_ref(), 0)? else { return Err("no table".into()) };
    let formats = match root.as_slice() {
        [(name, Node::Table(formats))] if name == "format" => formats,
        _ => return Err("it must hold one table, [format.NAME], and nothing beside it".into()),
    };
    let [(name, format)] = formats.as_slice() else {
        return Err(format!("it holds {} formats; one file holds one", formats.len()));
    };
    if let Node::Table(rows) = format
        && let [(kind, Node::Text(string))] = rows.as_slice()
        && KINDS.contains(&kind.as_str())
    {
        return Own::compile(kind, string).map_err(|e| format!("format.{name}.{kind}: {e}"));
    }
    let mapper = Mapper::new(name, format).map_err(|e| e.to_string())?;
    mapper.check()?;
    Ok(Own::mapped(mapper))
}

/// In the order of the file: the first row of a table of patterns that fits counts.
fn table(table: &DeTable<'_>, depth: usize) -> Result<Node, String> {
    if depth > DEPTH_MAX {
        return Err(format!("tables nest deeper than {DEPTH_MAX}"));
    }
    let mut rows: Vec<_> = table.iter().collect();
    rows.sort_by_key(|(key, _)| key.span().start);
    let rows = rows.into_iter().map(|(key, value)| {
        let name: &str = key.get_ref();
        Ok((name.to_owned(), node(value.get_ref(), depth).map_err(|why| format!("{name}: {why}"))?))
    });
    rows.collect::<Result<Vec<_>, String>>().map(Node::Table)
}

fn node(value: &DeValue<'_>, depth: usize) -> Result<Node, String> {
    Ok(match value {
        DeValue::String(text) => Node::Text(text.to_string()),
        DeValue::Integer(n) => {
            Node::Number(i64::from_str_radix(n.as_str(), n.radix()).map_err(|_| "a number is too large")?)
        }
        DeValue::Boolean(b) => Node::Bool(*b),
        DeValue::Array(items) => {
            Node::List(items.iter().map(|item| node(item.get_ref(), depth + 1)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(rows) => table(rows, depth + 1)?,
        _ => return Err("a format knows texts, whole numbers, truth values, lists and tables".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the guide, between its first pair of fences.
    fn guide() -> String {
        let path =
            countersign_testkit::crate_dir(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/mapper.md");
        let page = std::fs::read_to_string(path).unwrap();
        let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        example.to_owned()
    }

    #[test]
    fn the_example_of_the_guide_is_a_format_whose_tests_hold() {
        let own = compile(&guide()).unwrap();
        assert_eq!(own.name(), "orders");
        // The first pattern that fits counts, in the order of the file.
        assert!(compile(&guide().replace("outcome = \"denied\"", "outcome = \"success\"")).is_err());
    }

    #[test]
    fn a_format_string_is_a_format_and_what_is_wrong_is_said_with_its_place() {
        let string = "[format.shop]\nnginx = '$remote_addr [$time_local] \"$request\" $status'\n";
        assert_eq!(compile(string).unwrap().name(), "nginx");
        for (text, want) in [
            ("[format.a]\nread = \"jsn\"\n", "nearest right name: json"),
            ("[format.a]\nnginx = '$a$b'\n", "nothing between"),
            ("[fromat.a]\n", "[format.NAME]"),
            ("[format.a]\n[format.b]\n", "2 formats"),
            ("[format.a]\nx = 1.5\n", "whole numbers"),
            ("[format", "TOML"),
        ] {
            let why = compile(text).unwrap_err();
            assert!(why.contains(want), "{text}: {why}");
        }
    }
}
