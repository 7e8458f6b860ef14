//! The detector's state as lines of text, so that a restart changes no finding.
//!
//! `window DAY WINDOW`, then one line an input, mark or happening; names in hex. Not evidence: one that cannot be read is
//! left, and the open window begins anew.

use super::{Collected, First, HAPPENINGS, INPUTS_MAX, MARKS, Name, Share};

pub(super) fn write(of: &Collected) -> String {
    let mut out = format!("window {} {}\n", of.day, of.window);
    for (name, share) in &of.shares {
        let Share { records, raw, first, last, above } = share;
        out.push_str(&format!("share {} {records} {raw} {last} {}", names(name), u8::from(*above)));
        if let Some(First { index, eid, t_obs, route }) = first {
            out.push_str(&format!(" {index} {} {t_obs} {}", hex(eid), hex(route.as_bytes())));
        }
        out.push('\n');
    }
    for (name, which) in &of.marks {
        out.push_str(&format!("mark {} {which}\n", names(name)));
    }
    for ((name, which), count) in &of.happenings {
        out.push_str(&format!("happened {} {which} {count}\n", names(name)));
    }
    out
}

/// All or nothing.
pub(super) fn read(into: &mut Collected, saved: &str) -> bool {
    let mut fresh = Collected::new(into.hmac.clone());
    let good = saved.lines().all(|line| read_line(&mut fresh, line).is_some());
    if good {
        *into = fresh;
    }
    good
}

fn read_line(into: &mut Collected, line: &str) -> Option<()> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["window", day, window] => (into.day, into.window) = (day.parse().ok()?, window.parse().ok()?),
        ["share", tenant, input, records, raw, last, above, first @ ..] if into.shares.len() < INPUTS_MAX => {
            let first = match first {
                [] => None,
                [index, eid, t_obs, route] => Some(First {
                    index: index.parse().ok()?,
                    eid: bytes(eid)?.try_into().ok()?,
                    t_obs: t_obs.parse().ok()?,
                    route: text(route)?,
                }),
                _ => return None,
            };
            let share = Share {
                records: records.parse().ok()?,
                raw: raw.parse().ok()?,
                first,
                last: last.parse().ok()?,
                above: *above == "1",
            };
            into.shares.insert((text(tenant)?, text(input)?), share);
        }
        ["mark", tenant, input, which] => {
            let which = which.parse().ok().filter(|which| *which < MARKS.len())?;
            into.marks.insert(((text(tenant)?, text(input)?), which));
        }
        ["happened", tenant, input, which, count] => {
            let which = which.parse().ok().filter(|which| *which < HAPPENINGS.len())?;
            into.happenings.insert(((text(tenant)?, text(input)?), which), count.parse().ok()?);
        }
        _ => return None,
    }
    Some(())
}

fn names((tenant, input): &Name) -> String {
    format!("{} {}", hex(tenant.as_bytes()), hex(input.as_bytes()))
}

/// Lower-case hex behind an `x`, so that nothing empty stands between two spaces.
fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(1 + 2 * bytes.len());
    out.push('x');
    bytes.iter().for_each(|byte| out.push_str(&format!("{byte:02x}")));
    out
}

fn bytes(word: &str) -> Option<Vec<u8>> {
    let digits =
        word.strip_prefix('x').filter(|digits| digits.len().is_multiple_of(2) && digits.is_ascii())?;
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

fn text(word: &str) -> Option<String> {
    String::from_utf8(bytes(word)?).ok()
}
