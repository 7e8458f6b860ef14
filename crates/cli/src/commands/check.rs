//! `check`: is the configuration right, what is in force, what does a key mean. Starts nothing.

use crate::args::{CheckArgs, CheckWhat, Format, Global};
use crate::config::schema::{self, Key, Kind, keys};
use crate::config::{self, Config, docs, load::Settings, load::Value, units};
use crate::exit::{CliError, Exit};
use crate::output;
use crate::stages::prepare;
use std::io::Write;
use std::path::Path;

/// Runs one of the forms of `check`.
pub(crate) fn run(global: &Global, args: &CheckArgs) -> Result<Exit, CliError> {
    match &args.what {
        Some(CheckWhat::Explain { key }) => explain(key),
        Some(CheckWhat::Schema { markdown }) => print_schema(global, *markdown),
        None => check(global, args.print),
    }
}

fn explain(name: &str) -> Result<Exit, CliError> {
    let plain: Vec<String> = keys().map(|key| schema::plain(key.path)).collect();
    let within: Vec<&Key> = keys()
        .filter(|key| schema::plain(key.path).starts_with(&format!("{}.", schema::plain(name))))
        .collect();
    let mut out = std::io::stdout().lock();
    match schema::find(name) {
        Some(key) => write!(out, "{}", docs::explain(key))?,
        None if !within.is_empty() => {
            for key in within {
                writeln!(out, "{}", docs::explain(key))?;
            }
        }
        None => {
            let near = schema::nearest(name, plain.iter().map(String::as_str));
            let hint = if near.is_empty() {
                String::new()
            } else {
                format!("did you mean `{}`? ", near.join("` or `"))
            };
            return Err(CliError::Failed(format!(
                "no configuration key `{name}`: {hint}all keys: countersign check schema"
            )));
        }
    }
    Ok(Exit::Yes)
}

fn print_schema(global: &Global, markdown: bool) -> Result<Exit, CliError> {
    let mut out = std::io::stdout().lock();
    match global.output {
        _ if markdown => write!(out, "{}", docs::markdown())?,
        None | Some(Format::Text) => {
            for key in keys() {
                let default = if key.required { "required" } else { key.default };
                writeln!(out, "{:<34} {:<52} {default}", schema::plain(key.path), key.kind.describe())?;
            }
        }
        Some(format) => {
            let rows: Vec<output::Row> = docs::json().iter().filter_map(|v| v.as_object().cloned()).collect();
            let columns = ["key", "type", "default", "required", "secret", "doc"].map(String::from);
            output::rows(&mut out, format, &columns, &rows)?;
        }
    }
    Ok(Exit::Yes)
}

fn check(global: &Global, print: bool) -> Result<Exit, CliError> {
    let settings = config::read_settings(global.config.as_deref())?;
    let config = config::resolve(global)?;
    if print {
        print_effective(&settings, &config)?;
    }
    let warnings = warnings(&config);
    // What is missing was said; what is there must be right.
    if named_files(&config).iter().all(|(_, path)| path.exists()) {
        prepare::check(&config)?;
    }
    for warning in &warnings {
        eprintln!("warning: {}", output::escape(warning));
    }
    let name =
        global.config.as_ref().map_or("the built-in defaults".to_string(), |p| p.display().to_string());
    let listeners = config.listeners.len();
    eprintln!(
        "{name}: valid, {listeners} listener(s), {} webhook(s), {} warning(s)",
        config.webhooks.len(),
        warnings.len()
    );
    Ok(if warnings.is_empty() { Exit::Yes } else { Exit::No })
}

