//! A driver: a small program around one official client, which does what it is told and tells what it saw.
//!
//! Both are JSON objects, one a line. A step `{"do": …}` is answered by what was seen while it was done and then by `done` or
//! `failed`; what listeners and checkers see comes at any time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Several times the longest wait that a client or a scenario asks for.
const PATIENCE: Duration = Duration::from_secs(90);

pub struct Driver {
    child: Child,
    stdin: Option<std::process::ChildStdin>,
    lines: mpsc::Receiver<Value>,
    seen: Vec<Value>,
}

/// What a client said when it would not, or could not.
#[derive(Debug)]
pub struct Refusal {
    pub code: String,
    pub error: String,
}

impl Driver {
    /// Its HOME is its own: clients keep logs there.
    pub fn start(mut command: Command, at: &Value, home: &Path) -> Driver {
        std::fs::create_dir_all(home).expect("a home");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(home.join("driver.log")).expect("a log");
        let mut child = command
            .arg(at.to_string())
            .current_dir(home)
            .env("HOME", home)
            .env("rocketmq.client.logRoot", home)
            .env("JAVA_TOOL_OPTIONS", format!("-Duser.home={} -Drocketmq.log.level=ERROR", home.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        // What is no JSON is the client's own chatter.
        std::thread::spawn(move || {
            let told = stdout.lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
            told.into_iter().try_for_each(|line| sender.send(line))
        });
        Driver { stdin: child.stdin.take(), child, lines, seen: Vec::new() }
    }

    /// Has a step done; what was seen from its beginning to its end.
    #[track_caller]
    pub fn tell(&mut self, step: Value) -> Vec<Value> {
        let shown: String = step.to_string().chars().take(300).collect();
        self.try_tell(step).unwrap_or_else(|refusal| panic!("{shown}: {refusal:?}"))
    }

    pub fn try_tell(&mut self, step: Value) -> Result<Vec<Value>, Refusal> {
        let from = self.seen.len();
        let is_end = |line: &Value| line["saw"] == "done" || line["saw"] == "failed";
        let mut stdin = self.stdin.as_ref().expect("it is running");
        writeln!(stdin, "{step}").and_then(|()| stdin.flush()).expect("the driver runs");
        self.until(&step["do"].to_string(), |seen| seen[from..].iter().any(is_end));
        let end = self.seen.pop().expect("the end");
        match &end["saw"] {
            saw if saw == "done" => Ok(self.seen[from..].to_vec()),
            _ => Err(Refusal::of(&end)),
        }
    }

    /// Waits until so much was seen.
    #[track_caller]
    pub fn until(&mut self, what: &str, is_enough: impl Fn(&[Value]) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_enough(&self.seen) {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(gone) => panic!("waited for {what}: {gone}; seen: {}", self.summary()),
            }
        }
    }

    /// Reads all that was told so far: a step without work ends behind it.
    #[track_caller]
    pub fn catch_up(&mut self) {
        self.tell(json!({"do": "send", "messages": []}));
    }

    /// All that was seen of a kind, from the beginning.
    pub fn saw(&self, kind: &str) -> Vec<&Value> {
        saw(&self.seen, kind)
    }

    fn summary(&self) -> String {
        let last: Vec<String> =
            self.seen.iter().rev().take(10).map(|line| line.to_string().chars().take(200).collect()).collect();
        format!("{} lines, the last: {}", self.seen.len(), last.join("\n"))
    }
}

impl Refusal {
    pub fn of(line: &Value) -> Refusal {
        let code = line["code"].as_str().map_or_else(|| line["code"].to_string(), str::to_string);
        Refusal { code, error: line["error"].as_str().unwrap_or_default().to_string() }
    }
}

pub fn saw<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["saw"] == kind).collect()
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
