//! The lines of logs that are measured: one of each format, in which `@` is a number that differs.

/// Records of a format, each a little different.
const RECORDS: usize = 512;

/// A format's records.
pub(crate) struct Case {
    /// Name of the row.
    pub(crate) name: &'static str,
    pub(crate) format: &'static str,
    /// MiB/s, from the issue.
    pub(crate) bar: u64,
    line: &'static str,
}

impl Case {
    pub(crate) fn records(&self) -> Vec<String> {
        (0..RECORDS).map(|n| self.line.replace('@', &(n % 200 + 20).to_string())).collect()
    }
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "combined",
        format: "combined",
        bar: 150,
        line: r#"192.0.2.@ - - [13/Mar/2024:12:08:33 +0000] "GET /v1/orders/@/items?page=@ HTTP/1.1" 200 @ "https://shop.example/cart" "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/78.0.3904.108 Safari/537.36""#,
    },
    Case {
        name: "ingress-nginx",
        format: "ingress-nginx",
        bar: 150,
        line: r#"192.0.2.@ - - [13/Mar/2024:12:08:33 +0000] "POST /cart/@ HTTP/2.0" 200 @ "-" "orders/2.4" 35 0.003 [shop-cart-80] [] 10.1.2.3:8080 150 0.002 200 9f3c0a7d63f14f3e8c1c3f1c7a2c9f11"#,
    },
    Case {
        name: "envoy",
        format: "envoy",
        bar: 150,
        line: r#"[2024-03-13T12:08:33.250Z] "GET /v1/orders/@ HTTP/2" 200 - 154 @ 226 100 "10.0.35.28" "orders/2.4" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "orders.shop" "10.0.2.1:80""#,
    },
    Case {
        name: "haproxy",
        format: "haproxy",
        bar: 150,
        line: r#"10.0.1.2:33@ [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 @ - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /index.html?a=@ HTTP/1.1""#,
    },
    Case {
        name: "syslog",
        format: "syslog",
        bar: 150,
        line: r#"<165>1 2024-03-13T12:08:33.250Z web1.shop.example nginx 77@ - - 192.0.2.@ - - [13/Mar/2024:12:08:33 +0000] "GET /v1/orders/@/items HTTP/1.1" 200 @ "-" "orders/2.4""#,
    },
    Case {
        name: "envoy-json",
        format: "envoy",
        bar: 100,
        line: r#"{"start_time":"2024-03-13T12:08:33.250Z","method":"GET","path":"/v1/orders/@","protocol":"HTTP/2","response_code":200,"response_flags":"-","bytes_received":0,"bytes_sent":@,"duration":12,"upstream_service_time":"11","x_forwarded_for":"10.0.35.28","user_agent":"orders/2.4","request_id":"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2","authority":"orders.shop","upstream_host":"10.0.2.1:80","upstream_cluster":"outbound|80||orders.shop.svc.cluster.local","downstream_remote_address":"10.0.35.28:40122","route_name":"default"}"#,
    },
    Case {
        name: "cloudtrail",
        format: "cloudtrail",
        bar: 100,
        line: r#"{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:web-@","arn":"arn:aws:sts::123456789012:assumed-role/web/web-@","accountId":"123456789012","accessKeyId":"ASIAEXAMPLEEXAMPLE12","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::123456789012:role/web","accountId":"123456789012","userName":"web"},"attributes":{"creationDate":"2024-03-13T12:00:00Z","mfaAuthenticated":"false"}}},"eventTime":"2024-03-13T12:08:33Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-central-1","sourceIPAddress":"192.0.2.@","userAgent":"aws-sdk-go/1.44","requestParameters":{"bucketName":"orders","key":"2024/@.json"},"responseElements":null,"requestID":"3E57427F3EXAMPLE","eventID":"7d1f1fce-63f1-4f3e-8c1c-3f1c7a2c9f11","readOnly":true,"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"123456789012","eventCategory":"Data"}"#,
    },
    Case {
        name: "k8s-audit",
        format: "k8s-audit",
        bar: 100,
        line: r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"7d1f1fce-63f1-4f3e-8c1c-3f1c7a2c9f@","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods/web-@","verb":"get","user":{"username":"system:serviceaccount:shop:web","uid":"u","groups":["system:serviceaccounts","system:authenticated"]},"sourceIPs":["10.0.0.9"],"userAgent":"kubectl/v1.29","objectRef":{"resource":"pods","namespace":"shop","name":"web-@","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2024-03-13T12:08:33.250000Z","stageTimestamp":"2024-03-13T12:08:33.256000Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC"}}"#,
    },
];
