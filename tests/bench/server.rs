//! Processes under measurement: started in a scratch directory, read through /proc, ended by their own id.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::loads::BODY_BYTES;

/// What stopped a measurement, in words for the table.
pub type Outcome<T> = Result<T, String>;

/// Longer than any server here takes to start on a loaded machine.
const READY_MAX: Duration = Duration::from_secs(20);
/// The kernel counts CPU time in hundredths, whatever its own tick is.
const TICK_US: f64 = 10_000.0;

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Its output goes to `log`; stdout may be asked for instead.
    pub fn start(command: &mut Command, log: &Path) -> Outcome<Process> {
        let file = std::fs::File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command.stdin(Stdio::null()).stderr(file).spawn();
        let child = child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Process { child })
    }

    /// The rest of the first line of stdout that begins with `word`.
    pub fn line(&mut self, word: &str) -> Outcome<String> {
        let stdout = self.child.stdout.take().ok_or("stdout was read already")?;
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|error| error.to_string())?;
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
        Err(format!("the server ended without saying '{word}'"))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns when it has ended.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// User and kernel time so far.
    pub fn cpu_us(&self) -> Outcome<f64> {
        cpu_us(&self.id().to_string())
    }

    /// Files and sockets that it has open.
    pub fn descriptors(&self) -> Outcome<f64> {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id())).map_err(|error| error.to_string())?;
        Ok(open.count() as f64)
    }

    /// Memory of its own, not backed by files.
    pub fn anonymous_bytes(&self) -> Outcome<f64> {
        let path = format!("/proc/{}/smaps_rollup", self.id());
        let rollup = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
        kib.map(|kib| kib * 1024.0).ok_or_else(|| "/proc/PID/smaps_rollup has no Anonymous".into())
    }
}

/// User and kernel time of a process so far, as /proc names it.
pub fn cpu_us(process: &str) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).map_err(|error| error.to_string())?;
    // The name is in parentheses and may hold anything; utime and stime are the 12th and 13th fields after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(kernel)) => Ok((user + kernel) * TICK_US),
        _ => Err("/proc/PID/stat has another shape".into()),
    }
}

/// Bytes that a folder's files take of the disk.
pub fn disk_bytes(dir: &Path) -> Outcome<f64> {
    let said = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut bytes = std::fs::metadata(dir).map_err(said)?.blocks() as f64 * 512.0;
    for entry in std::fs::read_dir(dir).map_err(said)? {
        let entry = entry.map_err(said)?;
        let metadata = entry.metadata().map_err(said)?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() as f64 * 512.0 };
    }
    Ok(bytes)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Gantry with an empty data directory and the topic `t` of 8 queues.
#[derive(Debug)]
pub struct Gantry {
    pub process: Process,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    data_dir: PathBuf,
}

impl Gantry {
    pub fn start(program: &Path, scratch: &Path, level: &str) -> Outcome<Gantry> {
        let gantry = Gantry::start_bare(program, scratch, level)?;
        gantry.put_topic()?;
        Ok(gantry)
    }

    /// Without the topic.
    pub fn start_bare(program: &Path, scratch: &Path, level: &str) -> Outcome<Gantry> {
        // Each has its own: the one before cleans up after itself when it is dropped, and that may be later.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let data_dir = scratch.join(format!("gantry-{}", STARTED.fetch_add(1, Ordering::Relaxed)));
        empty(&data_dir)?;
        Gantry::open(program, scratch, level, data_dir)
    }

