//! Standard Webhooks signatures: `v1,` and base64 of HMAC-SHA-256 over `id.timestamp.body`.
//!
//! Invariants: the exact bytes that are sent are signed; a secret never appears in an error or a debug output.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// A signing secret `whsec_…`.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Parses `whsec_` and base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// What is wrong, without any of the text.
    pub fn parse(text: &str) -> Result<Secret, &'static str> {
        let encoded = text.trim().strip_prefix("whsec_").ok_or("a signing secret begins with whsec_")?;
        let bytes = STANDARD.decode(encoded).map_err(|_| "after whsec_ a signing secret is base64")?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(
                "a signing secret has 24 to 64 bytes; make one with `head -c 32 /dev/urandom | base64`",
            );
        }
        Ok(Secret(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

/// The `webhook-signature` header: one signature a secret, separated by spaces.
pub fn signature(secrets: &[Secret], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let sign = |secret: &Secret| {
        let mut context = hmac::Context::with_key(&secret.0);
        context.update(format!("{id}.{timestamp_s}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    };
    secrets.iter().map(sign).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_is_reproduced() {
        // From the reference libraries' test suites (standard-webhooks/standard-webhooks).
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let got =
            signature(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(got, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_give_two_signatures() {
        let secrets = ["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", "whsec_MTEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"];
        let secrets: Vec<Secret> = secrets.iter().map(|s| Secret::parse(s).unwrap()).collect();
        let both = signature(&secrets, "i", 1, b"b");
        let each: Vec<String> =
            secrets.iter().map(|s| signature(std::slice::from_ref(s), "i", 1, b"b")).collect();
        assert_eq!(both, each.join(" "));
        assert_eq!(format!("{:?}", secrets[0]), "Secret");
    }
}
