//! The numeric lines of RESP: a type byte, a decimal number, CR LF.

/// Longest numeric line, bytes: type, sign, 20 digits, CR LF.
pub(super) const LINE_MAX: usize = 24;

/// What the front of a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line is not complete.
    More,
    /// No number of the form the server accepts, or no CR LF behind it.
    Bad,
    /// A number and the length of the whole line.
    Number(i64, usize),
}

/// Reads the line at the front of `buf`, whose first byte is the type. The form is the server's own
/// (`string2ll`): no plus, no leading zero, no space; so nobody can read another number.
pub(super) fn line(buf: &[u8]) -> Line {
    let mut n: i64 = 0;
    let mut at = 1;
    let negative = buf.get(1) == Some(&b'-');
    if negative {
        at = 2;
    }
    let start = at;
    loop {
        match buf.get(at) {
            Some(d @ b'0'..=b'9') => {
                if at - start >= 18 || (n == 0 && at > start) {
                    return Line::Bad;
                }
                n = n * 10 + i64::from(d - b'0');
                at += 1;
            }
            Some(b'\r') if at > start && !(negative && n == 0) => break,
            Some(_) => return Line::Bad,
            None => return Line::More,
        }
    }
    match buf.get(at + 1) {
        Some(b'\n') => Line::Number(if negative { -n } else { n }, at + 2),
        Some(_) => Line::Bad,
        None => Line::More,
    }
}
