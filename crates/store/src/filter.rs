//! stub
/// Why a filter cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, column {column}{}", crate::error::did_you_mean(.suggestions))]
pub struct FilterError {
    /// Which class of mistake: the code in the API.
    pub code: &'static str,
    /// What and why.
    pub message: String,
    /// Character in the filter, from 1.
    pub column: usize,
    /// Characters that are wrong.
    pub len: usize,
    /// Nearest names, best first.
    pub suggestions: Vec<String>,
}
impl FilterError {
    /// The error's code in the API.
    pub fn code(&self) -> &'static str {
        self.code
    }
}
/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {}
impl Filter {
    /// The SQL condition.
    pub fn to_sql(&self) -> String {
        String::new()
    }
    /// Whether this event matches.
    pub fn matches(&self, _event: &countersign_event::Event, _index: u64) -> bool {
        true
    }
}
impl std::fmt::Display for Filter {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
/// Reads a filter.
pub fn parse(_text: &str) -> Result<Filter, FilterError> {
    Ok(Filter {})
}
