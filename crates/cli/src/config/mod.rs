//! The configuration in force: the file's values over the defaults, flags over both.
//!
//! `schema` declares, `load` checks, this file turns checked values into types. It does not open what
//! the paths name: that is for those who need it.

pub(crate) mod alert;
pub(crate) mod defaults;
pub(crate) mod docs;
pub(crate) mod edge;
mod identity;
pub(crate) mod input;
pub(crate) mod kafka;
mod keys;
mod limits;
mod listener;
pub(crate) mod load;
pub(crate) mod nats;
pub(crate) mod own;
mod route;
pub(crate) mod schema;
mod tls;
mod trail;
pub(crate) mod units;
pub(crate) mod witness;

use crate::args::{Global, Role};
use crate::exit::CliError;
use crate::log;
use countersign_detect::Grant;
use countersign_detect::sigma::Placeholders;
use countersign_gateway::Redaction;
use countersign_proof::note::VerifierKey;
use load::{ConfigError, Settings, Value};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use identity::{Identity, JwtIssuer};
pub(crate) use keys::LOG_LEVELS;
pub(crate) use limits::Limits;
pub(crate) use listener::{
    FromWorkload, Listener, ListenerTls, Mode, NamedRoute, Postgres, Upstream, UpstreamTls,
};

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Part that this process plays.
    pub(crate) role: Role,
    /// Data directory.
    pub(crate) data: PathBuf,
    /// File with the key that opens it.
    pub(crate) kek: PathBuf,
    /// Name of the log; `None` = as the data directory says, or a new one.
    pub(crate) origin: Option<String>,
    /// Listeners of the gateway.
    pub(crate) listeners: Vec<Listener>,
    /// Inputs of the collector.
    pub(crate) inputs: Vec<input::Input>,
    /// Core that an edge ships to.
    pub(crate) edge: Option<edge::Edge>,
    /// How callers are known.
    pub(crate) identity: Identity,
    /// Policy files and directories; none = every call is allowed and recorded as such.
    pub(crate) policies: Vec<PathBuf>,
    /// How strictly they act on servers that `mcp wrap` starts.
    pub(crate) wrapped: Mode,
    /// Groups and services for policies.
    pub(crate) entities: Option<PathBuf>,
    /// Keys of those who may sign proposals of policies.
    pub(crate) signers: Vec<VerifierKey>,
    /// Sigma rules: files and directories.
    pub(crate) rules: Vec<PathBuf>,
    /// Whether our own run, and the ids of those that do not.
    pub(crate) pack: (bool, Vec<String>),
    /// What `%name%` in them stands for.
    pub(crate) placeholders: Placeholders,
    /// First-seen edges: learning span and least number of events.
    pub(crate) learning: (Duration, u64),
    /// Baselines: learning span, least number of events, bytes of state.
    pub(crate) baselines: (Duration, u64, u64),
    /// What was granted: a use of each within 90 days is expected.
    pub(crate) grants: Vec<Grant>,
    /// Where findings go.
    pub(crate) webhooks: Vec<Webhook>,
    /// Receivers of other kinds, and who gets what.
    pub(crate) alerting: alert::Alerting,
    /// What is held against the record.
    pub(crate) coverage: witness::CoverageSettings,
    /// Address of the dashboard; `None` = not served.
    pub(crate) web: Option<SocketAddr>,
    /// What must not be kept, besides secrets.
    pub(crate) redaction: Redaction,
    /// What is told on standard error.
    pub(crate) log: log::Settings,
    /// Bounds.
    pub(crate) limits: Limits,
}

impl Config {
    /// Agent of the records of one of our parts: an edge that ships has its name before it.
    pub(crate) fn agent(&self, part: &str) -> String {
        match &self.edge {
            Some(edge) if self.role == Role::Edge => {
                format!("{}{part}", countersign_collect::receivers::agent_prefix(&edge.name))
            }
            _ => part.to_owned(),
        }
    }
}

/// Where findings go.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    /// URL.
    pub(crate) url: String,
    /// Where the signing secret is.
    pub(crate) secret: SecretSource,
}

/// Where a secret is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl SecretSource {
    /// The secret itself, without surrounding white space.
    pub(crate) fn read(&self) -> Result<String, CliError> {
        const SECRET_MAX: u64 = 4_096;
        let (name, text) = match self {
            SecretSource::File(path) => (path.display().to_string(), read_bounded(path, SECRET_MAX)?),
            SecretSource::Env(name) => (
                format!("${name}"),
                std::env::var(name).map_err(|_| {
                    CliError::new(
                        format!("cannot read the secret ${name}"),
                        "the variable is not set",
                        "export it before the start",
                    )
                })?,
            ),
        };
        let secret = text.trim();
        if secret.is_empty() {
            return Err(CliError::new(
                format!("cannot use the secret in {name}"),
                "it is empty",
                "put it there",
            ));
        }
        Ok(secret.into())
    }
}

