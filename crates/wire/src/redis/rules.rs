//! Names of the rules that bytes may break; they stand in records and never change.

/// The number of arguments is no number, or too large.
pub(super) const COUNT: &str = "redis.argument_count";
/// An argument does not begin with its length.
pub(super) const BULK: &str = "redis.argument_type";
/// An argument's length is no number, negative, or too large.
pub(super) const LENGTH: &str = "redis.argument_length";
/// An argument does not end in CR LF.
pub(super) const TERMINATOR: &str = "redis.argument_terminator";
/// An inline command is too long or has a zero byte in it.
pub(super) const INLINE: &str = "redis.inline";
/// Quotes of an inline command do not close.
pub(super) const QUOTES: &str = "redis.inline_quotes";
/// A reply of no known type.
pub(super) const REPLY_TYPE: &str = "redis.reply_type";
/// A reply's length is no number, negative, or too large.
pub(super) const REPLY_LENGTH: &str = "redis.reply_length";
/// A streamed string or aggregate.
pub(super) const REPLY_STREAMED: &str = "redis.reply_streamed";
/// Aggregates too deep in one another.
pub(super) const REPLY_DEPTH: &str = "redis.reply_depth";
/// A bulk reply does not end in CR LF.
pub(super) const REPLY_TERMINATOR: &str = "redis.reply_terminator";
/// `CLIENT REPLY` where it cannot be told any more which reply answers what.
pub(super) const REPLY_MODE: &str = "redis.reply_mode";
/// A transaction of too many commands, or with too many databases.
pub(super) const TRANSACTION: &str = "redis.transaction";
/// Its keys are not known within what is held of it, and a verdict is wanted.
pub(super) const TOO_LARGE: &str = "redis.too_large_to_judge";
