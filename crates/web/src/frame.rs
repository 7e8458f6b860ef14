//! The frame around every page: navigation, query box, help and footer in the same place everywhere.

use crate::assets::url;
use crate::problem::Problem;
use crate::text::visible;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use maud::{DOCTYPE, Markup, html};

/// What a page tells its frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    /// Path of the navigation entry that this page belongs to.
    pub(crate) current: &'a str,
    /// Filter in the query box.
    pub(crate) q: &'a str,
    pub(crate) demo: bool,
    /// Modules beside `app.js`.
    pub(crate) modules: &'a [&'a str],
    /// Names in the address that mean nothing here.
    pub(crate) unknown: &'a [String],
}

const NAVIGATION: [(&str, &str); 7] = [
    ("/", "Overview"),
    ("/events", "Events"),
    ("/tail", "Live"),
    ("/map", "Map"),
    ("/alerts", "Alerts"),
    ("/coverage", "Coverage"),
    ("/integrity", "Integrity"),
];

const KEYS: [(&str, &str); 13] = [
    ("/", "go to the query"),
    ("?", "this help"),
    ("j k", "next, previous row"),
    ("Enter", "open"),
    ("Esc", "leave a field"),
    ("[ ]", "previous, next event"),
    ("u", "local time or UTC"),
    (".", "pause the live tail"),
    ("c", "copy as a command"),
    ("v", "go to the proof"),
    ("g o  g e  g t", "overview, events, live"),
    ("g m  g a  g i", "map, alerts, integrity"),
    ("← ↑ → ↓", "move the map"),
];

/// A whole page.
pub(crate) fn page(page: &Page<'_>, body: Markup) -> Response<Body> {
    respond(StatusCode::OK, markup(page, body))
}

fn respond(status: StatusCode, page: Markup) -> Response<Body> {
    let mut response = Response::new(Body::from(page.into_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn markup(page: &Page<'_>, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (visible(page.title)) " · " @if page.demo { "demo · " } "Countersign" }
                link rel="icon" type="image/svg+xml" href=(url("icon.svg"));
                link rel="stylesheet" href=(url("style.css"));
                script type="module" src=(url("app.js")) {}
                @for module in page.modules {
                    script type="module" src=(url(module)) {}
                }
            }
            body {
                a.skip-link href="#main" { "Skip to the content" }
                (top(page))
                main #main tabindex="-1" {
                    @if !page.unknown.is_empty() {
                        div.notice.warn {
                            p { "Not understood and ignored: " @for name in page.unknown { code { bdi { (visible(name)) } } " " } }
                        }
                    }
                    (body)
                }
                (bottom(page))
                (help())
            }
        }
    }
}

fn top(page: &Page<'_>) -> Markup {
    html! {
        header.top {
            div {
                a.brand href="/" { (shield()) "Countersign" }
                @if page.demo { span.tag { "demo" } }
                nav.main aria-label="Main" {
                    ul {
                        @for (path, name) in NAVIGATION {
                            li { a href=(path) aria-current=[(path == page.current).then_some("page")] { (name) } }
                        }
                    }
                }
                form.query role="search" action="/events" method="get" {
                    label.sr for="q" { "Filter" }
                    input #q name="q" type="search" value=(page.q) maxlength="4096" autocomplete="off" spellcheck="false"
                        placeholder="who:payments-api outcome:denied";
                    button type="submit" { "Search" }
                }
            }
        }
    }
}

fn bottom(page: &Page<'_>) -> Markup {
    html! {
        footer {
            span { "Times are UTC. Captured text is shown as text; invisible characters are drawn." }
            span { a href="/integrity" { "What is proven, and what is not" } }
            @if page.demo { span { "Everything here was made by the demo." } }
            button #help-open type="button" hidden { "Keyboard: ?" }
            noscript { span { "Scripts are off: search, events, map and downloads work; live views do not." } }
        }
    }
}

fn help() -> Markup {
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keyboard" }
            table {
                thead { tr { th scope="col" { "Key" } th scope="col" { "Does" } } }
                tbody {
                    @for (keys, what) in KEYS {
                        tr { td { kbd { (keys) } } td { (what) } }
                    }
                }
            }
            p { label { input #keys-on type="checkbox" checked; " single keys are on" } }
            form method="dialog" { button type="submit" { "Close" } }
        }
    }
}

/// The mark of the product.
fn shield() -> Markup {
    html! {
        svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"
            stroke-linejoin="round" aria-hidden="true" {
            path d="M12 2 4 5v6c0 5 3.4 9.3 8 11 4.6-1.7 8-6 8-11V5z" {}
            path d="m8 12 3 3 5-6" {}
        }
    }
}

/// A text to copy, shown in full beside its button.
pub(crate) fn copy(label: &str, text: &str, id: Option<&str>) -> Markup {
    html! {
        div.copy {
            code tabindex="0" aria-label=(label) { bdi { (visible(text)) } }
            button type="button" id=[id] data-copy=(text) aria-label=(format!("Copy: {label}")) hidden { "Copy" }
        }
    }
}

/// A time for people, exact in its attribute.
pub(crate) fn time(ns: i64) -> Markup {
    html! { time datetime=(crate::time::rfc3339(ns)) title=(crate::time::rfc3339(ns)) { (crate::time::people(ns)) } }
}

/// An outcome with its sign and word.
pub(crate) fn outcome(word: &str) -> Markup {
    let word = if word.is_empty() { "unknown" } else { word };
    html! { span class=(format!("mark {word}")) { (word.replace('_', " ")) } }
}

/// How strongly an identity was proved, as a word with its number.
pub(crate) fn level(verified: Option<i64>) -> Markup {
    let (word, n) = match verified {
        Some(1) => ("claimed", 1),
        Some(2) => ("asserted", 2),
        Some(3) => ("checked", 3),
        Some(4) => ("bound", 4),
        _ => return html! { span.soft { "none" } },
    };
    html! { span.level title="1 claimed, 2 asserted, 3 checked, 4 bound" { (n) " " (word) } }
}

/// A problem as a page: what failed and the next step.
pub(crate) fn problem_page(problem: &Problem, demo: bool) -> Response<Body> {
    let unsigned = problem.code == "not-signed-in";
    let body = html! {
        header { h1 { (problem.title()) } }
        div class=(if unsigned { "panel login" } else { "panel" }) {
            p { bdi { (visible(&problem.detail)) } }
            @if !problem.suggestions.is_empty() {
                p { "Did you mean " @for name in &problem.suggestions { code { bdi { (visible(name)) } } " " } "?" }
            }
            @if !problem.hint.is_empty() { p { bdi { (visible(&problem.hint)) } } }
            @if unsigned {
                (renew_form())
            } @else {
                p.soft { "Code " code { (problem.code) } ", status " (problem.status.as_u16()) "." }
                p { a href="/" { "To the overview" } }
            }
        }
    };
    respond(problem.status, markup(&Page { title: problem.title(), demo, ..Page::default() }, body))
}

/// Asks the server to print a new link where only its operator looks.
pub(crate) fn renew_form() -> Markup {
    html! {
        form method="post" action="/login/renew" {
            button.primary type="submit" { "Print a new link in the terminal" }
        }
        p.soft { "The link appears where countersign runs. It works once, for 60 seconds." }
    }
}
