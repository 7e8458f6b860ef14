//! What the server's own functions do: the table behind "a `SELECT` is a read only if it is proved".
//!
//! Names only: a function of the user that hides one of the server's (by an argument type of its own, or a
//! `search_path` with `pg_catalog` last) is beyond what a text can show. A name that stands nowhere here is
//! unknown, never pure. `pure.txt` was drawn from `pg_proc` of PostgreSQL 15: functions of `pg_catalog` all
//! of whose forms are immutable or stable, less those that take internal types, run SQL text or load code;
//! plus volatile ones that only observe, and those that PostgreSQL 16 to 18 added.

use crate::stream::OpClass;
use std::collections::HashSet;
use std::sync::LazyLock;

static PURE: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("pure.txt").split_ascii_whitespace().collect());

/// What a call does beside computing a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Pure,
    /// Something of this class.
    Does(OpClass),
    /// Nobody knows.
    Unknown,
}

/// Effect of the function `name` (folded), of no schema or of `pg_catalog`.
pub(super) fn effect(name: &str) -> Effect {
    if PURE.contains(name) {
        return Effect::Pure;
    }
    match name {
        // Session: sleeping, locks on numbers, snapshots. `set_config` is looked at by the caller.
        "pg_sleep"
        | "pg_sleep_for"
        | "pg_sleep_until"
        | "set_config"
        | "pg_export_snapshot"
        | "lo_close"
        | "pg_stat_clear_snapshot"
        | "pg_stat_force_next_flush"
        | "pg_advisory_lock"
        | "pg_advisory_lock_shared"
        | "pg_advisory_unlock"
        | "pg_advisory_unlock_all"
        | "pg_advisory_unlock_shared"
        | "pg_advisory_xact_lock"
        | "pg_advisory_xact_lock_shared"
        | "pg_try_advisory_lock"
        | "pg_try_advisory_lock_shared"
        | "pg_try_advisory_xact_lock"
        | "pg_try_advisory_xact_lock_shared" => Effect::Does(OpClass::Meta),
        // Large objects: opening and reading; writing; removing.
        "lo_get" | "lo_open" | "lo_lseek" | "lo_lseek64" | "lo_tell" | "lo_tell64" | "loread" => Effect::Pure,
        "lo_creat" | "lo_create" | "lo_from_bytea" | "pg_notify" | "pg_logical_emit_message" => {
            Effect::Does(OpClass::Create)
        }
        "nextval" | "setval" | "lo_put" | "lowrite" | "lo_truncate" | "lo_truncate64" => {
            Effect::Does(OpClass::Modify)
        }
        "lo_unlink" => Effect::Does(OpClass::Delete),
        "dblink_exec" | "dblink_send_query" => Effect::Does(OpClass::Execute),
        _ if ADMIN.contains(&name) => Effect::Does(OpClass::Admin),
        _ => Effect::Unknown,
    }
}

