//! Whether a statement carries a secret in its literals.
//!
//! By place, not by form: the secret scan of the gateway looks at forms. Literals are taken out of the
//! normalised text anyway; this says that the raw text, and the parameters, must not be kept.

use super::lex::{Kind, identifier};
use super::view::View;

/// Functions that are given connection strings, keys or passwords: `dblink`, `pgcrypto`.
#[rustfmt::skip]
const FUNCTIONS: &[&str] = &[
    "crypt", "dblink", "dblink_connect", "dblink_connect_u", "dblink_exec", "dblink_open", "dblink_send_query",
    "decrypt", "decrypt_iv", "digest", "encrypt", "encrypt_iv", "hmac", "pgp_key_id", "pgp_pub_decrypt",
    "pgp_pub_decrypt_bytea", "pgp_sym_decrypt", "pgp_sym_decrypt_bytea", "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
];

/// Parts of a parameter's, option's or column's name that say what it holds.
const NAMES: &[&str] =
    &["password", "passwd", "secret", "conninfo", "passcode", "api_key", "apikey", "private_key"];

pub(super) fn carried(view: &View<'_>) -> bool {
    let definition = view.any(0, &["CREATE", "ALTER"]);
    let role = definition && view.any(1, &["ROLE", "USER", "GROUP"]);
    let set = view.is(0, "SET");
    (0..view.len()).any(|i| match view.kind(i) {
        Some(Kind::Word | Kind::Quoted) => {
            let word = view.text_of(i);
            let open = view.is_open(i + 1);
            let literal = || {
                let value = i + 1 + usize::from(view.is(i + 1, "TO") || view.text_of(i + 1) == "=");
                view.kind(value) == Some(Kind::Str)
            };
            open && FUNCTIONS.contains(&identifier(word).as_str())
                || open && identifier(word) == "set_config" && named(view.text_of(i + 2))
                || role && view.is(i, "PASSWORD") && i + 1 < view.len() && !view.is(i + 1, "NULL")
                || definition && literal() && (view.is(i, "CONNECTION") || named(word))
                || set && i < 6 && named(word)
        }
        Some(Kind::Str) => connection(view.text_of(i)),
        _ => false,
    })
}

fn named(word: &str) -> bool {
    word.len() <= 128 && {
        let lower = word.to_ascii_lowercase();
        lower != "password_encryption" && NAMES.iter().any(|name| lower.contains(name))
    }
}

/// A connection string with a password in it: `password=…`, `scheme://user:password@host`.
fn connection(literal: &str) -> bool {
    let bytes = literal.as_bytes();
    let keyword = memchr::memchr_iter(b'=', bytes).any(|at| {
        let before = bytes.get(..at).unwrap_or_default().trim_ascii_end();
        before.len() >= 8
            && before.get(before.len() - 8..).is_some_and(|w| w.eq_ignore_ascii_case(b"password"))
    });
    let uri = memchr::memmem::find(bytes, b"://").and_then(|at| bytes.get(at + 3..)).is_some_and(|rest| {
        let authority = rest.split(|b| matches!(b, b'/' | b'?' | b' ')).next().unwrap_or_default();
        memchr::memrchr(b'@', authority)
            .is_some_and(|at| authority.get(..at).is_some_and(|u| u.contains(&b':')))
    });
    keyword || uri
}
