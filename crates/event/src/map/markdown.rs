//! The table as the page `docs/reference/mapping.md`.

use super::classes::CLASSES;
use super::conv::Conv;
use super::table::ROWS;
use std::fmt::Write;

/// The whole page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Mapping to OCSF and OpenTelemetry\n\n\
         Generated from `crates/event/src/map/`; a test compares the two. Export and import are driven by the same \
         rows. A field without a row, and a value that the place could not give back as it was, travels in the \
         extension: `unmapped.countersign.<group>.<field>` in OCSF 1.8.0, attributes `countersign.<group>.<field>` in \
         an OpenTelemetry log record. So an event comes back byte for byte. On import the extension is compared with \
         its mapped twin; where they disagree the twin's value is taken, every identity falls to `claimed`, and the \
         field is named in a finding. An imported event is never the observation that it was: the collector gives it \
         an observer, a number and a level of its own.\n\n\
         What OCSF requires and the event does not say is `unknown`, 0, the event id or the time. Whole numbers \
         beyond 2^53 - 1 are `{\"$int\": \"…\"}` in the extension. Source fields that no rule took are members of \
         `unmapped` by their JSON pointers.\n\n## Classes\n\n| class_uid | class | kinds |\n|---|---|---|\n",
    );
    for class in CLASSES {
        let kinds = match class.uid {
            0 => "every other".to_owned(),
            2004 => "every kind, where `rec` is finding".to_owned(),
            _ => class.kinds.join(", "),
        };
        let _ = writeln!(page, "| {} | {} | {kinds} |", class.uid, class.name);
    }
    page.push_str(
        "\n`category_uid` is the thousands of `class_uid`, `type_uid` is `class_uid` × 100 + `activity_id`; \
         `severity_id` is 1 but for findings. `EventName` is kind and operation class, `http.read`, else `audit`. What the \
         draft audit conventions require and the event does not say is `unknown`; the type of an unknown actor is \
         `service`. There are no `audit.integrity.*` attributes: the proof of an event is its evidence.\n\n## Rows\n\n\
         Of several rows of one field the first loses nothing, the others are compared with it. **own**: read only in \
         our own export.\n\n| field | OCSF 1.8.0 | classes | kinds | OTel log record | conversion |\n|---|---|---|---|---|---|\n",
    );
    for row in ROWS {
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let uids: Vec<String> = row.classes().map(|class| class.uid.to_string()).collect();
        let classes = match () {
            () if row.ocsf.is_empty() => String::new(),
            () if uids.len() == CLASSES.len() => "all".to_owned(),
            () => uids.join(" "),
        };
        let own = if row.own { " **own**" } else { "" };
        let _ = writeln!(
            page,
            "| `{}`{own} | {} | {classes} | {} | {} | {} |",
            row.field,
            code(row.ocsf),
            row.kinds.join(" "),
            code(row.otel),
            conversion(row.conv),
        );
    }
    page
}

fn conversion(conv: Conv) -> String {
    match conv {
        Conv::Text => "as it is".to_owned(),
        Conv::Uint => "number up to 2^53 - 1".to_owned(),
        Conv::Range(least, most) => format!("number from {least} to {most}"),
        Conv::Ms => "OCSF: ms, rounded down; OTel: ns".to_owned(),
        Conv::NsMs => "ns to ms, rounded down".to_owned(),
        Conv::Words(pairs) | Conv::Verbs(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(word, number)| format!("{word} {number}")).collect();
            format!("{}, else 99", pairs.join(", "))
        }
        Conv::OneOf(words) => format!("one of {}", words.join(", ")),
        Conv::Ip => "address".to_owned(),
        Conv::Hex(bytes) => format!("{bytes} bytes in hexadecimal"),
        Conv::Behind(start) => format!("without `{start}`"),
        Conv::Outcome => "success 1, else 2".to_owned(),
        Conv::OutcomeName => "OCSF: unless success".to_owned(),
        Conv::HttpCode => "of HTTP, as a number".to_owned(),
        Conv::Code => "the code alone".to_owned(),
        Conv::Texts => "list".to_owned(),
        Conv::Named(path) => format!("list of objects with `{path}`"),
        Conv::Pairs => "list of objects with `name`, `value`".to_owned(),
        Conv::Header(name) => format!("the header `{name}`"),
        Conv::Hops => "list of addresses, without levels".to_owned(),
        Conv::Utf8 => "bytes that are text".to_owned(),
        Conv::TlsVersion => "0x0304 is `1.3`".to_owned(),
        Conv::HexNumber => "`0x` and hexadecimal digits".to_owned(),
        Conv::Digits => "number as text".to_owned(),
        Conv::AuditOutcome => "success, else failure".to_owned(),
        Conv::IpFamily => "ipv4 or ipv6".to_owned(),
        Conv::ActorType => "user, system, else service".to_owned(),
    }
}
