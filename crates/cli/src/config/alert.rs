//! Who is told of findings: from declared keys to types. Secrets stay where they are until a start reads them.

use super::{ConfigError, Reader, SecretSource};
use countersign_alert::{GroupBy, Match, Route, SyslogBody};
use countersign_event::Severity;
use std::time::Duration;

/// Receivers and routes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alerting {
    /// Receivers beside plain webhooks.
    pub(crate) receivers: Vec<Receiver>,
    /// The root of the routes; `None` = everybody gets everything.
    pub(crate) route: Option<Route>,
    /// Who gets what others do not take.
    pub(crate) fallback: Option<String>,
    /// Who is told that alerts work.
    pub(crate) watchdog: Option<String>,
}

/// A receiver whose secret is not read yet.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) urls: Vec<String>,
    pub(crate) secret: Option<SecretSource>,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: String,
    pub(crate) user: String,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) body: SyslogBody,
}

impl Reader<'_> {
    pub(super) fn alerting(&self) -> Result<Alerting, ConfigError> {
        let receivers = self.each("receiver", |at| self.receiver(at))?;
        let routes = self.each("route", |at| self.alert_route(at))?;
        let own = self.texts("alert.receivers", &[]);
        let group_by = self.group_by()?;
        let span = |name: &str| self.settings.get(name).map(|_| Duration::from_millis(self.number(name, 0)));
        let (wait, interval) = (span("alert.wait"), span("alert.interval"));
        let said = !routes.is_empty()
            || !own.is_empty()
            || !group_by.is_empty()
            || wait.is_some()
            || interval.is_some();
        let route = said.then(|| {
            let all = || {
                let webhooks = (1..=self.settings.count("webhook")).map(|n| format!("webhook-{n}"));
                webhooks.chain(receivers.iter().map(|receiver| receiver.name.clone())).collect()
            };
            let receivers = if own.is_empty() { all() } else { own };
            Route { receivers, group_by, wait, interval, routes, ..Route::default() }
        });
        let (fallback, watchdog) = (self.text("alert.fallback"), self.text("alert.watchdog"));
        Ok(Alerting { receivers, route, fallback, watchdog })
    }

    fn group_by(&self) -> Result<Vec<GroupBy>, ConfigError> {
        let word = |word: String| {
            GroupBy::from_word(&word).ok_or_else(|| {
                let what = format!(
                    "`{word}` is none of tenant, rule, severity, caller, service, resource and source"
                );
                self.settings.conflict("alert.group_by", what)
            })
        };
        self.texts("alert.group_by", &[]).into_iter().map(word).collect()
    }

    fn receiver(&self, at: &str) -> Result<Receiver, ConfigError> {
        let word = |name: &str, default: &str| {
            self.text(&format!("{at}.{name}")).unwrap_or_else(|| default.to_owned())
        };
        let kind = word("kind", "webhook");
        let tls = word("tls", "starttls");
        let port = match (kind.as_str(), tls.as_str()) {
            ("syslog", _) => 6_514,
            (_, "implicit") => 465,
            _ => 587,
        };
        let port = u16::try_from(self.number(&format!("{at}.port"), port)).unwrap_or(u16::MAX);
        let receiver = Receiver {
            name: self.need(at, "name"),
            urls: self.texts(&format!("{at}.urls"), &[]),
            secret: self.secret(at)?,
            host: word("host", ""),
            port,
            user: word("user", ""),
            from: word("from", ""),
            to: self.texts(&format!("{at}.to"), &[]),
            body: SyslogBody::from_word(&word("body", "text")).unwrap_or_default(),
            kind,
            tls,
        };
        let needs = |has: bool, what: &str| match has {
            true => Ok(()),
            false => Err(self.settings.conflict(at, format!("kind = \"{}\" needs {what}", receiver.kind))),
        };
        let secret = receiver.secret.is_some();
        match receiver.kind.as_str() {
            "slack" => needs(secret, "`secret_file` or `secret_env` with the address that Slack gave")?,
            "pagerduty" => needs(secret, "`secret_file` or `secret_env` with the integration key")?,
            "alertmanager" => needs(!receiver.urls.is_empty(), "`urls`, one a replica")?,
            "mail" => {
                needs(!receiver.host.is_empty() && !receiver.from.is_empty(), "`host` and `from`")?;
                needs(!receiver.to.is_empty(), "`to`")?;
            }
            "syslog" => needs(!receiver.host.is_empty(), "`host`")?,
            _ => needs(secret && receiver.urls.len() == 1, "one address in `urls`, and its signing secret")?,
        }
        Ok(receiver)
    }

    fn alert_route(&self, at: &str) -> Result<Route, ConfigError> {
        let text = |name: &str| self.text(&format!("{at}.{name}")).unwrap_or_default();
        let severity = text("severity");
        let severity = Severity::ALL.iter().find(|s| s.word() == severity).map_or(0, |s| s.code());
        let holds = Match {
            rule: text("rule"),
            severity,
            label: text("label"),
            caller: text("caller"),
            service: text("service"),
            source: text("source"),
            tenant: text("tenant"),
        };
        Ok(Route {
            matches: vec![holds],
            receivers: self.texts(&format!("{at}.receivers"), &[]),
            go_on: self.on(&format!("{at}.continue")),
            ..Route::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;

    #[test]
    fn receivers_say_what_they_need_and_routes_who_is_told() {
        let slack = "[[receiver]]\nname=\"chat\"\nkind=\"slack\"\nsecret_env=\"SLACK\"\n";
        let route = "[[route]]\nrule=\"rate-*\"\nseverity=\"high\"\nreceivers=[\"chat\"]\ncontinue=true\n";
        let read = config(&format!("{slack}{route}[alert]\nreceivers=[\"chat\"]\nwait=\"1s\"\n")).unwrap();
        let root = read.alerting.route.unwrap();
        assert_eq!(
            (root.receivers.as_slice(), root.wait.unwrap().as_secs()),
            (["chat".to_owned()].as_slice(), 1)
        );
        let child = &root.routes[0];
        assert_eq!(
            (child.matches[0].rule.as_str(), child.matches[0].severity, child.go_on),
            ("rate-*", 4, true)
        );
        assert!(config(slack).unwrap().alerting.route.is_none(), "everybody gets everything");
        for (text, why) in [
            ("kind=\"slack\"\n", "address that Slack gave"),
            ("kind=\"pagerduty\"\n", "integration key"),
            ("kind=\"alertmanager\"\n", "one a replica"),
            ("kind=\"mail\"\nhost=\"h\"\nfrom=\"a@b\"\n", "`to`"),
            ("kind=\"mail\"\n", "`host` and `from`"),
            ("kind=\"syslog\"\n", "`host`"),
            ("urls=[\"https://a/\"]\n", "signing secret"),
            ("kind=\"slack\"\nsecret_env=\"A\"\nsecret_file=\"b\"\n", "exactly one"),
        ] {
            let error = config(&format!("[[receiver]]\nname=\"a\"\n{text}")).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = config("[alert]\ngroup_by=[\"weather\"]\n").unwrap_err().to_string();
        assert!(error.contains("`weather`"), "{error}");
    }
}
