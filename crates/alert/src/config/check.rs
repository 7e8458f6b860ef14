//! Checks of all receivers, before anything starts. No error repeats an address or a secret.

use crate::config::{AlertConfig, AlertError, LOG, Mail, RECEIVERS_MAX, ReceiverKind, Syslog};
use crate::sign::Secret;
use ureq::http::Uri;

/// Longest name of a receiver, in bytes.
const NAME_MAX_BYTES: usize = 64;
/// Most replicas, or recipients, of one receiver.
const REPLICAS_MAX: usize = 16;
/// Where PagerDuty takes events.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// Where one queue's messages go.
pub(crate) enum Target {
    Webhook { url: Uri, secrets: Vec<Secret> },
    Slack { url: Uri },
    PagerDuty { url: Uri, routing_key: String },
    Alertmanager { url: Uri },
    Mail { server: Mail, to: String },
    Syslog(Syslog),
}

impl Target {
    /// The address of what is reached by HTTP.
    pub(crate) fn url(&self) -> Option<&Uri> {
        match self {
            Target::Webhook { url, .. } | Target::Slack { url } => Some(url),
            Target::PagerDuty { url, .. } | Target::Alertmanager { url } => Some(url),
            Target::Mail { .. } | Target::Syslog(_) => None,
        }
    }
}

/// Receivers that passed all checks.
pub(crate) struct Checked {
    /// A queue each.
    pub(crate) receivers: Vec<(String, Target)>,
    /// Names in the configuration, and the queues of each.
    pub(crate) names: Vec<(String, Vec<String>)>,
    /// Queues of the fallback receiver, and of the watchdog's.
    pub(crate) fallback: Vec<String>,
    pub(crate) watchdog: Vec<String>,
}

/// Checks all receivers.
pub(crate) fn check(config: &AlertConfig) -> Result<Checked, AlertError> {
    let mut checked =
        Checked { receivers: Vec::new(), names: Vec::new(), fallback: Vec::new(), watchdog: Vec::new() };
    for (at, webhook) in config.webhooks.iter().enumerate() {
        let name = if webhook.name.is_empty() { format!("webhook-{}", at + 1) } else { webhook.name.clone() };
        let kind = ReceiverKind::Webhook { url: webhook.url.clone(), secrets: webhook.secrets.clone() };
        checked.add(&format!("webhook[{at}]"), &name, &kind)?;
    }
    for (at, receiver) in config.receivers.iter().enumerate() {
        checked.add(&format!("receiver[{at}]"), &receiver.name, &receiver.kind)?;
    }
    checked.fallback = checked.queues("fallback", config.fallback.as_deref())?;
    checked.watchdog = checked.queues("watchdog", config.watchdog.as_deref())?;
    Ok(checked)
}

impl Checked {
    fn add(&mut self, place: &str, name: &str, kind: &ReceiverKind) -> Result<(), AlertError> {
        let wrong = |key: &str, why: &str| wrong(place, key, why);
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(fits) || name.starts_with('.')
        {
            return Err(wrong("name", "is not 1 to 64 letters, digits, '-', '_' or '.'"));
        }
        let targets = targets(kind).map_err(|(key, why)| wrong(key, why))?;
        let many = targets.len() > 1;
        let mut queues = Vec::new();
        for (at, target) in targets.into_iter().enumerate() {
            let queue = if many { format!("{name}.{}", at + 1) } else { name.to_owned() };
            if queue == LOG
                || self.receivers.iter().any(|(taken, _)| *taken == queue)
                || self.names.iter().any(|(taken, _)| taken == name)
            {
                return Err(wrong("name", "is taken; give each receiver its own"));
            }
            self.receivers.push((queue.clone(), target));
            queues.push(queue);
        }
        if self.receivers.len() > RECEIVERS_MAX {
            return Err(wrong("url", "more than 64 queues: receivers, replicas and recipients together"));
        }
        self.names.push((name.to_owned(), queues));
        Ok(())
    }

    fn queues(&self, key: &str, name: Option<&str>) -> Result<Vec<String>, AlertError> {
        let Some(name) = name else { return Ok(Vec::new()) };
        let found = self.names.iter().find(|(known, _)| known == name);
        found.map(|(_, queues)| queues.clone()).ok_or_else(|| wrong("alert", key, "names no receiver"))
    }
}