/// The configuration of this command line: file, then flags.
pub(crate) fn resolve(global: &Global) -> Result<Config, CliError> {
    let settings = read_settings(global.config.as_deref())?;
    let base = global.config.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_path_buf();
    let mut config =
        Reader { settings: &settings, base }.config().map_err(|e| CliError::Failed(e.to_string()))?;
    if let Some(data) = &global.data {
        config.data.clone_from(data);
    }
    if global.config.is_none() {
        config.inputs = input::defaults();
    }
    config.data = absolute(&config.data);
    config.kek = absolute(&config.kek);
    Ok(config)
}

/// The file's settings; empty without a file.
pub(crate) fn read_settings(path: Option<&Path>) -> Result<Settings, CliError> {
    let Some(path) = path else { return Ok(Settings::default()) };
    let text = read_bounded(path, load::CONFIG_MAX as u64)?;
    load::parse(&text, &path.display().to_string()).map_err(|e| CliError::Failed(e.to_string()))
}

/// A whole text file, refused above `max` bytes or when it is not UTF-8.
pub(crate) fn read_bounded(path: &Path, max: u64) -> Result<String, CliError> {
    use std::io::Read;
    let fail = |why: &dyn std::fmt::Display| {
        CliError::new(format!("cannot read {}", path.display()), why, "check the path and its permissions")
    };
    let file = std::fs::File::open(path).map_err(|e| fail(&e))?;
    let mut text = String::new();
    file.take(max + 1).read_to_string(&mut text).map_err(|e| fail(&e))?;
    if text.len() as u64 > max {
        return Err(fail(&format!("it is larger than {}", units::size(max))));
    }
    Ok(text)
}

/// Absolute without asking the file system whether it exists.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Whether `kek` lies under `data`: then a copy of the directory opens itself.
pub(crate) fn kek_under_data(data: &Path, kek: &Path) -> bool {
    let real = |p: &Path| {
        let mut known = p.to_path_buf();
        let mut rest = Vec::new();
        loop {
            if let Ok(found) = known.canonicalize() {
                return rest.iter().rev().fold(found, |p: PathBuf, part| p.join(part));
            }
            let Some(name) = known.file_name().map(|n| n.to_os_string()) else { return p.to_path_buf() };
            rest.push(name);
            known.pop();
        }
    };
    real(kek).starts_with(real(data))
}

/// Reads typed values by the declared names.
struct Reader<'a> {
    settings: &'a Settings,
    base: PathBuf,
}

