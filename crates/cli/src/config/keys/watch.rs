//! Keys of who is told of findings, and of what is held against the record: witnesses and expectations.

use super::super::schema::{Key, Kind};
use super::{HOUR, SECOND, key, required};

/// In the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    required(
        "receiver[].name",
        Kind::Text,
        "Name in routes, records and counters: letters, digits, -, _ and . only.",
    ),
    key(
        "receiver[].kind",
        Kind::Word(&["webhook", "slack", "pagerduty", "alertmanager", "mail", "syslog"]),
        "\"webhook\"",
        "How it is told: Standard Webhooks, Slack's incoming webhook, PagerDuty Events v2, Alertmanager, e-mail, or syslog \
         over TLS.",
    ),
    key(
        "receiver[].urls",
        Kind::Texts,
        "[]",
        "Where to: one address for webhook, each replica for alertmanager, optional for pagerduty. Slack's is a secret: \
         secret_file.",
    ),
    key(
        "receiver[].secret_file",
        Kind::Path,
        "",
        "File with the secret: webhook's signing secret, slack's address, pagerduty's integration key, mail's password.",
    ),
    key("receiver[].secret_env", Kind::Text, "", "Name of the environment variable with the secret."),
    key("receiver[].host", Kind::Text, "", "Server of mail or syslog."),
    key(
        "receiver[].port",
        Kind::Count(1, 65_535),
        "587",
        "Its port; 6514 is the default for syslog, 465 for mail with tls = \"implicit\".",
    ),
    key(
        "receiver[].tls",
        Kind::Word(&["starttls", "implicit", "none"]),
        "\"starttls\"",
        "mail: STARTTLS, without which nothing is sent, or TLS from the first byte. syslog: TLS, or none, to this machine \
         alone.",
    ),
    key("receiver[].user", Kind::Text, "", "mail: user of the login; empty = none."),
    key("receiver[].from", Kind::Text, "", "mail: sender."),
    key("receiver[].to", Kind::Texts, "[]", "mail: recipients."),
    key(
        "receiver[].body",
        Kind::Word(&["text", "json", "cef"]),
        "\"text\"",
        "syslog: a sentence, a JSON object, or the Common Event Format.",
    ),
    key("alert.receivers", Kind::Texts, "(all)", "Receivers of what no route takes."),
    key(
        "alert.group_by",
        Kind::Texts,
        "[\"tenant\", \"rule\"]",
        "What findings have in common that are told together: tenant, rule, severity, caller, service, resource, source.",
    ),
    key(
        "alert.wait",
        Kind::Span(0, HOUR),
        "\"10s\"",
        "The first finding of a group is told at once; the second message waits this long for others.",
    ),
    key(
        "alert.interval",
        Kind::Span(SECOND, 24 * HOUR),
        "\"5m\"",
        "Least time between further messages of a group.",
    ),
    key(
        "alert.fallback",
        Kind::Text,
        "",
        "Receiver that gets what another one has not taken for five minutes, or never will.",
    ),
    key(
        "alert.watchdog",
        Kind::Text,
        "",
        "Receiver that is told every minute that alerts work; when that stops, something else must ring.",
    ),
    key(
        "route[].rule",
        Kind::Text,
        "",
        "Rule id, with * and ?. Routes are tried in order, the first that holds is taken.",
    ),
    key(
        "route[].severity",
        Kind::Word(&["informational", "low", "medium", "high", "critical"]),
        "\"informational\"",
        "This severity and above.",
    ),
    key("route[].label", Kind::Text, "", "A label of the finding."),
    key("route[].caller", Kind::Text, "", "Caller, with * and ?."),
    key("route[].service", Kind::Text, "", "Service called, with * and ?."),
    key("route[].source", Kind::Text, "", "Input or route that the evidence came by."),
    key("route[].tenant", Kind::Text, "", "Tenant, with * and ?."),
    required("route[].receivers", Kind::Texts, "Who is told."),
    key("route[].continue", Kind::Bool, "false", "Whether the routes behind it are tried too."),
    key(
        "coverage.expected",
        Kind::Texts,
        "[]",
        "What should be: service lists, Kubernetes and Istio manifests, OpenAPI, protobuf, grants of a database. Files; a \
         document that names no service is about the one before = in service=file.",
    ),
    key(
        "slo.files",
        Kind::Texts,
        "[]",
        "Promises to callers, as OpenSLO v1 documents: a finding when their error budget burns too fast.",
    ),
    key(
        "contract.files",
        Kind::Texts,
        "[]",
        "What services answer, as OpenAPI 3 and protobuf documents; service=file where a document names none. Without one, \
         what was learned.",
    ),
    required("witness[].name", Kind::Text, "Name in records: proc:web-1."),
    key(
        "witness[].kind",
        Kind::Word(&["proc", "conntrack", "postgres", "redis", "nats"]),
        "\"proc\"",
        "Who looks: this machine's kernel, its connection tracker, or the called server itself.",
    ),
    key(
        "witness[].upstreams",
        Kind::Texts,
        "(the upstreams of all listeners)",
        "Addresses, IP:PORT, whose connections must all be on record. For postgres, redis and nats: the server's own.",
    ),
    key(
        "witness[].gateways",
        Kind::Texts,
        "[]",
        "IP addresses that only gateways call from; those of this process are known.",
    ),
    key(
        "witness[].command",
        Kind::Texts,
        "[]",
        "Program and arguments that print what is seen, run at each look: [\"conntrack\", \"-L\"], or psql --csv with the \
         query of the guide. Nothing of any event is ever part of it.",
    ),
    key(
        "witness[].file",
        Kind::Path,
        "",
        "File that holds what is seen, read at each look, instead of a command.",
    ),
    key(
        "witness[].user",
        Kind::Text,
        "",
        "redis: user of the login; its password is in the file that `file` names.",
    ),
    key("witness[].every", Kind::Span(SECOND, HOUR), "\"10s\"", "How often it looks."),
];
