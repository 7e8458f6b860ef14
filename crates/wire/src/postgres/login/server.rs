//! The gateway as a client of the server: SCRAM towards it, with channel binding where both can.

use super::messages::{SASL_CONTINUE, SASL_FINAL, initial, offers, response};
use super::{Denial, Leg, REFUSED};
use crate::scram::{ClientSide, Fault, Keys, Offer, SCRAM, SCRAM_PLUS};

/// An exchange with the server.
pub(super) enum ServerLeg {
    /// Our first message is on its way.
    First(ClientSide),
    /// Our proof is on its way.
    Last(ClientSide),
    /// The server has proved itself.
    Proved,
}

const NO_SCRAM: Denial = Denial(REFUSED, "the server does not offer SCRAM-SHA-256 (countersign)");
const BROKEN: Denial =
    Denial(REFUSED, "the server's part of the SCRAM exchange is not in order (countersign)");
const STRANGER: Denial = Denial(
    REFUSED,
    "the server has not proved that it knows the password: its signature is wrong (countersign)",
);

/// Whether `list` has a mechanism that is spoken here.
pub(super) fn speaks(list: &[u8]) -> Result<(), Denial> {
    if offers(list, SCRAM) || offers(list, SCRAM_PLUS) { Ok(()) } else { Err(NO_SCRAM) }
}

impl ServerLeg {
    /// Begins with a server that offers `list`; gives our SASLInitialResponse.
    pub(super) fn begin(list: &[u8], server: &Leg, nonce: &str) -> Result<(ServerLeg, Vec<u8>), Denial> {
        let plus = offers(list, SCRAM_PLUS);
        let (offer, mechanism) = match &server.end_point {
            Some(data) if plus => (Offer::EndPoint(data), SCRAM_PLUS),
            // Said where the server offers nothing: it would notice if somebody had taken its offer out.
            Some(_) => (Offer::Unasked, SCRAM),
            None => (Offer::None, SCRAM),
        };
        if !offers(list, mechanism) {
            return Err(NO_SCRAM);
        }
        let (side, first) = ClientSide::begin(offer, "", nonce);
        Ok((ServerLeg::First(side), initial(mechanism, &first)))
    }

    /// Takes an authentication request of the exchange; gives our answer to it, if it has one.
    pub(super) fn asked(
        &mut self,
        code: u32,
        data: &[u8],
        keys: impl FnOnce(&[u8], u32) -> Keys,
    ) -> Result<Option<Vec<u8>>, Denial> {
        let fault = |fault| if fault == Fault::Proof { STRANGER } else { BROKEN };
        match (std::mem::replace(self, ServerLeg::Proved), code) {
            (ServerLeg::First(mut side), SASL_CONTINUE) => {
                let proof = zeroize::Zeroizing::new(side.prove(data, keys).map_err(fault)?);
                *self = ServerLeg::Last(side);
                Ok(Some(response(&proof)))
            }
            (ServerLeg::Last(side), SASL_FINAL) => side.check(data).map(|()| None).map_err(fault),
            _ => Err(BROKEN),
        }
    }
}
