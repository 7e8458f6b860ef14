//! Tokens and keys that are known by their beginning, as their issuers document them.
//!
//! One row a form: rule, beginning, the characters that follow, how many at least and at most. Facts only;
//! nothing here was taken from another tool's rule set. A row costs one entry in the search automaton, so
//! adding one is free.

/// Characters of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chars {
    /// `0-9a-f`, either case.
    Hex,
    /// `0-9`.
    Digits,
    /// `0-9A-Za-z`.
    Alnum,
    /// `0-9A-Z`.
    Upper,
    /// `0-9a-z`.
    Lower,
    /// `0-9A-Za-z_-`: base64url.
    Url,
    /// `0-9A-Za-z_.-`.
    Dotted,
    /// `0-9A-Za-z+/=_-`: base64 of both kinds.
    Base64,
}

impl Chars {
    /// Whether `b` may stand in the token.
    pub fn has(self, b: u8) -> bool {
        match self {
            Chars::Hex => b.is_ascii_hexdigit(),
            Chars::Digits => b.is_ascii_digit(),
            Chars::Alnum => b.is_ascii_alphanumeric(),
            Chars::Upper => b.is_ascii_digit() || b.is_ascii_uppercase(),
            Chars::Lower => b.is_ascii_digit() || b.is_ascii_lowercase(),
            Chars::Url => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'),
            Chars::Dotted => b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'),
            Chars::Base64 => b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-'),
        }
    }
}

/// One form.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Rule, as it stands in a record.
    pub rule: &'static str,
    /// Beginning, case counts.
    pub start: &'static str,
    /// What follows.
    pub chars: Chars,
    /// Fewest characters that follow.
    pub min: usize,
    /// Most; a longer run is another thing and no hit.
    pub max: usize,
}

const fn form(rule: &'static str, start: &'static str, chars: Chars, min: usize, max: usize) -> Form {
    Form { rule, start, chars, min, max }
}

use Chars::{Alnum, Base64, Digits, Dotted, Hex, Lower, Upper, Url};

/// Longest token that is followed to its end.
pub const TOKEN_MAX: usize = 4_096;

