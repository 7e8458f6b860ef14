//! Kubernetes manifests and Istio configuration: which workloads there are, by which names they call, and which may
//! reach which.
//!
//! Services are callees, with their ports. Pods of workloads (Deployment, StatefulSet, DaemonSet, Job, CronJob, Pod) tie
//! labels to names: a workload calls by its own name, by its service account's, and by the SPIFFE path of it. A
//! NetworkPolicy or an AuthorizationPolicy (`action: ALLOW`) says who may reach the pods that it selects. Not evaluated
//! like a cluster would: named namespaces, `matchLabels` and plain principals are read; what is finer (expressions, IP
//! blocks, conditions) leaves the callee open to anybody, so that it makes no false finding.

use super::{Caller, Expected, Operation};
use crate::documents::{Refused, list, members, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// All objects read so far; they refer to each other in any order.
#[derive(Default)]
pub(super) struct Cluster {
    services: Vec<Service>,
    workloads: Vec<Workload>,
    policies: Vec<Policy>,
}

struct Service {
    source: String,
    name: String,
    ns: String,
    selector: Labels,
    ports: BTreeSet<u16>,
}

struct Workload {
    ns: String,
    labels: Labels,
    names: BTreeSet<String>,
}

/// Who may reach the pods that it selects.
struct Policy {
    source: String,
    ns: String,
    selector: Labels,
    from: Vec<From>,
}

struct From {
    peers: Peers,
    ports: BTreeSet<u16>,
    operations: BTreeSet<Operation>,
}

enum Peers {
    Anybody,
    /// Pods with these labels, in this namespace.
    Pods(Vec<(String, Labels)>),
    /// Names as they are.
    Named(BTreeSet<String>),
}

impl Cluster {
    pub(super) fn object(
        &mut self,
        into: &mut Expected,
        source: &str,
        place: &str,
        value: &Value,
    ) -> Result<(), Refused> {
        let kind = text(value, "/kind");
        if kind == "List" {
            for (at, item) in list(value, "/items").iter().enumerate() {
                // A list in a list is none of Kubernetes'.
                if text(item, "/kind") != "List" {
                    self.object(into, source, &format!("{place} items[{at}]"), item)?;
                }
            }
            return Ok(());
        }
        let name = text(value, "/metadata/name").to_owned();
        if name.is_empty() {
            return Err(Refused::new(source, format!("{place} {kind} metadata.name"), "is missing"));
        }
        let ns = Some(text(value, "/metadata/namespace"))
            .filter(|ns| !ns.is_empty())
            .unwrap_or("default")
            .to_owned();
        match kind {
            "Service" => self.services.push(Service {
                source: source.to_owned(),
                selector: labels(value, "/spec/selector"),
                ports: ports(list(value, "/spec/ports"), &["port", "targetPort"]),
                name,
                ns,
            }),
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
                self.workload(value, "/spec/template", &name, ns);
            }
            "CronJob" => self.workload(value, "/spec/jobTemplate/spec/template", &name, ns),
            "Pod" => self.workload(value, "", &name, ns),
            "NetworkPolicy" => self.network_policy(source, value, ns),
            "AuthorizationPolicy" => self.authorization_policy(source, value, ns),
            "VirtualService" => {
                for host in list(value, "/spec/hosts").iter().filter_map(Value::as_str) {
                    // A host is reached by everybody in the mesh unless a policy says otherwise.
                    into.callee(short(host), source);
                    into.alias(host, short(host));
                }
            }
            _ => *into.passed_over.entry(kind.to_owned()).or_default() += 1,
        }
        Ok(())
    }

    fn workload(&mut self, value: &Value, template: &str, name: &str, ns: String) {
        let account = text(value, &format!("{template}/spec/serviceAccountName"));
        let account = if account.is_empty() { "default" } else { account };
        let labels = labels(value, &format!("{template}/metadata/labels"));
        let mut names: BTreeSet<String> = account_names(&ns, account);
        names.extend([name.to_lowercase(), format!("{ns}/{name}").to_lowercase()]);
        self.workloads.push(Workload { ns, labels, names });
    }

    fn network_policy(&mut self, source: &str, value: &Value, ns: String) {
        let types = list(value, "/spec/policyTypes");
        let ingress = types.is_empty() || types.iter().any(|t| t == "Ingress");
        if !ingress || is_fine(value, "/spec/podSelector") {
            return;
        }
        let from = |rule: &Value| From {
            peers: peers(list(rule, "/from"), &ns),
            ports: ports(list(rule, "/ports"), &["port"]),
            operations: BTreeSet::new(),
        };
        let from = list(value, "/spec/ingress").iter().map(from).collect();
        let selector = labels(value, "/spec/podSelector/matchLabels");
        self.policies.push(Policy { source: source.to_owned(), ns, selector, from });
    }

    fn authorization_policy(&mut self, source: &str, value: &Value, ns: String) {
        if !matches!(text(value, "/spec/action"), "" | "ALLOW") {
            return;
        }
        let from = list(value, "/spec/rules").iter().map(authorized).collect();
        let selector = labels(value, "/spec/selector/matchLabels");
        self.policies.push(Policy { source: source.to_owned(), ns, selector, from });
    }

    /// Ties services, workloads and policies together.
    pub(super) fn finish(self, into: &mut Expected) {
        for service in &self.services {
            let name = service.name.to_lowercase();
            into.callee(&name, &service.source);
            for alias in [format!("{name}.{}", service.ns), format!("{}/{name}", service.ns)] {
                into.alias(&alias, &name);
            }
            let selected = |policy: &&Policy| {
                policy.ns == service.ns
                    && !service.selector.is_empty()
                    && within(&policy.selector, &service.selector)
            };
            for policy in self.policies.iter().filter(selected) {
                // An isolated pod that nobody may reach: a rule that takes nobody.
                if policy.from.is_empty() {
                    let nobody = Caller { names: ["(nobody)".to_owned()].into(), ..Caller::default() };
                    let _ = into.caller(&policy.source, &name, nobody);
                }
                for from in &policy.from {
                    let caller = Caller {
                        names: self.names(&from.peers),
                        ports: if from.ports.is_empty() { BTreeSet::new() } else { service.ports.clone() },
                        proto: String::new(),
                        operations: from.operations.clone(),
                    };
                    if let Err(refused) = into.caller(&policy.source, &name, caller) {
                        into.refused.push(refused);
                        return;
                    }
                }
            }
        }
    }

    fn names(&self, peers: &Peers) -> BTreeSet<String> {
        match peers {
            Peers::Anybody => BTreeSet::new(),
            Peers::Named(names) => names.clone(),
            Peers::Pods(pods) => {
                let of =
                    |w: &&Workload| pods.iter().any(|(ns, labels)| *ns == w.ns && within(labels, &w.labels));
                let names: BTreeSet<String> =
                    self.workloads.iter().filter(of).flat_map(|w| w.names.clone()).collect();
                // No workload is known with these labels: somebody who is in no document, not anybody.
                if names.is_empty() { ["(no known workload)".to_owned()].into() } else { names }
            }
        }
    }
}

