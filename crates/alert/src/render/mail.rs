//! A mail: text and simple HTML.
//!
//! Invariants: no header value holds CR, LF or NUL (a mail with one is refused, not mended); the `Message-ID` is the
//! message's id, so it is the same over retries; later mails of a group refer to its first; bodies are base64, so no
//! line is long and none begins with a dot.

use crate::notice::{Kind, Notice};
use crate::render::webhook::event_link;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Longest subject, in bytes before it is encoded.
const SUBJECT_MAX_BYTES: usize = 200;
/// Bytes of base64 a line (RFC 2045: at most 76).
const LINE_BYTES: usize = 76;
/// Bytes of text in one encoded word: with its frame at most 75 characters (RFC 2047).
const WORD_BYTES: usize = 42;

/// A header value that could end its line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) &'static str);

/// The whole mail, lines ended by CR LF.
pub(crate) fn mail(notice: &Notice, link: &str, id: &str, from: &str, to: &str) -> Result<Vec<u8>, Refused> {
    let domain = from.split_once('@').map_or("countersign.invalid", |(_, domain)| domain);
    let boundary = format!("=_{id}");
    let mut out = String::new();
    let mut header = |name: &'static str, value: &str| {
        if value.contains(['\r', '\n', '\0']) {
            return Err(Refused(name));
        }
        out.push_str(&format!("{name}: {value}\r\n"));
        Ok(())
    };
    header("From", &format!("Countersign <{from}>"))?;
    header("To", &format!("<{to}>"))?;
    header("Date", &crate::time::mail_date(notice.made_ns))?;
    header("Message-ID", &format!("<{id}@{domain}>"))?;
    if !notice.thread.is_empty() {
        header("In-Reply-To", &format!("<{}@{domain}>", notice.thread))?;
        header("References", &format!("<{}@{domain}>", notice.thread))?;
    }
    header("Auto-Submitted", "auto-generated")?;
    header("MIME-Version", "1.0")?;
    header("Content-Type", &format!("multipart/alternative; boundary=\"{boundary}\""))?;
    // Folded, so its line breaks are ours.
    out.push_str(&format!("Subject: {}\r\n\r\n", subject(notice)));
    for (kind, text) in [("plain", text(notice, link)), ("html", html(notice, link))] {
        out.push_str(&format!("--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\n"));
        out.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
        out.push_str(&lines(text.as_bytes()));
    }
    out.push_str(&format!("--{boundary}--\r\n"));
    Ok(out.into_bytes())
}

