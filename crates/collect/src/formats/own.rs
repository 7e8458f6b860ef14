//! A format of the operator's own: a server's format string compiled, or a mapping declared in the configuration.
//!
//! The table of formats holds what everybody has; this one goes with an [`crate::Input`]. Its row is [`OWN`], which
//! reads a record by the format that came with it. Not part of detection: it was said what the records are.

use super::aws_logs::flow;
use super::postgres;
use super::web::{self, Compiled, Unknown};
use super::{Format, Record};
use crate::mapper::Mapper;
use crate::plan::{FormatError, nearest};
use crate::{Draft, Fault};

/// The row of a format that came with the input.
pub const OWN: Format = Format { name: "own", what: "the operator's own", looks: |_| false, parse };

/// Programs whose format strings are compiled.
pub const KINDS: [&str; 6] = ["nginx", "apache", "haproxy", "envoy", "postgres", "aws-vpc-flow"];

/// See the module.
#[derive(Clone, Debug)]
pub struct Own {
    name: &'static str,
    plan: Plan,
}

#[derive(Clone, Debug)]
enum Plan {
    Web(Compiled),
    Postgres(postgres::Prefix),
    Mapped(Box<Mapper>),
}

impl Own {
    /// Compiles the format string of one of [`KINDS`]: nginx's `log_format`, Apache's `LogFormat`, HAProxy's
    /// `log-format`, Envoy's format string, PostgreSQL's `log_line_prefix`, the fields of a flow log.
    ///
    /// # Errors
    /// There is no such kind, or the place in the string and what is wrong there.
    pub fn compile(kind: &str, text: &str) -> Result<Own, FormatError> {
        let Some(name) = KINDS.into_iter().find(|known| *known == kind) else {
            let what = format!("`{kind}` has no format strings; {} have", KINDS.join(", "));
            let nearest = nearest(kind, KINDS).map(str::to_owned);
            return Err(FormatError { at: 0, what, nearest });
        };
        let plan = match name {
            "nginx" => Plan::Web(web::nginx::compile(text)?),
            "apache" => Plan::Web(web::apache::compile(text)?),
            "haproxy" => Plan::Web(web::haproxy::compile(text)?),
            "envoy" => Plan::Web(web::envoy::compile(text)?),
            "postgres" => Plan::Postgres(postgres::compile(text)?),
            _ => Plan::Web(flow::compile(text)?),
        };
        Ok(Own { name, plan })
    }

    /// Of a declared mapping. Its name lives as long as the process: configurations are read a few times in one.
    pub fn mapped(mapper: Mapper) -> Own {
        Own { name: String::leak(mapper.name().to_owned()), plan: Plan::Mapped(Box::new(mapper)) }
    }

    /// What stands in `cap.fmt`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Fields of the format string that no rule knows; they go to `unmapped`.
    pub fn unknown(&self) -> &[Unknown] {
        match &self.plan {
            Plan::Web(compiled) => &compiled.unknown,
            _ => &[],
        }
    }

    /// How the records of a file are told apart.
    pub fn framing(&self) -> crate::files::Framing {
        match (&self.plan, self.name) {
            (Plan::Postgres(_), _) => crate::files::Framing::Indented,
            (Plan::Mapped(mapper), _) if mapper.is_csv() => crate::files::Framing::Csv,
            _ => crate::files::Framing::Lines,
        }
    }
}

/// The name of `format`, which may be the one that came with the record.
pub(crate) fn name_of(format: &Format, own: Option<&Own>) -> &'static str {
    match own {
        Some(own) if format.name == OWN.name => own.name,
        _ => format.name,
    }
}

fn parse(record: &Record<'_>) -> Result<Draft, Fault> {
    match record.own.map(|own| &own.plan) {
        Some(Plan::Web(compiled)) => compiled.parse(record),
        Some(Plan::Postgres(prefix)) => prefix.parse(record),
        Some(Plan::Mapped(mapper)) => mapper.parse(record),
        None => Err(Fault::new(0, "no format of the operator's own came with the record")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, Keeper, observe};
    use countersign_event::CaptureConf;
    use countersign_redact::Scanner;
    use std::sync::Arc;

    fn event(input: &Input, format: &Format, record: &str) -> countersign_event::Event {
        let keeper = Keeper::new(Scanner::default(), &[7; 32]);
        observe(record.as_bytes(), Some(format), input, &keeper, 1_790_000_000_000_000_000)
    }

    #[test]
    fn a_format_string_reads_records_that_no_known_format_takes() {
        for (kind, text, line, op) in [
            (
                "nginx",
                "$status|$time_iso8601|$remote_addr|$request",
                "200|2024-03-13T12:08:33+00:00|192.0.2.1|GET /a HTTP/1.1",
                "GET",
            ),
            ("apache", "%>s|%t|%h|%r", "200|[13/Mar/2024:12:08:33 +0000]|192.0.2.1|GET /a HTTP/1.1", "GET"),
            ("haproxy", "%ST|%T|%ci|%HM", "200|13/Mar/2024:12:08:33 +0000|192.0.2.1|GET", "GET"),
            (
                "envoy",
                "%RESPONSE_CODE%|%START_TIME%|%REQ(:METHOD)%",
                "200|2024-03-13T12:08:33.000Z|GET",
                "GET",
            ),
        ] {
            let mut input = Input::new("a");
            input.own = Some(Arc::new(Own::compile(kind, text).unwrap()));
            let event = event(&input, &OWN, line);
            let capture = event.body.cap.as_ref().unwrap();
            assert_eq!(
                (capture.fmt.as_str(), capture.conf),
                (kind, Some(CaptureConf::Full)),
                "{}",
                event.content.err
            );
            assert_eq!((event.core.op.as_str(), event.core.status.as_ref().unwrap().1.as_str()), (op, "200"));
        }
    }

    #[test]
    fn inside_an_envelope_it_is_named_as_what_was_carried() {
        let mut input = Input::new("a");
        input.own = Some(Arc::new(Own::compile("nginx", "$status|$remote_addr|$request").unwrap()));
        input.inner = Some(&OWN);
        let syslog = crate::formats::by_name("syslog").unwrap();
        let event = event(&input, syslog, "<34>Mar 13 12:08:33 web1 nginx[7]: 503|192.0.2.1|GET /a HTTP/1.1");
        assert_eq!(event.core.op, "GET");
        assert!(event.body.cap.as_ref().unwrap().fmt.contains("nginx"), "{:?}", event.body.cap);
    }

    #[test]
    fn a_kind_without_format_strings_and_a_wrong_string_are_refused_with_the_nearest() {
        assert!(
            Own::compile("ngnix", "$status").unwrap_err().to_string().contains("nearest right name: nginx")
        );
        assert!(Own::compile("haproxy", "%zz").is_err());
        let own = Own::compile("nginx", "$remote_adr $status").unwrap();
        assert_eq!(own.unknown()[0].nearest.as_deref(), Some("remote_addr"));
    }
}
