//! Fuzz body: any bytes as a filter. Run from seeds by the tests and by `fuzz/`.

/// Reads `data` as a filter; what can be read must print to something that reads back the same, and both
/// its SQL and its verdict must exist.
///
/// # Panics
/// When the round trip fails: that is the finding.
pub fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(filter) = super::parse(text) else { return };
    let printed = filter.to_string();
    if printed.len() <= super::TEXT_MAX {
        assert_eq!(super::parse(&printed).as_ref(), Ok(&filter), "{text:?} printed as {printed:?}");
    }
    let event = countersign_event::Event::default();
    assert!(!filter.to_sql().is_empty());
    let _ = filter.matches(&event, 0);
}
