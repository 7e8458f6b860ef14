//! Every kind of document, and what is refused.

use super::*;
use proptest::prelude::*;

fn read(source: &str, service: &str, text: &str) -> Expected {
    Expected::read(&[Document { source, service, text }])
}

fn edge(caller: &str, callee: &str, operation: &str) -> Edge {
    let id = if caller.contains("://") { caller } else { "" };
    Edge {
        caller: caller.to_owned(),
        id: id.to_owned(),
        callee: callee.to_owned(),
        port: 8080,
        proto: "http".to_owned(),
        operation: operation.to_owned(),
    }
}

fn refusals(expected: &Expected) -> Vec<String> {
    expected.refused.iter().map(ToString::to_string).collect()
}

#[test]
fn a_service_list_is_read_in_three_spellings() {
    let toml = "[[call]]\nfrom = \"web\"\nto = \"orders\"\nport = 8080\nprotocol = \"http\"\noperations = [\"GET /o/{id}\"]\n";
    let yaml = "call:\n  - from: web\n    to: orders\n    port: 8080\n    protocol: http\n    operations: [\"GET /o/{id}\"]\n";
    let csv = "caller,callee,port,protocol,operation\nweb,orders,8080,http,GET /o/{id}\n";
    for (source, text) in [("a.toml", toml), ("a.yml", yaml), ("a.csv", csv)] {
        let expected = read(source, "", text);
        assert_eq!(refusals(&expected), [""; 0]);
        assert_eq!(expected.fit(&edge("web", "Orders", "GET /o/7")), Fit::Expected, "{source}");
        assert_eq!(expected.fit(&edge("web", "orders", "PUT /o/7")), Fit::Caller, "{source}");
        assert_eq!(expected.fit(&edge("cron", "orders", "GET /o/7")), Fit::Caller, "{source}");
        assert_eq!(expected.fit(&edge("cron", "users", "GET /")), Fit::Unmentioned, "{source}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    let refused = |source: &str, text: &str| refusals(&read(source, "", text)).remove(0);
    assert_eq!(
        refused("a.toml", "[[call]]\nform = \"web\"\nto = \"x\"\n"),
        "a.toml, call 1: unknown key `form`; known are from, to, port, protocol, operations"
    );
    assert!(refused("a.toml", "[[call]]\nfrom = \n").starts_with("a.toml, line 2: not TOML"));
    assert!(refused("a.json", "{\"swagger\": \"2.0\"}").contains("Swagger 2.0"));
    assert!(refused("a.yml", "openapi: 4.0.0\ninfo: {title: x}\n").contains("known is 3.x"));
    assert!(refused("a.yml", "hello: world\n").contains("neither OpenAPI 3"));
    assert!(refused("a.yml", "a: [\n").contains("not YAML"));
    assert!(refused("a.yml", "apiVersion: v1\nkind: Service\nmetadata: {}\n").contains("metadata.name"));
    assert!(refused("a.csv", "a,b\n1,2\n").contains("no columns"));
    assert!(refused("a.csv", "grantee,table_name\n").contains("grants name no service"));
    assert_eq!(
        refused("a.proto", "service A {\n rpc B(;\n"),
        "a.proto, line 2: expected the name of a message"
    );
    assert_eq!(refused("a.proto", "message A {\n"), "a.proto, line 2: a brace is not closed");
}

#[test]
fn openapi_offers_its_operations_under_its_servers_path() {
    let text = "openapi: 3.1.0\ninfo: {title: orders}\nservers: [{url: 'https://x.example/api/v1'}]\npaths:\n  \
                /orders/{orderId}:\n    parameters: []\n    get: {responses: {200: {description: ok}}}\n";
    let expected = read("o.yml", "", text);
    assert_eq!(expected.fit(&edge("anybody", "orders", "GET /api/v1/orders/{id}")), Fit::Expected);
    assert_eq!(expected.fit(&edge("anybody", "orders", "DELETE /api/v1/orders/{id}")), Fit::Operation);
    assert_eq!(expected.fit(&edge("anybody", "orders", "GET /orders/{id}")), Fit::Operation);
}

const PROTO: &str = r#"
syntax = "proto3"; // service Comment { rpc No(A) returns (B); }
package shop.v1;
option java_package = "service X { rpc Y(A) returns (B); }";
message Service { string service = 1; message rpc { int32 a = 1; } }
/* service Gone { rpc Gone(A) returns (B); } */
service Orders {
  option deprecated = false;
  rpc Get(GetRequest) returns (.shop.v1.Order) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Watch(stream GetRequest) returns (stream Order);
}
"#;

#[test]
fn protobuf_gives_its_methods_and_nothing_that_looks_like_one() {
    let found = rpcs(PROTO).unwrap();
    let names: Vec<_> = found.iter().map(|r| (r.service.as_str(), r.method.as_str())).collect();
    assert_eq!(names, [("shop.v1.Orders", "Get"), ("shop.v1.Orders", "Watch")]);
    assert_eq!(found[0].types, [("GetRequest".to_owned(), false), (".shop.v1.Order".to_owned(), false)]);
    assert!(found[1].types.iter().all(|(_, stream)| *stream));
    let expected = read("o.proto", "", PROTO);
    assert_eq!(expected.fit(&edge("a", "some-route", "shop.v1.Orders/Get")), Fit::Expected);
    assert_eq!(expected.fit(&edge("a", "some-route", "shop.v1.Orders/Drop")), Fit::Operation);
    let deep = "message A {".repeat(PROTO_NESTING_MAX + 1);
    assert!(rpcs(&deep).unwrap_err().1.contains("braces open"));
}

#[test]
fn grants_say_who_may_do_what_to_which_table() {
    let text = "grantee,table_schema,table_name,privilege_type\nshop,public,orders,SELECT\nPUBLIC,public,news,SELECT\n";
    let expected = read("g.csv", "orders-db", text);
    assert_eq!(expected.fit(&edge("shop", "orders-db", "select orders")), Fit::Expected);
    assert_eq!(expected.fit(&edge("shop", "orders-db", "DELETE orders")), Fit::Caller);
    assert_eq!(expected.fit(&edge("other", "orders-db", "SELECT public.orders")), Fit::Caller);
    assert_eq!(expected.fit(&edge("other", "orders-db", "SELECT public.news")), Fit::Expected);
}

const CLUSTER: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: orders, namespace: shop}, spec: {selector: {app: orders}, ports: [{port: 80, targetPort: 8080}]}}
- {apiVersion: v1, kind: Service, metadata: {name: open, namespace: shop}, spec: {selector: {app: open}, ports: [{port: 80}]}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: front}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: orders, namespace: shop}
spec:
  podSelector: {matchLabels: {app: orders}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
";

#[test]
fn a_network_policy_names_the_callers_by_their_accounts() {
    let expected = read("k.yml", "", CLUSTER);
    assert_eq!(refusals(&expected), [""; 0]);
    for caller in ["web", "front", "spiffe://td/ns/shop/sa/front", "system:serviceaccount:shop:front"] {
        assert_eq!(expected.fit(&edge(caller, "orders", "GET /")), Fit::Expected, "{caller}");
    }
    for callee in ["orders", "orders.shop", "orders.shop.svc.cluster.local"] {
        assert_eq!(
            expected.fit(&edge("spiffe://td/ns/shop/sa/cron", callee, "GET /")),
            Fit::Caller,
            "{callee}"
        );
    }
    assert_eq!(expected.fit(&edge("anybody", "open", "GET /")), Fit::Expected);
    assert_eq!(expected.passed_over.get("ConfigMap"), Some(&1));
    // In any order of documents.
    let mut parts: Vec<&str> = CLUSTER.split("---").collect();
    parts.reverse();
    assert_eq!(expected.callees(), read("k.yml", "", &parts.join("---")).callees());
}

#[test]
fn an_authorization_policy_names_principals_and_operations() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {selector: {app: orders}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET], paths: [/orders/*]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users, namespace: shop}
spec: {hosts: [users.shop.svc.cluster.local]}
";
    let expected = read("m.yml", "", text);
    assert_eq!(
        expected.fit(&edge("spiffe://td/ns/shop/sa/web", "orders", "GET /orders/{id}")),
        Fit::Expected
    );
    assert_eq!(expected.fit(&edge("spiffe://td/ns/shop/sa/web", "orders", "PUT /orders/{id}")), Fit::Caller);
    assert_eq!(expected.fit(&edge("spiffe://td/ns/shop/sa/x", "orders", "GET /orders/{id}")), Fit::Caller);
    assert_eq!(expected.fit(&edge("anybody", "users", "GET /")), Fit::Expected);
}

#[test]
fn seeds_cut_anywhere_are_read_or_refused() {
    for (choice, seed) in [
        (0, CLUSTER),
        (1, PROTO),
        (3, "[[call]]\nfrom='a'\nto='b'\nport=1\n"),
        (2, "caller,callee\n\"a\"\"\",b\n"),
    ] {
        for end in (0..=seed.len()).step_by(3).filter(|end| seed.is_char_boundary(*end)) {
            crate::fuzz::coverage_document(&[&[choice], &seed.as_bytes()[..end]].concat());
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(choice in 0..5u8, text in "(?s)[a-z{}():;/*\"'.,\\[\\]\n -]{0,200}") {
        crate::fuzz::coverage_document(&[&[choice], text.as_bytes()].concat());
    }
}
