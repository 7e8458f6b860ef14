//! Secrets that are known by the name before them: `password=…`, `"client_secret": "…"`, `--token …`.

/// Names, lower case. A name counts at the end of a word (`db_password`, `X-Api-Key`), before `=`, `:`, or a
/// space and a value in quotes.
pub const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "pwd",
    "pgpassword",
    "mysql_pwd",
    "redis_auth",
    "secret",
    "client_secret",
    "client-secret",
    "clientsecret",
    "secret_key",
    "secret-key",
    "secretkey",
    "secret_access_key",
    "secretaccesskey",
    "access_key",
    "accesskey",
    "api_key",
    "api-key",
    "apikey",
    "x-api-key",
    "auth_token",
    "auth-token",
    "authtoken",
    "access_token",
    "access-token",
    "accesstoken",
    "refresh_token",
    "refreshtoken",
    "id_token",
    "session_token",
    "sessiontoken",
    "csrf_token",
    "bearer_token",
    "private_key",
    "privatekey",
    "private-key",
    "encryption_key",
    "signing_key",
    "master_key",
    "credential",
    "credentials",
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "sessionid",
    "session_id",
    "connect.sid",
    "jsessionid",
    "phpsessid",
    "one_time_code",
    "otp",
    "cvv",
    "cvc",
    "pin_code",
    "token",
];

/// Shortest value that counts: shorter ones are words like `token: no`.
pub const VALUE_MIN: usize = 4;

/// Where the value assigned to a name that ends at `at` lies; `None` = nothing is assigned there.
pub(crate) fn value(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut i = at;
    // The quote that closes the name.
    if matches!(text.get(i), Some(b'"' | b'\'')) {
        i += 1;
    }
    let blanks = |mut i: usize| {
        while matches!(text.get(i), Some(b' ' | b'\t')) {
            i += 1;
        }
        i
    };
    let spaced = blanks(i);
    let assigned = matches!(text.get(spaced), Some(b'=' | b':'));
    if !assigned && spaced == i {
        return None;
    }
    i = if assigned {
        let mut i = spaced + 1;
        while matches!(text.get(i), Some(b'=' | b'>')) {
            i += 1;
        }
        blanks(i)
    } else {
        spaced
    };
    let quote = text.get(i).copied().filter(|b| matches!(b, b'"' | b'\''));
    // Without a sign of assignment only a quoted text is a value: prose has names of secrets in it.
    if quote.is_none() && !assigned {
        return None;
    }
    let first = i + usize::from(quote.is_some());
    let ends = |b: u8| match quote {
        Some(quote) => b == quote,
        None => {
            b.is_ascii_whitespace() || matches!(b, b'&' | b',' | b';' | b'"' | b'\'' | b')' | b'}' | b']')
        }
    };
    let mut last = first;
    let mut escaped = false;
    while let Some(&b) = text.get(last) {
        if !escaped && ends(b) {
            break;
        }
        escaped = quote.is_some() && b == b'\\' && !escaped;
        last += 1;
    }
    (last - first >= VALUE_MIN).then_some((first, last))
}
