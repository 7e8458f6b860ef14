//! Bodies for fuzzers and for the seeded tests on a stable toolchain: what lies on disk or comes from a receiver.

use crate::config::SyslogBody;
use crate::matcher::{glob, globs_meet};
use crate::memory::{Delta, Memory};
use crate::message::Stored;
use crate::notice::{Item, Notice};
use crate::queue::Name;
use crate::render;
use crate::smtp::{Login, Replies, Session, Step};

/// Files of the queue, opened.
pub fn stored(data: &[u8]) {
    if let Some(stored) = Stored::from_bytes(data) {
        assert_eq!(Stored::from_bytes(&stored.to_bytes()).as_ref().map(|s| &s.body), Some(&stored.body));
    }
    if let Some(memory) = Memory::from_bytes(data) {
        assert_eq!(
            Memory::from_bytes(&memory.to_bytes()),
            Some(memory),
            "what was read must be written the same"
        );
    }
    if let Some(delta) = Delta::from_bytes(data) {
        let mut memory = Memory::default();
        memory.apply(delta);
    }
    if let Some(notice) = Notice::from_bytes(data) {
        assert!(crate::render::webhook::body(&notice, "https://example.org").starts_with(b"{"));
    }
}

/// Names of files, secrets of the configuration, and `Retry-After` of a receiver.
pub fn text(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Name::parse(text);
        if let Some((pattern, text)) = text.split_once('\n')
            && pattern.len() + text.len() < 2000
        {
            assert!(!glob(pattern, text) || globs_meet(pattern, pattern), "what fits a text meets itself");
        }
        let _ = crate::Secret::parse(text);
        let _ = crate::retry::retry_after(text, 1);
    }
}

/// Replies of a mail server, in pieces, through a whole conversation.
pub fn smtp(data: &[u8]) {
    let login = Login { user: "user", password: "password" };
    let mut session = Session::new(false, "[127.0.0.1]".to_owned(), Some(login), "a@b", "c@d", b".mail");
    let mut replies = Replies::default();
    let mut secure = false;
    for piece in data.chunks(7) {
        replies.push(piece);
        while let Ok(Some(reply)) = replies.next() {
            let mut step = session.reply(&reply);
            if step == Step::StartTls {
                secure = true;
                step = session.secured();
            }
            match step {
                Step::Send(bytes) => {
                    let clear = bytes.starts_with(b"EHLO ") || bytes == b"STARTTLS\r\n";
                    assert!(secure || clear, "nothing else goes out in clear text");
                }
                Step::StartTls | Step::Delivered(_) | Step::Failed { .. } => return,
            }
        }
    }
}

/// Notifications in every form.
pub fn forms(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let item = Item {
        explanation: Some(text.clone()),
        rule: text.clone(),
        resource: text.clone(),
        ..Item::default()
    };
    let notice = Notice {
        count: 2,
        items: vec![item],
        note: text.clone(),
        group: "g".to_owned(),
        ..Notice::default()
    };
    let link = "https://example.org";
    let json = [
        render::webhook::body(&notice, link),
        render::slack::body(&notice, link),
        render::pagerduty::body(&notice, link, "key"),
        render::alertmanager::body(&notice, link),
    ];
    assert!(json.iter().all(|body| serde_json::from_slice::<serde_json::Value>(body).is_ok()));
    for body in [SyslogBody::Text, SyslogBody::Json, SyslogBody::Cef] {
        let frames = render::syslog::frames(&notice, link, body);
        assert!(!frames.contains(&b'\n') && !frames.contains(&0), "one line each");
    }
    assert!(render::mail::mail(&notice, link, "msg_1", "a@b", "c@d").is_ok());
    let header_to = render::mail::mail(&notice, link, "msg_1", "a@b", &text);
    assert_eq!(header_to.is_err(), text.contains(['\r', '\n', '\0']));
}