/// What is allowed but will hurt: missing files, readable keys, a key beside its lock.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut out = Vec::new();
    if config::kek_under_data(&config.data, &config.kek) {
        out.push(format!(
            "the key {} lies under the data directory {}: a copy of that directory opens itself; move the key and set `kek`",
            config.kek.display(), config.data.display()
        ));
    }
    for (key, path) in named_files(config) {
        match std::fs::metadata(path) {
            Err(e) => out.push(format!(
                "`{key}`: cannot read {}: {e}; make the file or correct the path",
                path.display()
            )),
            Ok(meta)
                if ["key", "secret_file", "password_file", "verifiers"]
                    .iter()
                    .any(|end| key.ends_with(end)) =>
            {
                use std::os::unix::fs::PermissionsExt;
                if meta.permissions().mode() & 0o077 != 0 {
                    out.push(format!("`{key}`: others may read {}; chmod 600 it", path.display()));
                }
            }
            Ok(_) => {}
        }
    }
    for webhook in &config.webhooks {
        if let config::SecretSource::Env(name) = &webhook.secret
            && std::env::var_os(name).is_none()
        {
            let what = "`webhook.secret_env`: the variable";
            out.push(format!("{what} {name} is not set; export it before the start"));
        }
    }
    out
}

/// Each file that the configuration names, with its key.
fn named_files(config: &Config) -> Vec<(&'static str, &Path)> {
    let mut out: Vec<(&'static str, &Path)> = Vec::new();
    let named = config.listeners.iter().flat_map(|l| l.routes.iter().map(|route| &route.to));
    for listener in config.listeners.iter().chain(named) {
        if let Some(tls) = &listener.tls {
            let own = tls.workload.svid.is_none().then_some((&tls.cert, &tls.key));
            for (cert, key) in own.into_iter().chain(tls.more.iter().map(|(cert, key)| (cert, key))) {
                out.push(("listener.tls.cert", cert));
                out.push(("listener.tls.key", key));
            }
            out.extend(tls.client_ca.as_deref().map(|p| ("listener.tls.client_ca", p)));
        }
        out.extend(listener.upstream_tls.ca.as_deref().map(|p| ("listener.upstream_ca", p)));
        out.extend(listener.grpc.as_ref().map(|(p, _)| ("listener.grpc.descriptors", p.as_path())));
        out.extend(listener.postgres.verifiers.as_deref().map(|p| ("listener.postgres.verifiers", p)));
        out.extend(listener.postgres.password.as_deref().map(|p| ("listener.postgres.password_file", p)));
        if let Some((cert, key)) = &listener.upstream_tls.identity {
            out.push(("listener.upstream_cert", cert));
            out.push(("listener.upstream_key", key));
        }
    }
    if let Some(edge) = &config.edge {
        out.extend(edge.tls.ca.as_deref().map(|p| ("edge.ca", p)));
        if let Some((cert, key)) = &edge.tls.identity {
            out.push(("edge.cert", cert));
            out.push(("edge.key", key));
        }
    }
    out.extend(config.identity.trust.iter().map(|(_, ca)| ("identity.trust.ca", ca.as_path())));
    let jwt = config.identity.jwt.iter();
    out.extend(jwt.filter_map(|issuer| Some(("identity.jwt.keys", issuer.keys.as_deref()?))));
    let wimse = config.identity.wimse.trust.iter();
    out.extend(wimse.map(|one| ("identity.wimse.keys", one.keys.as_path())));
    let signatures = config.identity.signatures.iter();
    out.extend(signatures.map(|key| ("identity.signature.key", key.file.as_path())));
    out.extend(config.policies.iter().map(|path| ("policy.files", path.as_path())));
    if let Some((keys, pepper)) = &config.identity.api_keys {
        out.push(("identity.api_keys", keys));
        out.push(("identity.api_key_pepper", pepper));
    }
    out.extend(config.entities.as_deref().map(|path| ("policy.entities", path)));
    out.extend(config.redaction.pseudonym_key.as_deref().map(|path| ("redact.pseudonym_key", path)));
    for webhook in &config.webhooks {
        if let config::SecretSource::File(path) = &webhook.secret {
            out.push(("webhook.secret_file", path));
        }
    }
    out
}

/// The configuration in force as TOML, with a remark on each default.
fn print_effective(settings: &Settings, config: &Config) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "data = {}\nkek = {}",
        quoted(&config.data.display().to_string()),
        quoted(&config.kek.display().to_string())
    )?;
    for key in keys().filter(|key| !key.path.contains('.') && !["data", "kek"].contains(&key.path)) {
        write_key(&mut out, settings, key, key.path)?;
    }
    let mut tables: Vec<&str> = Vec::new();
    for (table, _) in keys().filter_map(|key| key.path.rsplit_once('.')) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    // Inner tables of a repeated one follow each of its instances, as TOML wants.
    for table in tables.iter().filter(|t| !t.contains("[].")) {
        for at in instances(settings, table) {
            let head = if table.ends_with("[]") {
                format!("[[{}]]", schema::plain(table))
            } else {
                format!("[{table}]")
            };
            write_table(&mut out, settings, table, &at, &head)?;
            let within = |t: &&&str| table.ends_with("[]") && t.starts_with(&format!("{table}."));
            for inner in tables.iter().filter(within) {
                let path = format!("{at}{}", &inner[table.len()..]);
                let (head, repeated) = match inner.ends_with("[]") {
                    true => (format!("[[{}]]", schema::plain(inner)), true),
                    false => (format!("[{}]", schema::plain(inner)), false),
                };
                let here = if repeated { instances(settings, &path) } else { vec![path] };
                for path in here.iter().filter(|path| settings.has_table(path)) {
                    write_table(&mut out, settings, inner, path, &head)?;
                }
            }
        }
    }
    Ok(())
}