/// The queues of a receiver, or the key that is wrong, and why.
fn targets(kind: &ReceiverKind) -> Result<Vec<Target>, (&'static str, &'static str)> {
    match kind {
        ReceiverKind::Webhook { url, secrets } => {
            let url = http_url(url)?;
            if !(1..=2).contains(&secrets.len()) {
                return Err(("secrets", "needs one signing secret, or two while rotating"));
            }
            let secrets = secrets.iter().map(|s| Secret::parse(s)).collect::<Result<_, _>>();
            Ok(vec![Target::Webhook { url, secrets: secrets.map_err(|why| ("secrets", why))? }])
        }
        ReceiverKind::Slack { url } => Ok(vec![Target::Slack { url: http_url(url)? }]),
        ReceiverKind::PagerDuty { routing_key, url } => {
            if routing_key.len() != 32 || !routing_key.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(("routing_key", "is not 32 letters and digits"));
            }
            let url = http_url(if url.is_empty() { PAGERDUTY } else { url })?;
            Ok(vec![Target::PagerDuty { url, routing_key: routing_key.clone() }])
        }
        ReceiverKind::Alertmanager { urls } => {
            if urls.is_empty() || urls.len() > REPLICAS_MAX {
                return Err(("urls", "needs the address of each replica, 1 to 16"));
            }
            let target = |url: &String| http_url(&format!("{}/api/v2/alerts", url.trim_end_matches('/')));
            urls.iter().map(|url| Ok(Target::Alertmanager { url: target(url)? })).collect()
        }
        ReceiverKind::Mail(mail) => mails(mail),
        ReceiverKind::Syslog(syslog) => {
            check_host(&syslog.host, syslog.port)?;
            if syslog.plain && !is_loopback(&syslog.host) {
                return Err(("plain", "is for loopback addresses alone; use TLS"));
            }
            Ok(vec![Target::Syslog(syslog.clone())])
        }
    }
}

/// A queue for each recipient.
fn mails(mail: &Mail) -> Result<Vec<Target>, (&'static str, &'static str)> {
    check_host(&mail.host, mail.port)?;
    if mail.to.is_empty() || mail.to.len() > REPLICAS_MAX {
        return Err(("to", "needs 1 to 16 recipients"));
    }
    if !is_mailbox(&mail.from) {
        return Err(("from", "is not a plain address such as alerts@example.org"));
    }
    if !mail.to.iter().all(|to| is_mailbox(to)) {
        return Err(("to", "holds something that is not a plain address such as ops@example.org"));
    }
    if mail.user.is_empty() != mail.password.is_empty() {
        return Err(("password", "and user are given both or neither"));
    }
    if mail.user.contains('\0') || mail.password.contains('\0') {
        return Err(("password", "or user holds a NUL, which no login can carry"));
    }
    Ok(mail.to.iter().map(|to| Target::Mail { server: mail.clone(), to: to.clone() }).collect())
}

/// An address without display name, quotes, or anything that could end a line or an argument of SMTP.
pub(crate) fn is_mailbox(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !b"<>()[],;:\\\"@".contains(&b);
    let part = |part: &str| !part.is_empty() && part.bytes().all(fits);
    text.len() <= 254 && text.split_once('@').is_some_and(|(local, domain)| part(local) && part(domain))
}

fn check_host(host: &str, port: u16) -> Result<(), (&'static str, &'static str)> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(fits) {
        return Err(("host", "is not a name or an address"));
    }
    if port == 0 { Err(("port", "is missing")) } else { Ok(()) }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn http_url(text: &str) -> Result<Uri, (&'static str, &'static str)> {
    let url: Uri = text.parse().map_err(|_| ("url", "is not a URL"))?;
    let http = matches!(url.scheme_str(), Some("http" | "https"));
    if !http || url.host().is_none_or(str::is_empty) {
        return Err(("url", "is not http:// or https:// with a host"));
    }
    if url.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(("url", "holds a user or password; messages are signed instead"));
    }
    Ok(url)
}

fn wrong(place: &str, key: &str, why: &str) -> AlertError {
    AlertError::Setting { setting: format!("{place}.{key}"), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Webhook;

    fn webhook() -> Webhook {
        Webhook {
            name: String::new(),
            url: "https://alerts.example.org/hook?token=hush".into(),
            secrets: vec!["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3".into()],
        }
    }

    #[test]
    fn a_good_receiver_gets_a_name() {
        let checked =
            check(&AlertConfig { webhooks: vec![webhook(), webhook()], ..AlertConfig::default() }).unwrap();
        assert_eq!(
            checked.names.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(),
            ["webhook-1", "webhook-2"]
        );
    }

    #[test]
    fn each_wrong_setting_is_named_and_no_secret_repeated() {
        type Change = fn(&mut Webhook);
        let cases: [(Change, &str); 9] = [
            (|w| w.url = "ftp://hush/".into(), "webhook[0].url"),
            (|w| w.url = "https://user:hush@example.org/".into(), "user or password"),
            (|w| w.url = "not a url hush".into(), "is not a URL"),
            (|w| w.url = "/hush".into(), "webhook[0].url"),
            (|w| w.name = "a/b".into(), "webhook[0].name"),
            (|w| w.name = "log".into(), "is taken"),
            (|w| w.secrets.clear(), "needs one signing secret"),
            (|w| w.secrets = vec!["hush".into()], "whsec_"),
            (|w| w.secrets = vec!["whsec_aHVzaA==".into()], "24 to 64 bytes"),
        ];
        for (change, want) in cases {
            let mut webhook = webhook();
            change(&mut webhook);
            let config = AlertConfig { webhooks: vec![webhook], ..AlertConfig::default() };
            let error = check(&config).err().unwrap().to_string();
            assert!(error.contains(want) && !error.contains("hush"), "{error}");
        }
    }
}