fn peers(from: &[Value], ns: &str) -> Peers {
    let mut pods = Vec::new();
    for peer in from {
        let namespace = peer.get("namespaceSelector");
        let elsewhere = text(peer, "/namespaceSelector/matchLabels/kubernetes.io~1metadata.name");
        let fine = peer.get("ipBlock").is_some()
            || is_fine(peer, "/podSelector")
            || namespace.is_some() && elsewhere.is_empty();
        if fine {
            return Peers::Anybody;
        }
        let ns = if elsewhere.is_empty() { ns } else { elsewhere };
        pods.push((ns.to_owned(), labels(peer, "/podSelector/matchLabels")));
    }
    if pods.is_empty() { Peers::Anybody } else { Peers::Pods(pods) }
}

/// One rule of an AuthorizationPolicy.
fn authorized(rule: &Value) -> From {
    let mut names = BTreeSet::new();
    let mut anybody = list(rule, "/from").is_empty();
    for source in list(rule, "/from") {
        let principals = list(source, "/source/principals");
        anybody |= principals.is_empty();
        for principal in principals.iter().filter_map(Value::as_str) {
            // `cluster.local/ns/shop/sa/web`; one with a star says no single name.
            match principal.split_once("/ns/").and_then(|(_, rest)| rest.split_once("/sa/")) {
                Some((ns, account)) if !principal.contains('*') => names.extend(account_names(ns, account)),
                _ => anybody = true,
            }
        }
    }
    let mut operations = BTreeSet::new();
    for to in list(rule, "/to") {
        let star = [Value::from("*")];
        let or_star =
            |pointer: &str| Some(list(to, pointer)).filter(|l| !l.is_empty()).unwrap_or(&star).to_vec();
        for method in or_star("/operation/methods").iter().filter_map(Value::as_str) {
            for path in or_star("/operation/paths").iter().filter_map(Value::as_str) {
                operations.insert(Operation::new(&format!("{method} {path}")));
            }
        }
    }
    let peers = if anybody { Peers::Anybody } else { Peers::Named(names) };
    From { peers, ports: BTreeSet::new(), operations }
}

fn account_names(ns: &str, account: &str) -> BTreeSet<String> {
    [
        account.to_lowercase(),
        format!("/ns/{ns}/sa/{account}").to_lowercase(),
        format!("system:serviceaccount:{ns}:{account}").to_lowercase(),
    ]
    .into()
}

fn labels(value: &Value, pointer: &str) -> Labels {
    members(value, pointer)
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Whether a selector says more than `matchLabels` do.
fn is_fine(value: &Value, pointer: &str) -> bool {
    !list(value, &format!("{pointer}/matchExpressions")).is_empty()
}

fn within(few: &Labels, many: &Labels) -> bool {
    few.iter().all(|(key, value)| many.get(key) == Some(value))
}

fn ports(of: &[Value], keys: &[&str]) -> BTreeSet<u16> {
    let numbers = of.iter().flat_map(|port| keys.iter().filter_map(|key| port.get(*key)?.as_u64()));
    numbers.filter_map(|port| u16::try_from(port).ok()).collect()
}

/// `orders` of `orders.shop.svc.cluster.local`.
fn short(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}
