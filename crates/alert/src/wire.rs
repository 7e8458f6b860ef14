//! Mail and syslog, sent: the conversations of `smtp.rs` and the frames of `render/syslog.rs` over `dial.rs`.

use crate::config::{Mail, Syslog, Timing};
use crate::dial::Connection;
use crate::notice::Notice;
use crate::render;
use crate::retry::Attempt;
use crate::smtp::{Login, Replies, Session, Step};
use rustls::ClientConfig;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a syslog server gets to close the connection after the last message.
const FAREWELL: Duration = Duration::from_secs(1);

/// One mail.
pub(crate) fn mail(
    server: &Mail,
    to: &str,
    mail: &[u8],
    tls: &Arc<ClientConfig>,
    timing: &Timing,
) -> Attempt {
    match converse(server, to, mail, tls, timing) {
        Ok(attempt) => attempt,
        Err(why) => failed(why),
    }
}

fn converse(
    server: &Mail,
    to: &str,
    mail: &[u8],
    tls: &Arc<ClientConfig>,
    timing: &Timing,
) -> Result<Attempt, String> {
    let mut connection = Connection::open(&server.host, server.port, false, timing)?;
    if server.implicit_tls {
        connection.secure(&server.host, tls)?;
    }
    let hello = match connection.local().map(|at| at.ip()) {
        Some(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Some(IpAddr::V4(ip)) => format!("[{ip}]"),
        None => "localhost".to_owned(),
    };
    let login = Login { user: &server.user, password: &server.password };
    let login = (!server.user.is_empty()).then_some(login);
    let mut session = Session::new(server.implicit_tls, hello, login, &server.from, to, mail);
    let mut replies = Replies::default();
    loop {
        let reply = loop {
            if let Some(reply) = replies.next()? {
                break reply;
            }
            let bytes = connection.read()?;
            if bytes.is_empty() {
                return Err("it closed the connection".to_owned());
            }
            replies.push(&bytes);
        };
        let mut step = session.reply(&reply);
        if step == Step::StartTls {
            // What came along in clear text would be taken for said under TLS.
            if !replies.is_empty() {
                return Err("it sent more than its answer to STARTTLS".to_owned());
            }
            connection.secure(&server.host, tls)?;
            step = session.secured();
        }
        match step {
            Step::Send(bytes) => connection.write(&bytes)?,
            Step::StartTls => return Err("STARTTLS twice".to_owned()),
            Step::Delivered(farewell) => {
                // The mail is taken; how the conversation ends changes nothing.
                let _ = connection.write(&farewell);
                return Ok(Attempt::Delivered { status: 0 });
            }
            Step::Failed { permanent: true, why } => return Ok(Attempt::Refused { status: 0, why }),
            Step::Failed { permanent: false, why } => return Ok(failed(why)),
        }
    }
}

/// The frames of one notification.
pub(crate) fn syslog(
    server: &Syslog,
    notice: &Notice,
    link: &str,
    tls: Option<&Arc<ClientConfig>>,
    timing: &Timing,
) -> Attempt {
    let send = || -> Result<(), String> {
        let mut connection = Connection::open(&server.host, server.port, server.plain, timing)?;
        if !server.plain {
            let tls = tls.ok_or_else(|| "no TLS".to_owned())?;
            connection.secure(&server.host, tls)?;
        }
        connection.write(&render::syslog::frames(notice, link, server.body))?;
        connection.finish(FAREWELL)
    };
    match send() {
        Ok(()) => Attempt::Delivered { status: 0 },
        Err(why) => failed(why),
    }
}

fn failed(why: String) -> Attempt {
    Attempt::Failed { status: None, after: None, why }
}