/// The subject as encoded words, whatever is in it; ASCII without anything special stays readable.
fn subject(notice: &Notice) -> String {
    let text = match notice.kind {
        Kind::Findings => format!("[{}] {}", notice.severity().word(), notice.headline()),
        Kind::Summary | Kind::Watchdog => format!("[countersign] {}", notice.headline()),
    };
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = crate::message::clip(&text, SUBJECT_MAX_BYTES);
    let plain =
        text.len() <= 60 && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && !text.contains("=?");
    if plain {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(crate::message::clip(rest, WORD_BYTES).len());
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

fn text(notice: &Notice, link: &str) -> String {
    let mut out = format!("{}\n\n", notice.headline());
    if !notice.note.is_empty() && notice.kind == Kind::Findings {
        out.push_str(&format!("{}\n\n", notice.note));
    }
    for item in &notice.items {
        out.push_str(&format!("- {}\n", item.sentence()));
        if let Some(at) = event_link(link, item.index) {
            out.push_str(&format!("  {at}\n"));
        }
        if let Some(query) = &item.query {
            out.push_str(&format!("  evidence: {query}\n"));
        }
    }
    if let Some(rest) = rest(notice) {
        out.push_str(&format!("\n{rest}\n"));
    }
    out
}

fn rest(notice: &Notice) -> Option<String> {
    let left = notice.count.saturating_sub(notice.items.len() as u64);
    let told = left > 0 && notice.kind == Kind::Findings;
    told.then(|| format!("and {left} more, ledger index {} to {}", notice.first_index, notice.last_index))
}

fn html(notice: &Notice, link: &str) -> String {
    let mut out = format!("<p><b>{}</b></p>", escape(&notice.headline()));
    if !notice.note.is_empty() && notice.kind == Kind::Findings {
        out.push_str(&format!("<p>{}</p>", escape(&notice.note)));
    }
    out.push_str("<ul>");
    for item in &notice.items {
        let sentence = escape(&item.sentence());
        match event_link(link, item.index) {
            Some(at) => {
                out.push_str(&format!("<li>{sentence} <a href=\"{}\">{}</a></li>", escape(&at), item.index))
            }
            None => out.push_str(&format!("<li>{sentence}</li>")),
        }
    }
    out.push_str("</ul>");
    if let Some(rest) = rest(notice) {
        out.push_str(&format!("<p>{}</p>", escape(&rest)));
    }
    out
}

fn escape(text: &str) -> String {
    super::escaped(text, usize::MAX, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        _ => None,
    })
}

fn lines(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut out = String::with_capacity(encoded.len() + encoded.len() / 38);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_BYTES));
        out.push_str(line);
        out.push_str("\r\n");
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Item;
    use proptest::prelude::*;

    fn notice(explanation: &str) -> Notice {
        let item = Item { explanation: Some(explanation.into()), state: 1, index: 7, ..Item::default() };
        Notice { severity: 4, state: 1, count: 1, items: vec![item], ..Notice::default() }
    }

    #[test]
    fn a_line_break_in_a_header_is_refused() {
        let id = "msg_0";
        assert_eq!(mail(&notice("x"), "", id, "a@b\r\nBcc: evil@c", "d@e"), Err(Refused("From")));
        assert_eq!(mail(&notice("x"), "", id, "a@b", "d@e\nX: y"), Err(Refused("To")));
        assert_eq!(mail(&notice("x"), "", "m\r", "a@b", "d@e"), Err(Refused("Message-ID")));
        let thread = Notice { thread: "m\n".into(), ..notice("x") };
        assert_eq!(mail(&thread, "", id, "a@b", "d@e"), Err(Refused("In-Reply-To")));
    }

    #[test]
    fn an_update_answers_the_first_mail_and_nobody_answers_us() {
        let update = Notice { thread: "msg_root".into(), revision: 2, ..notice("x") };
        let text = String::from_utf8(mail(&update, "", "msg_2", "a@example.org", "d@e").unwrap()).unwrap();
        for want in [
            "Message-ID: <msg_2@example.org>\r\n",
            "In-Reply-To: <msg_root@example.org>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n",
            "Subject: [high] x\r\n",
        ] {
            assert!(text.contains(want), "{want} in {text}");
        }
        let first = String::from_utf8(mail(&notice("x"), "", "msg_1", "a@b", "d@e").unwrap()).unwrap();
        assert!(!first.contains("In-Reply-To"));
    }

    #[test]
    fn names_are_text_in_html() {
        assert!(
            html(&notice("<img src=x onerror='a'>&\""), "")
                .contains("&lt;img src=x onerror=&#39;a&#39;&gt;&amp;&quot;")
        );
    }

    proptest! {
        #[test]
        fn whatever_a_name_holds_the_mail_keeps_its_shape(text in "(\r\n|\n\\.|\r|[\\x00-\\x20]|=\\?|.|[äß漢]){0,120}") {
            let bytes = mail(&notice(&text), "http://d", "msg_1", "a@b", "d@e").unwrap();
            let mail = String::from_utf8(bytes).unwrap();
            prop_assert!(!mail.replace("\r\n", "").contains(['\r', '\n']));
            let (head, _) = mail.split_once("\r\n\r\n").unwrap();
            let names: Vec<&str> = head.split("\r\n").filter(|l| !l.starts_with(' ')).map(|l| l.split(':').next().unwrap()).collect();
            prop_assert_eq!(names, ["From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type", "Subject"]);
            for line in mail.split("\r\n") {
                prop_assert!(line.len() <= 100 && !line.starts_with('.'), "{}", line);
            }
        }
    }
}
