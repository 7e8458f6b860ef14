//! Contracts as they are written down: OpenAPI 3 and protobuf.

use super::{Breach, What, media, status};
use crate::coverage::{Document, Operation, openapi, operation, rpcs};
use crate::documents::{self, Refused, members, text};
use countersign_event::{Event, Kind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Most operations over all documents.
pub const CONTRACTS_MAX: usize = 50_000;
/// Values named in a finding.
const NAMED: usize = 6;

/// One operation of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    operation: Operation,
    /// Content types of a request; empty = nothing is said.
    request: BTreeSet<String>,
    /// Content types by status code, `2XX` or `default`; an empty set = nothing is said of the content.
    responses: BTreeMap<String, BTreeSet<String>>,
    document: String,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contracts {
    /// By service, lower case, then by method.
    offers: BTreeMap<String, BTreeMap<String, Vec<Offer>>>,
    /// Methods of protobuf services by full name of the service: document, methods.
    services: BTreeMap<String, (String, BTreeSet<String>)>,
    count: usize,
    /// What was not taken.
    pub refused: Vec<Refused>,
}

impl Contracts {
    /// Reads documents; texts of other kinds are refused, so give it those that are contracts.
    pub fn read(texts: &[Document<'_>]) -> Contracts {
        let mut out = Contracts::default();
        for of in texts {
            let read = if of.source.to_ascii_lowercase().ends_with(".proto") {
                out.proto(of)
            } else {
                out.openapi(of)
            };
            out.refused.extend(read.err());
        }
        out
    }

    /// Operations known.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn room(&mut self, source: &str) -> Result<(), Refused> {
        self.count += 1;
        let full = self.count > CONTRACTS_MAX;
        if full {
            Err(Refused::new(source, "", format!("more than {CONTRACTS_MAX} operations")))
        } else {
            Ok(())
        }
    }

    fn proto(&mut self, of: &Document<'_>) -> Result<(), Refused> {
        if of.text.len() > documents::TEXT_MAX {
            return Err(Refused::new(of.source, "", format!("longer than {} bytes", documents::TEXT_MAX)));
        }
        let rpcs =
            rpcs(of.text).map_err(|(line, why)| Refused::new(of.source, format!("line {line}"), why))?;
        for rpc in rpcs {
            self.room(of.source)?;
            let entry =
                self.services.entry(rpc.service).or_insert_with(|| (of.source.to_owned(), BTreeSet::new()));
            entry.1.insert(rpc.method);
        }
        Ok(())
    }

    fn openapi(&mut self, of: &Document<'_>) -> Result<(), Refused> {
        for read in documents::read(of.source, of.text) {
            let (place, value) = read?;
            if !text(&value, "/openapi").starts_with("3.") {
                let why = "neither OpenAPI 3.x (`openapi: 3.…`) nor protobuf (`.proto`)";
                return Err(Refused::new(of.source, place, why));
            }
            let service = openapi::service(of.service, &value).to_lowercase();
            if service.is_empty() {
                return Err(Refused::new(of.source, format!("{place} info.title"), "no name of the service"));
            }
            for (path, item) in members(&value, "/paths").filter(|(path, _)| path.starts_with('/')) {
                for method in openapi::METHODS {
                    let Some(found) = item.get(method) else { continue };
                    for base in openapi::bases(&value) {
                        self.room(of.source)?;
                        let method = method.to_uppercase();
                        let offer = Offer {
                            operation: Operation::new(&format!("{method} {base}{path}")),
                            request: content(&value, found.get("requestBody")),
                            responses: members(found, "/responses")
                                .map(|(code, response)| {
                                    (code.to_uppercase(), content(&value, Some(response)))
                                })
                                .collect(),
                            document: of.source.to_owned(),
                        };
                        self.offers
                            .entry(service.clone())
                            .or_default()
                            .entry(method)
                            .or_default()
                            .push(offer);
                    }
                }
            }
        }
        Ok(())
    }

    /// The breaches of a call; `None` = no document speaks of its operation.
    pub(super) fn judge(&self, event: &Event) -> Option<Vec<Breach>> {
        if event.core.kind == Some(Kind::Grpc) {
            return self.judge_rpc(event);
        }
        let service = self.offers.get(&event.target.svc.to_lowercase())?;
        let (seen, method) = (operation(event), event.core.op.to_uppercase());
        // `/orders/mine` is not `/orders/{id}`, though either could be taken for the other.
        let fits = service.get(&method)?.iter().filter(|offer| offer.operation.takes(&seen));
        let offer = fits.min_by_key(|offer| offer.operation.unlike(&seen))?;
        Some(offer.judge(event))
    }

    fn judge_rpc(&self, event: &Event) -> Option<Vec<Breach>> {
        let (service, method) = event.target.res.trim_start_matches('/').rsplit_once('/')?;
        let (document, methods) = self.services.get(service)?;
        let breach = |what, got: &str, want: String| {
            vec![Breach { what, got: got.to_owned(), want, document: document.clone() }]
        };
        if !methods.contains(method) {
            return Some(breach(What::Method, method, some(methods.iter())));
        }
        Some(match status(event) {
            // UNIMPLEMENTED of a method that is promised; and codes that gRPC does not have.
            Some("12") => breach(What::Status, "12", "the method is promised".to_owned()),
            Some(code) if !code.parse::<u8>().is_ok_and(|code| code <= 16) => {
                breach(What::Status, code, "0 to 16".to_owned())
            }
            _ => Vec::new(),
        })
    }
}

impl Offer {
    fn judge(&self, event: &Event) -> Vec<Breach> {
        let mut out = Vec::new();
        let mut breach = |what, got: String, want: String| {
            out.push(Breach { what, got, want, document: self.document.clone() });
        };
        let media_of = |payload: &Option<countersign_event::Payload>| {
            payload.as_ref().map(|payload| media(&payload.content_type)).filter(|media| !media.is_empty())
        };
        if let Some(got) = media_of(&event.body.req)
            && !self.request.is_empty()
            && !allows(&self.request, &got)
        {
            breach(What::Request, got, some(self.request.iter()));
        }
        let Some(code) = status(event).filter(|_| !self.responses.is_empty()) else { return out };
        let class = format!("{}XX", code.get(..1).unwrap_or_default());
        let found = [code, class.as_str(), "DEFAULT"].into_iter().find_map(|key| self.responses.get(key));
        match found {
            None => breach(What::Status, code.to_owned(), some(self.responses.keys())),
            Some(content) => {
                if let Some(got) = media_of(&event.body.rsp)
                    && !content.is_empty()
                    && !allows(content, &got)
                {
                    breach(What::Answer, got, some(content.iter()));
                }
            }
        }
        out
    }
}

/// The content types of a request body or a response, one reference into `components` followed.
fn content(root: &Value, of: Option<&Value>) -> BTreeSet<String> {
    let Some(of) = of else { return BTreeSet::new() };
    let referred = text(of, "/$ref").strip_prefix('#').and_then(|pointer| root.pointer(pointer));
    members(referred.unwrap_or(of), "/content").map(|(name, _)| media(name)).collect()
}

fn allows(content: &BTreeSet<String>, got: &str) -> bool {
    content.iter().any(|range| match range.strip_suffix('*') {
        Some("*/") => true,
        Some(begin) => got.starts_with(begin),
        None => range == got,
    })
}

fn some<'t>(of: impl ExactSizeIterator<Item = &'t String>) -> String {
    let more = of.len().saturating_sub(NAMED);
    let named: Vec<&str> = of.take(NAMED).map(String::as_str).collect();
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}
