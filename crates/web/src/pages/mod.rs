//! Pages for people: server-rendered, whole before any script runs.

mod alerts;
mod desk;
mod event;
mod events;
mod integrity;
mod map;
mod overview;
mod table;
mod tail;
mod timeline;

use crate::api::Answer;
use crate::assets;
use crate::audit::{Reading, record_soon};
use crate::frame::{Page, page, renew_form};
use crate::guard::{cookie, cookie_name, host};
use crate::login::SESSION_IDLE_S;
use crate::params::Params;
use crate::problem::Problem;
use crate::state::{AppState, Viewer};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::routing::{get, post};
use countersign_event::{Principal, PrincipalKind, Verified};
use maud::html;
use std::net::SocketAddr;

/// Parameters that any page may carry.
const COMMON: &[&str] = &["q", "from", "to", "at", "limit", "before", "after", "sel", "open", "tz", "view"];

/// All pages.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(overview::show))
        .route("/events", get(events::show))
        .route("/events/{index}", get(event::show))
        .route("/tail", get(tail::show))
        .route("/map", get(map::show))
        .route("/alerts", get(alerts::show))
        .route("/coverage", get(desk::coverage))
        .route("/integrity", get(integrity::show))
        .route("/login", get(login))
        .route("/login/renew", post(renew))
        .route("/logout", post(logout))
        .route("/favicon.ico", get(favicon))
        .route("/assets/{bundle}/{*path}", get(asset))
}

/// Every address that is nothing.
pub(crate) async fn nothing_here() -> Problem {
    Problem::new("not-found", "there is nothing at this address")
}

async fn asset(Path((bundle, path)): Path<(String, String)>) -> Answer {
    assets::serve(&bundle, &path)
        .ok_or_else(|| Problem::new("not-found", "this version of the page is gone; reload it"))
}

async fn favicon() -> Answer {
    redirect(&assets::url("icon.svg"))
}

fn redirect(to: &str) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location =
        HeaderValue::try_from(to).map_err(|_| Problem::new("bad-value", "the address cannot be written"))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// `GET /login?code=`: a code becomes a session; without one, how to get in.
async fn login(State(state): State<AppState>, RawQuery(raw): RawQuery, headers: HeaderMap) -> Answer {
    let params = Params::parse(raw.as_deref(), &["code"])?;
    let Some(code) = params.get("code") else {
        let body = html! {
            header { h1 { "Sign in" } }
            div.panel.login {
                p { "Countersign printed a link with a one-time code when it started. Open that link." }
                (renew_form())
            }
        };
        return Ok(page(&Page { title: "Sign in", demo: state.options.demo, ..Page::default() }, body));
    };
    let now = state.clock.monotonic_ns();
    let token =
        state.logins.exchange(code, now).map_err(|error| Problem::new("internal", error.to_string()))?;
    let token = token.ok_or_else(|| {
        Problem::new("not-signed-in", "this link was used already, or is older than 60 seconds")
            .hint("have a new one printed")
    })?;
    record_login(&state, &token, now).await?;
    let mut answer = redirect("/")?;
    let name = cookie_name(host(&headers).unwrap_or_default());
    let line = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SESSION_IDLE_S}");
    let value =
        HeaderValue::try_from(line).map_err(|_| Problem::new("internal", "the session cannot be written"))?;
    answer.headers_mut().insert(header::SET_COOKIE, value);
    Ok(answer)
}

async fn record_login(state: &AppState, token: &str, now: u64) -> Result<(), Problem> {
    let number = state.logins.session(token, now).unwrap_or(0);
    let mut principal = Principal::new(format!("user:countersign/browser-{number}"), Verified::Checked);
    principal.kind = Some(PrincipalKind::User);
    let gate = state.gate(&principal.id);
    let viewer = Viewer { principal, gate, refresh: false, local: false };
    record_soon(state, &viewer, Reading { op: "login", route: "/login", ..Reading::default() }).await
}

/// `POST /login/renew`: a new link, in the terminal and nowhere else.
async fn renew(State(state): State<AppState>, headers: HeaderMap) -> Answer {
    let announce = state.options.announce.clone().ok_or_else(|| {
        Problem::new("not-allowed", "this server has no terminal to print a link in")
            .hint("restart countersign to get a link")
    })?;
    if !state.logins.may_renew(state.clock.monotonic_ns()) {
        return Err(Problem::new("too-many", "a link was printed a moment ago")
            .hint("use that one, or wait five seconds"));
    }
    let address =
        host(&headers).and_then(|host| host.replace("localhost", "127.0.0.1").parse::<SocketAddr>().ok());
    let address = address.ok_or_else(|| Problem::new("bad-value", "the host name cannot be read"))?;
    let link = state.login_link(address).map_err(|error| Problem::new("internal", error.to_string()))?;
    announce(&link);
    let body = html! {
        header { h1 { "Look at the terminal" } }
        div.panel.login { p { "A new link was printed where countersign runs. It works once, for 60 seconds." } }
    };
    Ok(page(&Page { title: "Sign in", demo: state.options.demo, ..Page::default() }, body))
}

/// `POST /logout`.
async fn logout(State(state): State<AppState>, headers: HeaderMap) -> Answer {
    let name = cookie_name(host(&headers).unwrap_or_default());
    if let Some(token) = cookie(&headers, &name) {
        state.logins.end(token);
    }
    let mut answer = redirect("/login")?;
    let line = format!("{name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    if let Ok(value) = HeaderValue::try_from(line) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    Ok(answer)
}
