//! Bounds: from declared keys to types. Those of the gateway are the gateway's own type, so that a default stands in
//! one place there and is compared with the declared one by a test.

use super::Reader;
use countersign_gateway::Limits as GatewayLimits;
use std::time::Duration;

/// Bounds of gateway, ledger and search.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Those of the gateway.
    pub(crate) gateway: GatewayLimits,
    /// Longest drain at shutdown.
    pub(crate) drain_time: Duration,
    /// Most write-ahead log outside of segments, bytes.
    pub(crate) unsealed: u64,
    /// Longest query.
    pub(crate) query_time: Duration,
    /// Most memory of a query, bytes.
    pub(crate) query_memory: u64,
}

impl Reader<'_> {
    pub(super) fn limits(&self) -> Limits {
        let mut gateway = GatewayLimits::default();
        self.gateway_counts(&mut gateway);
        self.gateway_spans(&mut gateway);
        Limits {
            gateway,
            drain_time: self.span("limits.drain_time", 30_000),
            unsealed: self.number("limits.unsealed", 4 << 30),
            query_time: self.span("limits.query_time", 30_000),
            query_memory: self.number("limits.query_memory", 512 << 20),
        }
    }

    fn gateway_counts(&self, to: &mut GatewayLimits) {
        for (key, field) in counts(to) {
            *field = usize::try_from(self.number(key, *field as u64)).unwrap_or(usize::MAX);
        }
        for (key, field) in
            [("limits.h2_streams", &mut to.h2_streams), ("limits.h2_header_list", &mut to.h2_header_list)]
        {
            *field = u32::try_from(self.number(key, u64::from(*field))).unwrap_or(u32::MAX);
        }
        to.body_rate = self.number("limits.body_rate", to.body_rate);
    }

    fn gateway_spans(&self, to: &mut GatewayLimits) {
        for (key, field) in spans(to) {
            let default_ms = u64::try_from(field.as_millis()).unwrap_or(u64::MAX);
            *field = self.span(key, default_ms);
        }
    }
}

fn counts(of: &mut GatewayLimits) -> [(&'static str, &mut usize); 8] {
    [
        ("limits.connections", &mut of.connections),
        ("limits.listener_connections", &mut of.connections_listener),
        ("limits.identity_connections", &mut of.connections_identity),
        ("limits.write_buffer", &mut of.write_high),
        ("limits.tap_buffer", &mut of.ring),
        ("limits.h2_resets", &mut of.h2_resets),
        ("limits.h2_control", &mut of.h2_control),
        ("limits.h2_continuations", &mut of.h2_continuations),
    ]
}

fn spans(of: &mut GatewayLimits) -> [(&'static str, &mut Duration); 11] {
    [
        ("limits.handshake_time", &mut of.tls_handshake),
        ("limits.detect_time", &mut of.detect),
        ("limits.head_time", &mut of.head_time),
        ("limits.body_window", &mut of.body_window),
        ("limits.idle_time", &mut of.idle),
        ("limits.response_time", &mut of.response_time),
        ("limits.connect_time", &mut of.connect),
        ("limits.half_closed_time", &mut of.half_closed),
        ("limits.strict_wait", &mut of.strict_wait),
        ("limits.h2_window", &mut of.h2_window),
        ("limits.h2_progress", &mut of.h2_progress),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::super::schema::{self, Kind, keys};
    use super::super::units;
    use super::*;
    use std::path::PathBuf;

    fn limits(text: &str) -> Limits {
        let settings = load::parse(text, "c.toml").unwrap();
        Reader { settings: &settings, base: PathBuf::new() }.limits()
    }

    #[test]
    fn declared_defaults_are_the_ones_in_force() {
        let mut found = limits("");
        let mut shown: Vec<(&str, u64)> =
            counts(&mut found.gateway).into_iter().map(|(key, n)| (key, *n as u64)).collect();
        shown.extend(spans(&mut found.gateway).into_iter().map(|(key, span)| (key, span.as_millis() as u64)));
        shown.extend([
            ("limits.h2_streams", u64::from(found.gateway.h2_streams)),
            ("limits.h2_header_list", u64::from(found.gateway.h2_header_list)),
            ("limits.body_rate", found.gateway.body_rate),
            ("limits.drain_time", found.drain_time.as_millis() as u64),
            ("limits.unsealed", found.unsealed),
            ("limits.query_time", found.query_time.as_millis() as u64),
            ("limits.query_memory", found.query_memory),
        ]);
        assert_eq!(shown.len(), keys().filter(|key| key.path.starts_with("limits.")).count());
        for (path, n) in shown {
            let key = schema::find(path).unwrap();
            let value = match key.kind {
                Kind::Span(..) => units::span_ms(n),
                Kind::Size(..) => units::size(n),
                _ => n.to_string(),
            };
            assert_eq!(key.default.trim_matches('"'), value, "{path}");
        }
    }

    #[test]
    fn every_limit_reaches_the_type_that_the_gateway_takes() {
        let mut text = String::from("[limits]\n");
        for key in keys().filter(|key| key.path.starts_with("limits.")) {
            let name = key.path.trim_start_matches("limits.");
            let value = match key.kind {
                Kind::Span(min, _) => format!("\"{}\"", units::span_ms(min + 7)),
                Kind::Size(min, _) => format!("\"{}\"", units::size(min + 7)),
                Kind::Count(min, _) => format!("{}", min + 7),
                _ => panic!("{name}: a limit is a number"),
            };
            text.push_str(&format!("{name} = {value}\n"));
        }
        let (mut given, mut plain) = (limits(&text), limits(""));
        for ((key, n), (_, default)) in counts(&mut given.gateway).into_iter().zip(counts(&mut plain.gateway))
        {
            assert_ne!(n, default, "{key}");
        }
        for ((key, n), (_, default)) in spans(&mut given.gateway).into_iter().zip(spans(&mut plain.gateway)) {
            assert_ne!(n, default, "{key}");
        }
        assert_eq!((given.gateway.h2_streams, given.gateway.h2_header_list), (8, (4 << 10) + 7));
        assert_eq!((given.gateway.body_rate, given.unsealed), (7, (64 << 20) + 7));
    }
}
