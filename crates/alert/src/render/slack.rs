//! A message of Slack's incoming webhook: blocks, and plain text for notifications.
//!
//! Invariants: at most 50 blocks, headers of 150 and sections of 3,000 characters; `& < >` are escaped and `verbatim` is
//! set, so no name from the wire makes a link, a mention or a ping.

use crate::notice::{Item, Kind, Notice};
use crate::render::escaped;
use crate::render::webhook::event_link;
use countersign_event::Severity;
use serde_json::{Value, json};

/// Longest header, in characters.
const HEADER_MAX: usize = 150;
/// Longest text of a section, in characters.
const SECTION_MAX: usize = 3000;
/// Longest plain text, in characters.
const TEXT_MAX: usize = 1000;

pub(crate) fn body(notice: &Notice, link: &str) -> Vec<u8> {
    let severity = notice.severity().word();
    let title = match notice.kind {
        Kind::Findings if notice.count > 1 => {
            format!("{severity}: {} findings of {}", notice.count, notice.rule())
        }
        Kind::Findings => format!("{severity}: {}", notice.rule()),
        Kind::Summary | Kind::Watchdog => "countersign".to_owned(),
    };
    // A header is plain text: nothing in it is markup, and nothing needs escaping.
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "emoji": false, "text": escaped(&title, HEADER_MAX, control)},
    })];
    if !notice.note.is_empty() {
        blocks.push(section(&markup(&notice.note, SECTION_MAX)));
    }
    blocks.extend(notice.items.iter().map(|item| section(&line(item, link))));
    let left = notice.count.saturating_sub(notice.items.len() as u64);
    if left > 0 && notice.kind == Kind::Findings {
        let range = format!("and {left} more, ledger index {} to {}", notice.first_index, notice.last_index);
        let all = if link.is_empty() { String::new() } else { format!(" <{}/alerts|all>", address(link)) };
        blocks.push(section(&format!("{range}{all}")));
    }
    json!({ "text": markup(&notice.headline(), TEXT_MAX), "blocks": blocks }).to_string().into_bytes()
}

fn line(item: &Item, link: &str) -> String {
    let severity = Severity::from_code(item.severity).map_or("", Severity::word);
    // Room for severity and link.
    let sentence = markup(&item.sentence(), SECTION_MAX - 700);
    let seen = event_link(link, item.index).map(|at| format!(" <{}|index {}>", address(&at), item.index));
    format!("*{severity}* {sentence}{}", seen.unwrap_or_default())
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "verbatim": true, "text": text}})
}

/// Hostile text inside markup.
fn markup(text: &str, max: usize) -> String {
    escaped(text, max, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        // Formatting characters would let a name look like something else.
        '*' => Some("\u{2217}"),
        '~' => Some("\u{223c}"),
        '`' => Some("'"),
        c => control(c),
    })
}

fn control(c: char) -> Option<&'static str> {
    c.is_control().then_some(" ")
}

/// The dashboard's address comes from the configuration, yet it must not end the link.
fn address(link: &str) -> String {
    link.chars().filter(|c| !matches!(c, '<' | '>' | '|') && !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn notice(explanation: &str, items: usize) -> Notice {
        let item =
            Item { explanation: Some(explanation.to_owned()), severity: 4, index: 7, ..Item::default() };
        Notice { count: 100, severity: 4, items: vec![item; items], ..Notice::default() }
    }

    #[test]
    fn a_resource_named_channel_pings_nobody() {
        let body = body(&notice("<!channel> & <https://evil|ok> @here", 1), "http://d");
        let json: Value = serde_json::from_slice(&body).unwrap();
        let text = json["blocks"][1]["text"]["text"].as_str().unwrap();
        assert!(text.contains("&lt;!channel&gt; &amp; &lt;https://evil|ok&gt;"), "{text}");
        assert!(text.ends_with("<http://d/events/7|index 7>"));
        assert_eq!(json["blocks"][1]["text"]["verbatim"], true);
        assert!(!json["text"].as_str().unwrap().contains('<'));
    }

    proptest! {
        #[test]
        fn every_bound_of_slack_holds(text in ".{0,1100}", grow in 1..4usize, items in 0..=10usize, rule in ".{0,400}") {
            let mut notice = notice(&text.repeat(grow), items);
            notice.labels = vec![("rule".into(), rule)];
            notice.note = text.clone();
            let json: Value = serde_json::from_slice(&body(&notice, &"h".repeat(600))).unwrap();
            let blocks = json["blocks"].as_array().unwrap();
            prop_assert!(blocks.len() <= 50);
            prop_assert!(blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= HEADER_MAX);
            for block in &blocks[1..] {
                let text = block["text"]["text"].as_str().unwrap();
                prop_assert!(text.chars().count() <= SECTION_MAX && !text.is_empty());
            }
        }
    }
}