impl Reader<'_> {
    fn config(&self) -> Result<Config, ConfigError> {
        let listeners = self.each("listener", |at| self.listener(at))?;
        for (i, listener) in listeners.iter().enumerate() {
            let path = format!("listener[{i}].name");
            let named = |other: &Listener, name: &str| {
                other.name == name || other.routes.iter().any(|route| route.to.name == name)
            };
            let own = listener.routes.iter().enumerate();
            let repeats = own.clone().any(|(at, route)| {
                route.to.name == listener.name
                    || listener.routes.iter().skip(at + 1).any(|r| r.to.name == route.to.name)
            });
            let twin = |other: &Listener| {
                named(other, &listener.name)
                    || listener.routes.iter().any(|route| named(other, &route.to.name))
                    || other.listen == listener.listen
            };
            if repeats || listeners.iter().take(i).any(twin) {
                return Err(self.settings.conflict(
                    &path,
                    format!(
                        "listener `{}` at {}, or a route of it, repeats the name or the address of another; give each its own",
                        listener.name, listener.listen
                    ),
                ));
            }
        }
        Ok(Config {
            role: match self.text("role").as_deref() {
                Some("edge") => Role::Edge,
                _ => Role::All,
            },
            data: self.path("data").unwrap_or_else(defaults::data_dir),
            kek: self.path("kek").unwrap_or_else(defaults::kek_path),
            origin: self.text("origin"),
            listeners,
            inputs: self.inputs()?,
            edge: self.edge()?,
            identity: self.identity()?,
            policies: self.texts("policy.files", &[]).into_iter().map(|p| self.resolve(p)).collect(),
            wrapped: self.mode_at("policy.wrapped", Mode::Observe)?,
            entities: self.path("policy.entities"),
            signers: self.signers()?,
            rules: self.texts("detect.rules", &[]).into_iter().map(|p| self.resolve(p)).collect(),
            pack: (
                !matches!(self.settings.get("detect.pack"), Some(Value::Bool(false))),
                self.texts("detect.pack_except", &[]),
            ),
            placeholders: self
                .each("detect.placeholder", |at| {
                    Ok((self.need(at, "name"), self.texts(&format!("{at}.values"), &[])))
                })?
                .into_iter()
                .collect(),
            learning: (
                self.span("detect.learning", defaults::LEARNING_MS),
                self.number("detect.learning_events", defaults::LEARNING_EVENTS),
            ),
            baselines: (
                self.span("detect.baseline_learning", defaults::BASELINE_LEARNING_MS),
                self.number("detect.baseline_events", defaults::BASELINE_EVENTS),
                self.number("detect.state", defaults::DETECT_STATE),
            ),
            grants: self.each("detect.grant", |at| {
                let (principal, service) = (self.need(at, "principal"), self.need(at, "service"));
                Ok(Grant { principal, service, operations: self.texts(&format!("{at}.operations"), &[]) })
            })?,
            webhooks: self.each("webhook", |at| self.webhook(at))?,
            alerting: self.alerting()?,
            coverage: self.coverage()?,
            web: self.web()?,
            redaction: self.redaction(),
            log: self.log(),
            limits: self.limits(),
        })
    }

    fn each<T>(
        &self,
        table: &str,
        one: impl Fn(&str) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        (0..self.settings.count(table)).map(|i| one(&format!("{table}[{i}]"))).collect()
    }

    fn webhook(&self, at: &str) -> Result<Webhook, ConfigError> {
        let what = "a webhook needs exactly one of `secret_file` and `secret_env`";
        let secret = self.secret(at)?.ok_or_else(|| self.settings.conflict(at, what))?;
        Ok(Webhook { url: self.need(at, "url"), secret })
    }

    /// Where the secret of the table at `at` is; both places at once are refused.
    fn secret(&self, at: &str) -> Result<Option<SecretSource>, ConfigError> {
        match (self.path(&format!("{at}.secret_file")), self.text(&format!("{at}.secret_env"))) {
            (Some(_), Some(_)) => {
                Err(self.settings.conflict(at, "needs exactly one of `secret_file` and `secret_env`"))
            }
            (Some(file), None) => Ok(Some(SecretSource::File(file))),
            (None, name) => Ok(name.map(SecretSource::Env)),
        }
    }

    fn web(&self) -> Result<Option<SocketAddr>, ConfigError> {
        if self.settings.get("web.enabled") == Some(&Value::Bool(false)) {
            return Ok(None);
        }
        let listen = match self.settings.get("web.listen") {
            Some(_) => self.address("web.listen")?,
            None => defaults::WEB_LISTEN,
        };
        if !listen.ip().is_loopback() {
            return Err(self.settings.conflict("web.listen", format!(
                "the dashboard listens on loopback only in this version, not on {listen}; forward a port to it by ssh -L"
            )));
        }
        Ok(Some(listen))
    }

    fn signers(&self) -> Result<Vec<VerifierKey>, ConfigError> {
        let parse = |text: String| {
            VerifierKey::parse(&text).map_err(|e| {
                let what = format!("{e}; a key is what countersign policy keygen prints");
                self.settings.conflict("policy.signers", what)
            })
        };
        self.texts("policy.signers", &[]).into_iter().map(parse).collect()
    }

    fn log(&self) -> log::Settings {
        let json = self.text("log.format").as_deref() == Some("json");
        log::Settings {
            level: self.text("log.level").map_or(log::Settings::default().level, |word| log::level(&word)),
            form: if json { log::Form::Json } else { log::Form::Text },
        }
    }

    fn redaction(&self) -> Redaction {
        let mut personal = self.texts("redact.personal", &[]);
        if personal.iter().any(|kind| kind == "all") {
            personal = countersign_gateway::PERSONAL_KINDS.map(str::to_owned).to_vec();
        }
        let rule = |at: &str| Ok((self.need(at, "name"), self.need(at, "keyword"), self.need(at, "pattern")));
        Redaction {
            personal,
            own: self.each("redact.rule", rule).unwrap_or_default(),
            pseudonym_key: self.path("redact.pseudonym_key"),
        }
    }

    fn on(&self, path: &str) -> bool {
        self.settings.get(path) == Some(&Value::Bool(true))
    }

    fn text(&self, path: &str) -> Option<String> {
        match self.settings.get(path)? {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// A required text: `load` has refused files without it.
    fn need(&self, table: &str, name: &str) -> String {
        self.text(&format!("{table}.{name}")).unwrap_or_default()
    }

    fn texts(&self, path: &str, default: &[&str]) -> Vec<String> {
        match self.settings.get(path) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => default.iter().map(|t| t.to_string()).collect(),
        }
    }

    fn path(&self, path: &str) -> Option<PathBuf> {
        self.text(path).map(|text| self.resolve(text))
    }

    fn resolve(&self, text: String) -> PathBuf {
        self.base.join(text)
    }

    fn number(&self, path: &str, default: u64) -> u64 {
        match self.settings.get(path) {
            Some(Value::Number(n)) => *n,
            _ => default,
        }
    }

    fn span(&self, path: &str, default_ms: u64) -> Duration {
        Duration::from_millis(self.number(path, default_ms))
    }

    fn address(&self, path: &str) -> Result<SocketAddr, ConfigError> {
        let text = self.text(path).unwrap_or_default();
        text.parse().map_err(|_| self.settings.conflict(path, format!("`{text}` is no address, IP:PORT")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn config(text: &str) -> Result<Config, ConfigError> {
        let settings = load::parse(text, "c.toml")?;
        Reader { settings: &settings, base: PathBuf::from("/etc/countersign") }.config()
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = config("").unwrap();
        assert_eq!(config.web, Some(defaults::WEB_LISTEN));
        for (path, value) in [
            ("detect.learning", units::span_ms(config.learning.0.as_millis() as u64)),
            ("detect.learning_events", config.learning.1.to_string()),
            ("identity.api_key_header", config.identity.api_key_header.clone()),
            ("web.listen", defaults::WEB_LISTEN.to_string()),
        ] {
            let declared = schema::find(path).unwrap().default.trim_matches('"');
            assert_eq!(declared, value, "{path}: declared default and the one in force differ");
        }
    }

    #[test]
    fn the_example_resolves_and_paths_count_from_the_file() {
        let config = config(docs::EXAMPLE).unwrap();
        assert_eq!(config.origin.as_deref(), Some("example.org/orders/1"));
        let listener = &config.listeners[0];
        assert_eq!(listener.tls.as_ref().unwrap().cert, PathBuf::from("/etc/countersign/tls/orders.pem"));
        assert_eq!(listener.upstream.to_string(), "http://127.0.0.1:8080");
        assert_eq!(config.identity.jwt[0].algorithms, defaults::JWT_ALGORITHMS);
    }

    #[test]
    fn values_that_do_not_fit_together_are_refused() {
        let listener = "[[listener]]\nname=\"a\"\nlisten=\"127.0.0.1:1\"\n";
        for (text, why) in [
            (format!("{listener}upstream=\"https://h\"\n"), "needs `upstream_ca`"),
            (format!("{listener}upstream=\"http://h\"\n{listener}upstream=\"http://h\"\n"), "repeats"),
            (
                format!(
                    "{listener}upstream=\"http://h\"\n[listener.tls]\ncert=\"c\"\nkey=\"k\"\nclient_auth=\"required\"\n"
                ),
                "needs `client_ca`",
            ),
            (format!("{listener}upstream=\"redis://h\"\nprotocol=\"postgres\"\n"), "does not speak"),
            (format!("{listener}upstream=\"http://h\"\npolicy=\"enforce\"\n"), "policy.files"),
            ("[[identity.jwt]]\nissuer=\"i\"\naudience=[\"a\"]\n".into(), "exactly one of"),
            (
                format!("{listener}upstream=\"postgres://h\"\n[listener.postgres]\nscram=\"verify\"\n"),
                "needs `verifiers`",
            ),
            (format!("{listener}upstream=\"postgres://h\"\n[listener.postgres]\nrole=\"r\"\n"), "belongs to"),
            ("[policy]\nsigners=[\"alice\"]\n".into(), "policy keygen"),
            ("[policy]\nwrapped=\"enforce\"\n".into(), "policy.files"),
            ("[[webhook]]\nurl=\"http://h/x\"\n".into(), "exactly one of"),
            ("[web]\nlisten=\"0.0.0.0:80\"\n".into(), "loopback only"),
        ] {
            let found = config(&text).unwrap_err().to_string();
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn a_key_inside_the_data_directory_is_noticed_even_before_either_exists() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(kek_under_data(&data, &data.join("sub/kek")));
        assert!(!kek_under_data(&data, &dir.path().join("kek")));
        assert!(!kek_under_data(&data, &dir.path().join("data-kek")));
    }
}
