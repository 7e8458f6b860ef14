//! The gate in front of every route: who asks, from where, and what the answer must carry.
//!
//! Invariants: every answer, whatever went wrong, has the headers of [`HEADERS`]; nothing but the sign-in
//! page, assets and health is given without a session; a name that is not ours (DNS rebinding) gets nothing.

use crate::frame;
use crate::problem::Problem;
use crate::state::{AppState, Viewer};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use countersign_event::{Auth, Principal, PrincipalKind, Verified};
use std::time::Duration;

/// Longest address, bytes.
const URL_MAX: usize = 8 << 10;
/// Most bytes of header lines.
const HEADER_MAX: usize = 32 << 10;
/// Longest time to the first byte of an answer; queries have their own shorter bound.
const ANSWER_S: u64 = 35;

/// What every answer carries.
pub const HEADERS: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    (
        "permissions-policy",
        "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), clipboard-write=(self), \
         display-capture=(), encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), \
         idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), payment=(), \
         picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), storage-access=(), \
         usb=(), xr-spatial-tracking=()",
    ),
    ("x-frame-options", "DENY"),
];

/// How callers of a listener are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By session cookie after a one-time link; `hosts` are the only names the server answers to.
    Login {
        /// Values of `Host`, with port.
        hosts: Vec<String>,
    },
    /// By peer credentials of a local socket, checked before a request is read: role admin.
    Local,
}

/// The middleware.
pub(crate) async fn guard(
    State((state, access)): State<(AppState, Access)>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let demo = state.options.demo;
    let method = request.method().clone();
    let answer = match admit(&state, &access, request) {
        Ok(request) => {
            let inner = tokio::time::timeout(Duration::from_secs(ANSWER_S), next.run(request)).await;
            inner.unwrap_or_else(|_| Problem::new("timeout", "the answer took too long").into_response())
        }
        Err(problem) => problem.into_response(),
    };
    finish(draw(answer, &path, demo, &method))
}

/// Everything that is checked before a handler sees the request.
fn admit(state: &AppState, access: &Access, mut request: Request) -> Result<Request, Problem> {
    let headers = request.headers();
    if request.uri().to_string().len() > URL_MAX {
        let mut problem =
            Problem::new("query-too-large", format!("the address is longer than {URL_MAX} bytes"));
        problem.status = StatusCode::URI_TOO_LONG;
        return Err(problem);
    }
    if headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() > HEADER_MAX {
        let mut problem =
            Problem::new("query-too-large", format!("the headers are longer than {HEADER_MAX} bytes"));
        problem.status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(problem);
    }
    let refresh = headers.contains_key("x-countersign-refresh");
    let principal = match access {
        Access::Local => Some(local_principal()),
        Access::Login { hosts } => {
            let host = host(headers).unwrap_or_default();
            if !hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
                return Err(Problem::new("not-allowed", "this server does not answer to that host name")
                    .hint("open the address that it printed"));
            }
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                same_origin(headers, host)?;
            }
            let token = cookie(headers, &cookie_name(host));
            let session = token.and_then(|token| state.logins.session(token, state.clock.monotonic_ns()));
            session.map(browser_principal)
        }
    };
    match principal {
        Some(principal) => {
            let gate = state.gate(&principal.id);
            let local = *access == Access::Local;
            request.extensions_mut().insert(Viewer { principal, gate, refresh, local });
        }
        None if is_open(request.uri().path()) => {}
        None => {
            return Err(Problem::new(
                "not-signed-in",
                "this page needs the one-time link that countersign printed",
            )
            .hint("open /login to have a new link printed in the terminal where countersign runs"));
        }
    }
    Ok(request)
}

/// Routes that need no session.
fn is_open(path: &str) -> bool {
    path.starts_with("/assets/")
        || matches!(
            path,
            "/login"
                | "/login/renew"
                | "/favicon.ico"
                | "/healthz"
                | "/readyz"
                | "/api/v1/healthz"
                | "/api/v1/readyz"
        )
}

fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let ours = text("origin").is_some_and(|origin| origin.eq_ignore_ascii_case(&format!("http://{host}")));
    let site = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    if ours && site {
        return Ok(());
    }
    Err(Problem::new(
        "not-allowed",
        "requests that change or ask by POST must come from this server's own pages",
    ))
}

pub(crate) fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).and_then(|value| value.to_str().ok())
}

/// Cookies are shared between the ports of a host, so the name carries ours.
pub(crate) fn cookie_name(host: &str) -> String {
    let port = host.rsplit_once(':').map_or("80", |(_, port)| port);
    format!("countersign_{port}")
}

pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn browser_principal(session: u64) -> Principal {
    let mut principal = Principal::new(format!("user:countersign/browser-{session}"), Verified::Checked);
    principal.kind = Some(PrincipalKind::User);
    principal
}

fn local_principal() -> Principal {
    let mut principal = Principal::new("user:countersign/local", Verified::Bound);
    principal.kind = Some(PrincipalKind::User);
    principal.auth = Some(Auth::PeerCred);
    principal
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem; the guard draws it for its reader.
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// Turns problems and bare failures into documents: JSON for programs, pages in the frame for people.
fn draw(mut answer: Response<Body>, path: &str, demo: bool, method: &Method) -> Response<Body> {
    let problem = answer.extensions_mut().remove::<Problem>().or_else(|| match answer.status() {
        StatusCode::NOT_FOUND if !answer.headers().contains_key(header::CONTENT_TYPE) => {
            Some(Problem::new("not-found", "there is nothing at this address"))
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let mut problem = Problem::new("not-allowed", format!("{method} is not answered here"));
            problem.status = StatusCode::METHOD_NOT_ALLOWED;
            Some(problem)
        }
        _ => None,
    });
    let Some(problem) = problem else { return answer };
    let is_api = ["/api/", "/log/", "/healthz", "/readyz"].iter().any(|prefix| path.starts_with(prefix));
    if is_api { problem.into_json(path) } else { frame::problem_page(&problem, demo) }
}

/// Adds the headers; a route may only choose its own caching (assets) and a stricter policy (downloads).
fn finish(mut answer: Response<Body>) -> Response<Body> {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            continue;
        };
        headers.entry(name).or_insert(value);
    }
    answer
}
