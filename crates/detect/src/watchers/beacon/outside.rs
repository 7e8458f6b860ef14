//! Whether an address is outside the house: by its kind (RFC 6890), not by any list of networks.

use std::net::IpAddr;

/// Whether this address is nobody's own: not private, local, or shared by a provider's customers (RFC 6890).
pub(super) fn is_outside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let local = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified();
            !(local || shared || ip.is_multicast() || ip.is_broadcast())
        }
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(
            || {
                let local = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
                !(local || ip.is_unique_local() || ip.is_unicast_link_local())
            },
            |ip| is_outside(IpAddr::V4(ip)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_shared_and_local_addresses_are_inside() {
        for (ip, want) in [
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("::ffff:192.168.1.1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("198.51.100.7", true),
            ("2a00::1", true),
            ("::ffff:8.8.8.8", true),
        ] {
            assert_eq!(is_outside(ip.parse().unwrap()), want, "{ip}");
        }
    }
}