    /// On what lies there, which becomes its own.
    pub fn open(program: &Path, scratch: &Path, level: &str, data_dir: PathBuf) -> Outcome<Gantry> {
        let mut command = bound_to_us(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GANTRY_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(&data_dir).args(["--durability", level]).stdout(Stdio::piped());
        command.args(["--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
        let name = program.file_name().unwrap_or_default();
        let mut process = Process::start(&mut command, &scratch.join(name).with_extension("log"))?;
        let ready = process.line("gantry ready")?;
        let address = |name: &str| {
            let found = ready.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
            found.ok_or_else(|| format!("no {name} in '{ready}'"))
        };
        Ok(Gantry { http: address("http=")?, grpc: address("grpc=")?, process, data_dir })
    }

    pub fn put_topic(&self) -> Outcome<()> {
        let body = br#"{"writeQueues":8}"#;
        http(self.http, "PUT", "/v1/topics/t", "application/json", body).map(drop)
    }

    /// Uses it, then kills it and leaves what it stored.
    pub fn leave<T>(mut self, work: impl FnOnce(&mut Gantry) -> Outcome<T>) -> Outcome<T> {
        let done = work(&mut self);
        self.process.kill();
        self.data_dir = PathBuf::new();
        done
    }

    /// Where its log ends.
    pub fn commit_log_end(&self) -> Outcome<u64> {
        let answer = http(self.http, "GET", "/v1/cluster", "application/json", b"")?;
        let json: serde_json::Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
        let end = &json["brokers"][0]["commitLogMax"];
        let end = end.as_str().and_then(|text| text.parse().ok()).or_else(|| end.as_u64());
        end.ok_or_else(|| format!("no commitLogMax in {json}"))
    }

    /// Makes the topic if need be and sends one message.
    pub fn send(&self) -> Outcome<()> {
        let send = || http(self.http, "POST", "/v1/topics/t/messages", "application/octet-stream", &[b'x'; BODY_BYTES]);
        match send() {
            Err(error) if error.contains("topic_not_found") => {
                self.put_topic()?;
                send().map(drop)
            }
            sent => sent.map(drop),
        }
    }

    /// Ends it and forgets what it stored.
    pub fn stop(&mut self) {
        self.process.kill();
        let _ = std::fs::remove_dir_all(&self.data_dir);
    }

    /// Messages the topic holds, read once nothing is under way any more.
    pub fn stored(&self) -> Outcome<u64> {
        let mut last = u64::MAX;
        loop {
            let answer = http(self.http, "GET", "/v1/topics/t/queues", "application/json", b"")?;
            let json: serde_json::Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
            let queues = json["items"].as_array().ok_or("the queues have no items")?;
            let offset = |queue: &serde_json::Value| match &queue["maxOffset"] {
                serde_json::Value::String(text) => text.parse().ok(),
                number => number.as_u64(),
            };
            let sum = queues.iter().map(offset).sum::<Option<u64>>().ok_or("a queue has no maxOffset")?;
            if sum == last {
                return Ok(sum);
            }
            last = sum;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Gantry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One of this program's null servers.
#[derive(Debug)]
pub struct Null {
    pub process: Process,
    pub address: SocketAddr,
}

impl Null {
    pub fn start(face: &str, scratch: &Path) -> Outcome<Null> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = bound_to_us(&program);
        command.arg(face).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, &scratch.join(format!("{face}.log")))?;
        let address = process.line("ready")?.parse().map_err(|_| "the null server said no address")?;
        Ok(Null { process, address })
    }
}

/// The program, to be killed by the kernel when this process goes, however it goes. `setpriv` becomes the program: same id.
pub fn bound_to_us(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.is_file() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A folder with nothing in it.
pub fn empty(dir: &Path) -> Outcome<()> {
    let said = |error: std::io::Error| format!("{}: {error}", dir.display());
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(said)?;
    }
    std::fs::create_dir_all(dir).map_err(said)
}

/// A loopback port that was free a moment ago, for servers that cannot choose their own.
pub fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

/// Connects as soon as somebody listens there.
pub fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(socket) => {
                socket.set_nodelay(true).map_err(|error| error.to_string())?;
                socket.set_read_timeout(Some(READY_MAX)).map_err(|error| error.to_string())?;
                return Ok(socket);
            }
            Err(error) if begin.elapsed() > READY_MAX => return Err(format!("{address}: {error}")),
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// One request on a connection of its own: the body of a successful answer.
pub fn http(address: SocketAddr, method: &str, path: &str, content_type: &str, body: &[u8]) -> Outcome<Vec<u8>> {
    let said = |error: std::io::Error| format!("{method} {path}: {error}");
    let mut socket = connect(address)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(&[head.as_bytes(), body].concat()).map_err(said)?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).map_err(said)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("an answer without a head")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let body = answer.split_off(end + 4);
    if head.starts_with("HTTP/1.1 2") && !head.to_ascii_lowercase().contains("transfer-encoding") {
        Ok(body)
    } else {
        Err(format!("{method} {path}: {head} {}", String::from_utf8_lossy(&body)))
    }
}