fn instances(settings: &Settings, table: &str) -> Vec<String> {
    match table.strip_suffix("[]") {
        Some(name) => (0..settings.count(name)).map(|i| format!("{name}[{i}]")).collect(),
        None => vec![table.to_string()],
    }
}

fn write_table(
    out: &mut dyn Write,
    settings: &Settings,
    table: &str,
    at: &str,
    head: &str,
) -> Result<(), CliError> {
    writeln!(out, "\n{head}")?;
    for key in keys() {
        if let Some((of, name)) = key.path.rsplit_once('.')
            && of == table
        {
            write_key(out, settings, key, &format!("{at}.{name}"))?;
        }
    }
    Ok(())
}

fn write_key(out: &mut dyn Write, settings: &Settings, key: &Key, at: &str) -> Result<(), CliError> {
    let name = key.path.rsplit('.').next().unwrap_or(key.path);
    match settings.get(at) {
        Some(value) => writeln!(out, "{name} = {}", toml_value(key, value))?,
        None if key.default.is_empty() => writeln!(out, "# {name}: not set")?,
        None if key.default.starts_with('(') => writeln!(out, "# {name}: default {}", key.default)?,
        None => writeln!(out, "{name} = {}  # default", key.default)?,
    }
    Ok(())
}

fn toml_value(key: &Key, value: &Value) -> String {
    match value {
        Value::Text(text) if key.secret => quoted(&masked(text)),
        Value::Text(text) => quoted(text),
        Value::Texts(texts) => {
            format!("[{}]", texts.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", "))
        }
        Value::Number(n) => match key.kind {
            Kind::Size(..) => quoted(&units::size(*n)),
            Kind::Span(..) => quoted(&units::span_ms(*n)),
            _ => n.to_string(),
        },
        Value::Bool(b) => b.to_string(),
    }
}

/// A URL without user, path and query: any of them may be a secret.
pub(crate) fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".into() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or("");
    format!("{scheme}://{host}/…")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_url_is_printed_without_its_secret_parts() {
        assert_eq!(masked("https://u:p@hooks.example.org/T0/B0/xyz?k=1"), "https://hooks.example.org/…");
        assert_eq!(masked("nonsense"), "…");
    }
}
