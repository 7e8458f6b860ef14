//! A headless browser driven over the DevTools pipe: messages are JSON ended by NUL, so no WebSocket and no
//! driver program is needed.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for an answer or a condition.
const WAIT: Duration = Duration::from_secs(45);
/// Messages that wait to be read.
const BACKLOG: usize = 10_000;

/// Counts what the policy blocks and what fails in a script, from the first byte of each page on.
const WATCH: &str = "window.trouble = []; \
    addEventListener('securitypolicyviolation', (e) => trouble.push('policy ' + e.violatedDirective + ' ' + e.blockedURI)); \
    addEventListener('error', (e) => trouble.push('error ' + e.message)); \
    addEventListener('unhandledrejection', (e) => trouble.push('rejected ' + e.reason));";

pub struct Browser {
    child: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    session: String,
    next: u64,
    _profile: TempDir,
}

impl Browser {
    pub fn start() -> Browser {
        let program = countersign_testkit::ensure_program("chromium", "chromium").unwrap();
        let profile = tempfile::tempdir().unwrap();
        let line = format!(
            "exec '{}' --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
             --disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,900 \
             --user-data-dir='{}' --remote-debugging-pipe about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1",
            program.display(),
            profile.path().display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, answers) = sync_channel(BACKLOG);
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let Ok(message) = message else { return };
                if send.send(serde_json::from_slice::<Value>(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser =
            Browser { child, input, answers, session: String::new(), next: 0, _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        browser.call("Page.enable", json!({}));
        browser.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH }));
        browser
    }

    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        let start = Instant::now();
        loop {
            let left = WAIT.saturating_sub(start.elapsed());
            let answer = self.answers.recv_timeout(left).unwrap_or_else(|_| panic!("no answer to {method}"));
            if answer["id"] == self.next {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.wait("document.readyState === 'complete'");
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        self.call("Runtime.evaluate", params)["result"]["value"].clone()
    }

    /// Waits until the expression is true.
    pub fn wait(&mut self, expression: &str) {
        let start = Instant::now();
        while self.value(expression) != json!(true) {
            if start.elapsed() > WAIT {
                let page = self.value("document.body.innerText");
                let trouble = self.value("window.trouble");
                panic!("never true: {expression}\ntrouble: {trouble}\n{}", page.as_str().unwrap_or(""));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call(
                "Input.dispatchKeyEvent",
                json!({ "type": kind, "key": key, "text": if kind == "keyDown" { key } else { "" } }),
            );
        }
    }

    /// What the policy blocked and what failed on this page.
    pub fn trouble(&mut self) -> Vec<String> {
        serde_json::from_value(self.value("window.trouble")).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