/// Functions that control the server or other sessions, or reach its file system.
const ADMIN: &[&str] = &[
    "brin_desummarize_range",
    "brin_summarize_new_values",
    "brin_summarize_range",
    "gin_clean_pending_list",
    "lo_export",
    "lo_import",
    "pg_backup_start",
    "pg_backup_stop",
    "pg_cancel_backend",
    "pg_clear_attribute_stats",
    "pg_clear_relation_stats",
    "pg_copy_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_create_restore_point",
    "pg_drop_replication_slot",
    "pg_extension_config_dump",
    "pg_file_rename",
    "pg_file_sync",
    "pg_file_unlink",
    "pg_file_write",
    "pg_import_system_collations",
    "pg_log_backend_memory_contexts",
    "pg_log_standby_snapshot",
    "pg_logical_slot_get_binary_changes",
    "pg_logical_slot_get_changes",
    "pg_logical_slot_peek_binary_changes",
    "pg_logical_slot_peek_changes",
    "pg_ls_archive_statusdir",
    "pg_ls_dir",
    "pg_ls_logdir",
    "pg_ls_logicalmapdir",
    "pg_ls_logicalsnapdir",
    "pg_ls_replslotdir",
    "pg_ls_summariesdir",
    "pg_ls_tmpdir",
    "pg_ls_waldir",
    "pg_promote",
    "pg_read_binary_file",
    "pg_read_file",
    "pg_read_file_old",
    "pg_reload_conf",
    "pg_replication_origin_advance",
    "pg_replication_origin_create",
    "pg_replication_origin_drop",
    "pg_replication_origin_session_reset",
    "pg_replication_origin_session_setup",
    "pg_replication_origin_xact_reset",
    "pg_replication_origin_xact_setup",
    "pg_replication_slot_advance",
    "pg_restore_attribute_stats",
    "pg_restore_relation_stats",
    "pg_rotate_logfile",
    "pg_rotate_logfile_old",
    "pg_start_backup",
    "pg_stat_file",
    "pg_stat_reset",
    "pg_stat_reset_backend_stats",
    "pg_stat_reset_replication_slot",
    "pg_stat_reset_shared",
    "pg_stat_reset_single_function_counters",
    "pg_stat_reset_single_table_counters",
    "pg_stat_reset_slru",
    "pg_stat_reset_subscription_stats",
    "pg_stat_statements_reset",
    "pg_stop_backup",
    "pg_stop_making_pinned_objects",
    "pg_switch_wal",
    "pg_sync_replication_slots",
    "pg_terminate_backend",
    "pg_wal_replay_pause",
    "pg_wal_replay_resume",
];

/// Keywords that no function can be called by (`pg_get_keywords`: reserved ones and those that are column
/// names only): with a parenthesis behind them they are syntax or constructs of the server's own.
/// `TREAT` is left out: it calls a function named like a type.
pub(super) fn is_syntax(word: &str) -> bool {
    let mut lower = [0_u8; 17];
    let Some(lower) = lower.get_mut(..word.len()) else { return false };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    SYNTAX.binary_search_by(|known| known.as_bytes().cmp(lower)).is_ok()
}

#[rustfmt::skip]
const SYNTAX: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "between", "bigint", "bit",
    "boolean", "both", "case", "cast", "char", "character", "check", "coalesce", "collate", "column",
    "constraint", "create", "current_catalog", "current_date", "current_role", "current_time",
    "current_timestamp", "current_user", "dec", "decimal", "default", "deferrable", "desc", "distinct", "do",
    "else", "end", "except", "exists", "extract", "false", "fetch", "float", "for", "foreign", "from", "grant",
    "greatest", "group", "grouping", "having", "in", "initially", "inout", "int", "integer", "intersect",
    "interval", "into", "lateral", "leading", "least", "limit", "localtime", "localtimestamp", "national",
    "nchar", "none", "normalize", "not", "null", "nullif", "numeric", "offset", "on", "only", "or", "order",
    "out", "overlay", "placing", "position", "precision", "primary", "real", "references", "returning", "row",
    "select", "session_user", "setof", "smallint", "some", "substring", "symmetric", "table", "then", "time",
    "timestamp", "to", "trailing", "trim", "true", "union", "unique", "user", "using", "values", "varchar",
    "variadic", "when", "where", "window", "with", "xmlattributes", "xmlconcat", "xmlelement", "xmlexists",
    "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_searchable_and_disjoint() {
        assert!(SYNTAX.is_sorted() && ADMIN.is_sorted());
        assert!(ADMIN.iter().all(|name| !PURE.contains(name)));
        assert!(PURE.len() > 600);
    }

    #[test]
    fn nothing_that_writes_or_runs_text_is_pure() {
        for name in
            ["nextval", "lo_unlink", "set_config", "query_to_xml", "ts_stat", "ts_rewrite", "dblink", "f"]
        {
            assert_ne!(effect(name), Effect::Pure, "{name}");
        }
    }
}