/// Every form.
pub const FORMS: &[Form] = &[
    // source code hosts and package registries
    form("github-token", "ghp_", Alnum, 30, 255),
    form("github-token", "gho_", Alnum, 30, 255),
    form("github-token", "ghu_", Alnum, 30, 255),
    form("github-token", "ghs_", Alnum, 30, 255),
    form("github-token", "ghr_", Alnum, 30, 255),
    form("github-token", "github_pat_", Url, 22, 255),
    form("gitlab-token", "glpat-", Dotted, 20, 64),
    form("gitlab-token", "gldt-", Dotted, 20, 64),
    form("gitlab-token", "glrt-", Dotted, 20, 64),
    form("gitlab-token", "glptt-", Hex, 40, 40),
    form("gitlab-token", "glcbt-", Dotted, 20, 80),
    form("gitlab-token", "glimt-", Dotted, 20, 64),
    form("gitlab-token", "glagent-", Dotted, 20, 80),
    form("gitlab-token", "glsoat-", Dotted, 20, 64),
    form("gitlab-token", "glffct-", Dotted, 20, 64),
    form("gitlab-token", "glft-", Dotted, 20, 64),
    form("gitlab-token", "gloas-", Hex, 64, 64),
    form("gitlab-token", "GR1348941", Url, 20, 50),
    form("bitbucket-token", "ATBB", Alnum, 24, 40),
    form("bitbucket-token", "ATCTT3xFf", Base64, 100, 400),
    form("atlassian-token", "ATATT3xFf", Base64, 100, 400),
    form("atlassian-token", "ATOA", Alnum, 60, 400),
    form("npm-token", "npm_", Alnum, 36, 36),
    form("pypi-token", "pypi-", Url, 85, 400),
    form("rubygems-token", "rubygems_", Hex, 48, 48),
    form("crates-token", "cio", Alnum, 32, 32),
    form("nuget-key", "oy2", Lower, 43, 43),
    form("docker-token", "dckr_pat_", Url, 27, 80),
    form("docker-token", "dckr_oat_", Url, 27, 80),
    form("clojars-token", "CLOJARS_", Lower, 60, 60),
    form("jfrog-key", "AKCp", Alnum, 66, 80),
    form("jfrog-token", "cmVmdGtuO", Base64, 50, 100),
    // clouds
    form("aws-access-key", "AKIA", Upper, 16, 16),
    form("aws-access-key", "ASIA", Upper, 16, 16),
    form("aws-access-key", "ABIA", Upper, 16, 16),
    form("aws-access-key", "ACCA", Upper, 16, 16),
    form("aws-bedrock-key", "ABSK", Base64, 100, 300),
    form("google-api-key", "AIza", Url, 35, 35),
    form("google-oauth-token", "ya29.", Dotted, 20, 1_024),
    form("google-oauth-secret", "GOCSPX-", Url, 28, 28),
    form("google-refresh-token", "1//0", Url, 30, 256),
    form("azure-storage-key", "AccountKey=", Base64, 86, 90),
    form("azure-sas", "SharedAccessKey=", Base64, 43, 90),
    form("azure-sas", "sig=", Base64, 43, 100),
    form("azure-devops-token", "AZDO", Alnum, 80, 90),
    form("digitalocean-token", "dop_v1_", Hex, 64, 64),
    form("digitalocean-token", "doo_v1_", Hex, 64, 64),
    form("digitalocean-token", "dor_v1_", Hex, 64, 64),
    form("heroku-key", "HRKU-", Url, 36, 70),
    form("alibaba-access-key", "LTAI", Alnum, 16, 28),
    form("tencent-secret-id", "AKID", Alnum, 32, 36),
    form("ibm-iam-key", "ibm_", Url, 40, 60),
    form("scaleway-key", "SCW", Upper, 17, 17),
    form("flyio-token", "fo1_", Url, 40, 80),
    form("flyio-token", "fm2_", Base64, 100, 2_048),
    form("flyio-token", "FlyV1 ", Base64, 60, 2_048),
    form("vercel-token", "vercel_blob_rw_", Url, 30, 80),
    form("netlify-token", "nfp_", Alnum, 36, 60),
    form("planetscale-token", "pscale_tkn_", Dotted, 32, 64),
    form("planetscale-password", "pscale_pw_", Dotted, 32, 64),
    form("planetscale-oauth", "pscale_oauth_", Dotted, 32, 64),
    form("supabase-token", "sbp_", Hex, 40, 40),
    form("supabase-secret", "sb_secret_", Url, 20, 80),
    form("neon-key", "napi_", Alnum, 40, 80),
    form("databricks-token", "dapi", Hex, 32, 34),
    form("confluent-key", "cflt", Base64, 56, 80),
    form("terraform-token", "atlasv1.", Url, 60, 80),
    form("pulumi-token", "pul-", Hex, 40, 40),
    form("doppler-token", "dp.pt.", Alnum, 40, 44),
    form("doppler-token", "dp.st.", Dotted, 40, 80),
    form("doppler-token", "dp.ct.", Alnum, 40, 44),
    form("doppler-token", "dp.sa.", Alnum, 40, 44),
    form("infisical-token", "st.", Dotted, 60, 120),
    form("vault-token", "hvs.", Url, 24, 255),
    form("vault-token", "hvb.", Url, 24, 400),
    form("vault-token", "hvr.", Url, 24, 400),
    form("onepassword-token", "ops_ey", Base64, 200, 2_048),
    form("onepassword-secret-key", "A3-", Url, 32, 40),
    form("age-secret-key", "AGE-SECRET-KEY-1", Upper, 58, 58),
    form("kubernetes-bootstrap", "kubeconfig-u-", Url, 20, 80),
    form("openshift-token", "sha256~", Url, 43, 43),
    form("tailscale-key", "tskey-", Url, 20, 80),
    form("cloudflare-origin-key", "v1.0-", Url, 140, 200),
    // payments
    form("stripe-key", "sk_live_", Alnum, 16, 255),
    form("stripe-key", "sk_test_", Alnum, 16, 255),
    form("stripe-key", "rk_live_", Alnum, 16, 255),
    form("stripe-key", "rk_test_", Alnum, 16, 255),
    form("webhook-secret", "whsec_", Base64, 24, 128),
    form("square-token", "sq0atp-", Url, 22, 22),
    form("square-secret", "sq0csp-", Url, 43, 43),
    form("square-token", "EAAA", Url, 60, 60),
    form("paypal-braintree", "access_token$production$", Alnum, 16, 80),
    form("paypal-braintree", "access_token$sandbox$", Alnum, 16, 80),
    form("flutterwave-key", "FLWSECK-", Url, 34, 44),
    form("razorpay-key", "rzp_live_", Alnum, 14, 24),
    form("shippo-token", "shippo_live_", Hex, 40, 40),
    form("easypost-key", "EZAK", Alnum, 54, 54),
    form("adyen-key", "AQE", Base64, 120, 300),
    form("gocardless-token", "live_", Url, 40, 44),
    form("plaid-token", "access-production-", Url, 36, 36),
    form("shopify-token", "shpat_", Hex, 32, 32),
    form("shopify-token", "shpca_", Hex, 32, 32),
    form("shopify-token", "shppa_", Hex, 32, 32),
    form("shopify-secret", "shpss_", Hex, 32, 32),
    // messaging and mail
    form("slack-token", "xoxb-", Url, 20, 255),
    form("slack-token", "xoxp-", Url, 20, 255),
    form("slack-token", "xoxa-", Url, 20, 255),
    form("slack-token", "xoxr-", Url, 20, 255),
    form("slack-token", "xoxs-", Url, 20, 255),
    form("slack-token", "xoxe-", Url, 20, 255),
    form("slack-token", "xoxe.xox", Dotted, 20, 400),
    form("slack-app-token", "xapp-", Url, 20, 255),
    form("slack-webhook", "hooks.slack.com/services/", Base64, 30, 80),
    form("slack-webhook", "hooks.slack.com/workflows/", Base64, 30, 120),
    form("discord-webhook", "discord.com/api/webhooks/", Base64, 60, 120),
    form("teams-webhook", ".webhook.office.com/webhookb2/", Base64, 36, 300),
    form("telegram-token", ":AA", Url, 32, 33),
    form("twilio-key", "SK", Hex, 32, 32),
    form("sendgrid-key", "SG.", Dotted, 60, 70),
    form("sendinblue-key", "xkeysib-", Url, 70, 90),
    form("mailgun-key", "key-", Lower, 32, 32),
    form("mailchimp-transactional", "md-", Url, 22, 22),
    form("postman-key", "PMAK-", Url, 59, 64),
    form("resend-key", "re_", Url, 30, 40),
    form("expo-token", "ExponentPushToken", Url, 20, 40),
    // observability, work tools
    form("newrelic-key", "NRAK-", Upper, 27, 27),
    form("newrelic-key", "NRII-", Url, 32, 32),
    form("newrelic-key", "NRJS-", Hex, 19, 19),
    form("grafana-token", "glsa_", Url, 40, 60),
    form("grafana-token", "glc_", Base64, 32, 400),
    form("grafana-key", "eyJrIjoi", Base64, 70, 400),
    form("sentry-token", "sntrys_", Base64, 60, 400),
    form("sentry-token", "sntryu_", Hex, 64, 64),
    form("dynatrace-token", "dt0c01.", Dotted, 80, 100),
    form("dynatrace-token", "dt0s01.", Dotted, 80, 100),
    form("honeycomb-key", "hcaik_", Lower, 58, 58),
    form("honeycomb-key", "hcbik_", Lower, 58, 58),
    form("axiom-token", "xaat-", Url, 36, 36),
    form("linear-key", "lin_api_", Alnum, 40, 40),
    form("linear-secret", "lin_oauth_", Hex, 64, 64),
    form("notion-token", "ntn_", Alnum, 40, 60),
    form("notion-token", "secret_", Alnum, 43, 43),
    form("airtable-token", "pat", Dotted, 79, 79),
    form("asana-token", "2/1", Dotted, 39, 59),
    form("figma-token", "figd_", Url, 40, 60),
    form("dropbox-token", "sl.", Url, 130, 1_400),
    form("hubspot-token", "pat-na1-", Url, 36, 36),
    form("hubspot-token", "pat-eu1-", Url, 36, 36),
    form("typeform-token", "tfp_", Dotted, 59, 60),
    form("contentful-token", "CFPAT-", Url, 43, 43),
    form("algolia-secured", "algolia_", Hex, 32, 32),
    form("mapbox-token", "sk.eyJ", Dotted, 60, 200),
    form("launchdarkly-key", "api-", Url, 36, 36),
    form("launchdarkly-key", "sdk-", Url, 36, 36),
    form("sonar-token", "sqp_", Hex, 40, 40),
    form("sonar-token", "squ_", Hex, 40, 40),
    form("sonar-token", "sqa_", Hex, 40, 40),
    form("snyk-token", "snyk_", Url, 36, 120),
    form("circleci-token", "CCIPAT_", Url, 40, 80),
    form("buildkite-token", "bkua_", Hex, 40, 40),
    form("readme-key", "rdme_", Lower, 70, 70),
    form("prefect-key", "pnu_", Alnum, 36, 36),
    form("duffel-token", "duffel_live_", Url, 43, 43),
    form("frameio-token", "fio-u-", Base64, 60, 70),
    form("scalingo-token", "tk-us-", Url, 48, 48),
    form("intra42-secret", "s-s4t2ud-", Hex, 64, 64),
    form("sourcegraph-token", "sgp_", Url, 40, 80),
    form("defined-token", "dnkey-", Url, 26, 90),
    form("maxmind-key", "_mmk", Url, 0, 40),
    form("perplexity-key", "pplx-", Alnum, 40, 60),
    // models and agents
    form("anthropic-key", "sk-ant-", Url, 80, 200),
    form("openai-key", "sk-proj-", Url, 40, 255),
    form("openai-key", "sk-svcacct-", Url, 40, 255),
    form("openai-key", "sk-admin-", Url, 40, 255),
    form("model-key", "sk-or-v1-", Hex, 64, 64),
    form("model-key", "sk-", Alnum, 32, 64),
    form("huggingface-token", "hf_", Alnum, 34, 40),
    form("huggingface-token", "api_org_", Alnum, 34, 40),
    form("replicate-token", "r8_", Alnum, 37, 40),
    form("groq-key", "gsk_", Alnum, 48, 60),
    form("xai-key", "xai-", Alnum, 60, 100),
    form("fireworks-key", "fw_", Alnum, 22, 40),
    form("nvidia-key", "nvapi-", Url, 60, 80),
    form("tavily-key", "tvly-", Url, 28, 60),
    form("langsmith-key", "lsv2_pt_", Url, 40, 60),
    form("langsmith-key", "lsv2_sk_", Url, 40, 60),
    form("langfuse-key", "sk-lf-", Url, 36, 36),
    form("pinecone-key", "pcsk_", Url, 50, 100),
    form("cohere-key", "co_", Alnum, 40, 48),
    // ours, and identities
    form("countersign-key", "csk.", Dotted, 20, 255),
    form("countersign-key", "csk_", Url, 16, 255),
    form("facebook-token", "EAACEdEose0cBA", Alnum, 20, 400),
    form("twitter-bearer", "AAAAAAAAAAAAAAAAAAAAA", Base64, 30, 200),
    form("linkedin-secret", "WPL_AP1.", Dotted, 16, 60),
    form("yandex-token", "y0_", Url, 50, 80),
    form("ssh-fingerprint-key", "AAAAB3NzaC1yc2E", Base64, 200, 4_000),
    form("totp-secret", "otpauth://", Dotted, 4, 255),
    form("putty-key", "PuTTY-User-Key-File-", Digits, 1, 2),
    form("basic-credentials", "Basic ", Base64, 8, 2_048),
    form("bearer-token", "Bearer ", Dotted, 16, 4_096),
];
