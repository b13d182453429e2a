//! What tests share: real servers on free ports and data directories of their own, ended by their id; histories;
//! HTTP/2 by hand, and peers that abuse it.

pub mod apache;
pub mod h2;
pub mod history;
pub mod hostile;
pub mod lossy_proxy;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use serde_json::Value;

/// Ten times what a start takes on a loaded machine.
const READY_MAX: Duration = Duration::from_secs(60);

/// What is started instead of Gantry takes longer, beside five others of its kind: more than a minute on two busy cores.
const READY_INSTEAD_MAX: Duration = Duration::from_secs(240);

/// Several times the drain time of a server that is stopped.
const STOP_MAX: Duration = Duration::from_secs(60);

/// What is started instead of Gantry, if anything is: a program that takes the same flags.
pub static INSTEAD: OnceLock<PathBuf> = OnceLock::new();

/// The built program: beside the test's own binary.
pub fn gantry() -> PathBuf {
    if let Some(path) = std::env::var_os("GANTRY_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let path = test.parent().and_then(Path::parent).expect("tests are built under target/PROFILE/deps").join("gantry");
    assert!(path.exists(), "{} is missing: cargo build -p gantry-gateway", path.display());
    path
}

/// A command that knows nothing of the environment's own GANTRY_ variables.
pub fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(INSTEAD.get().cloned().unwrap_or_else(gantry));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GANTRY_") {
            command.env_remove(name);
        }
    }
    command.current_dir(data_dir.parent().expect("a data directory lies in one")).arg("--data-dir").arg(data_dir);
    command
}

/// A process of ours, which ends with this at the latest.
struct OwnChild(Child);

impl Drop for OwnChild {
    fn drop(&mut self) {
        // Gone already after `stop` and `kill_9`.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that was started and has not said yet that it is ready. Dropping it kills it.
pub struct Starting {
    child: OwnChild,
    lines: mpsc::Receiver<String>,
    stderr: PathBuf,
}

impl Starting {
    /// `command` is of the program, or of something that runs it and passes its output on.
    pub fn spawn(mut command: Command, data_dir: &Path, args: &[&str]) -> Starting {
        let stderr = data_dir.with_extension("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&stderr).expect("a log file");
        for listen in ["--http-listen", "--grpc-listen"] {
            if !args.contains(&listen) {
                command.args([listen, "127.0.0.1:0"]);
            }
        }
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Starting { child: OwnChild(child), lines, stderr }
    }

    /// Waits until it is ready. `Err`: how it ended instead, and what it said.
    pub fn ready(mut self) -> Result<Server, (ExitStatus, String)> {
        let ready_max = if INSTEAD.get().is_some() { READY_INSTEAD_MAX } else { READY_MAX };
        let Ok(ready) = self.lines.recv_timeout(ready_max) else {
            // Its stdout is closed: it has ended, or never will.
            let _ = self.child.0.kill();
            let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
            return Err((self.child.0.wait().expect("our own child"), said));
        };
        let words: Vec<&str> = ready.split(' ').collect();
        let [gantry, is_ready, http, grpc] = words[..] else { panic!("not the ready line: {ready}") };
        assert_eq!((gantry, is_ready), ("gantry", "ready"));
        let http = format!("http://{}", http.strip_prefix("http=").expect("the http address"));
        let grpc = grpc.strip_prefix("grpc=").expect("the grpc address").to_string();
        Ok(Server { child: self.child, http, grpc, stderr: self.stderr })
    }

    /// Kills it; `true` if it had not said that it was ready.
    pub fn kill_9(mut self) -> bool {
        self.child.0.kill().expect("our own child");
        self.child.0.wait().expect("our own child");
        self.lines.recv_timeout(READY_MAX).is_err()
    }
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: OwnChild,
    pub http: String,
    pub grpc: String,
    stderr: PathBuf,
}

impl Server {
    pub fn start(data_dir: &Path, args: &[&str]) -> Server {
        Server::try_start(data_dir, args).unwrap_or_else(|(status, log)| panic!("no start: {status}\n{log}"))
    }

    /// Its log tells of every request.
    pub fn start_verbose(data_dir: &Path, args: &[&str]) -> Server {
        let mut command = command(data_dir);
        command.env("GANTRY_LOG", "gantry_gateway=debug");
        Server::run(command, data_dir, args).unwrap_or_else(|(status, log)| panic!("no start: {status}\n{log}"))
    }

    /// `Err`: how it ended instead, and what it said.
    pub fn try_start(data_dir: &Path, args: &[&str]) -> Result<Server, (ExitStatus, String)> {
        Server::run(command(data_dir), data_dir, args)
    }

    fn run(command: Command, data_dir: &Path, args: &[&str]) -> Result<Server, (ExitStatus, String)> {
        Starting::spawn(command, data_dir, args).ready()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http)
    }

    pub fn log_path(&self) -> &Path {
        &self.stderr
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// No chance to say goodbye.
    pub fn kill_9(mut self) {
        self.child.0.kill().expect("our own child");
        self.child.0.wait().expect("our own child");
    }

    /// Asks it to stop and waits for the end; `signal` as kill(1) writes it.
    pub fn stop(mut self, signal: &str) -> ExitStatus {
        let id = self.child.0.id().to_string();
        let asked = Command::new("kill").args([signal, &id]).status().expect("kill(1)");
        assert!(asked.success());
        let asked_at = std::time::Instant::now();
        while self.is_running() {
            assert!(asked_at.elapsed() < STOP_MAX, "it does not stop: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.0.wait().expect("our own child")
    }

    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.0.try_wait().expect("our own child")
    }

    /// The id of the process that was started.
    pub fn id(&self) -> u32 {
        self.child.0.id()
    }
}

/// An answer of the REST API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// The stable code of a problem document, or nothing.
    pub fn code(&self) -> String {
        let is_problem = self.headers.get("content-type").is_some_and(|text| text == "application/problem+json");
        if is_problem { self.json()["code"].as_str().unwrap_or_default().to_string() } else { String::new() }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// Sends a request; `None` when no whole answer came back.
pub async fn ask(request: reqwest::RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.ok()?.to_vec();
    Some(Answer { status, headers, body })
}

/// A data directory, and the directory around it, which goes when this is dropped.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Home {
        Home { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

/// Random-looking bytes that a number stands for: the same number, the same bytes.
pub fn bytes_of(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What the command line of a test with its own `main` picks, taken as others take it: words pick, options are for them.
pub fn words(mut given: impl Iterator<Item = String>) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(word) = given.next() {
        match &*word {
            "--test-threads" | "--skip" | "--color" | "--format" => drop(given.next()),
            option if option.starts_with('-') => {}
            _ => words.push(word),
        }
    }
    words
}
