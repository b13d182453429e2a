//! The peers: NATS with JetStream on files, Redis Streams with its append-only file. Debian's packages, started here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::loads::installed;
use crate::server::{Outcome, Process, bound_to_us, connect, empty, free_port};

/// A running nats-server with JetStream.
#[derive(Debug)]
pub struct NatsServer {
    pub process: Process,
    pub port: u16,
    dir: PathBuf,
}

impl NatsServer {
    pub fn program() -> Outcome<PathBuf> {
        installed("nats-server", "nats-server")
    }

    /// Returns as soon as the process is started. `durable`: synced for every message.
    pub fn start(scratch: &Path, durable: bool) -> Outcome<NatsServer> {
        let program = NatsServer::program()?;
        let dir = scratch.join("nats");
        empty(&dir)?;
        let port = free_port()?;
        let sync = if durable { ", sync_interval: always" } else { "" };
        let config = format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\"{sync} }}\n", dir.display());
        let path = scratch.join("nats.conf");
        std::fs::write(&path, config).map_err(|error| error.to_string())?;
        if durable {
            let checked = Command::new(&program).arg("-t").arg("-c").arg(&path).output();
            if !checked.map_err(|error| error.to_string())?.status.success() {
                return Err(format!("nats-server {} has no sync_interval", version(&program)));
            }
        }
        let mut command = bound_to_us(&program);
        command.arg("-c").arg(&path).stdout(Stdio::null());
        let process = Process::start(&mut command, &scratch.join("nats.log"))?;
        Ok(NatsServer { process, port, dir })
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.process.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A running redis-server that syncs its append-only file before it answers.
#[derive(Debug)]
pub struct RedisServer {
    pub process: Process,
    pub port: u16,
    dir: PathBuf,
}

impl RedisServer {
    pub fn start(scratch: &Path) -> Outcome<RedisServer> {
        let program = installed("redis-server", "redis-server")?;
        installed("redis-benchmark", "redis-tools")?;
        let dir = scratch.join("redis");
        empty(&dir)?;
        let port = free_port()?;
        let mut command = bound_to_us(&program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no", "--dir"]);
        command.arg(&dir).args(["--appendonly", "yes", "--appendfsync", "always"]);
        command.args(["--auto-aof-rewrite-percentage", "0"]).stdout(Stdio::null());
        let process = Process::start(&mut command, &scratch.join("redis.log"))?;
        let mut redis = RedisServer { process, port, dir };
        redis.ask("PING")?;
        Ok(redis)
    }

    pub fn empty(&mut self) -> Outcome<()> {
        self.ask("DEL s").map(drop)
    }

    /// Whether the stream has as many entries as were acknowledged.
    pub fn holds(&mut self, succeeded: u64) -> Outcome<()> {
        let length = self.ask("XLEN s")?;
        if length == format!(":{succeeded}") {
            Ok(())
        } else {
            Err(format!("failed: redis acknowledged {succeeded} and holds {length}"))
        }
    }

    fn ask(&mut self, command: &str) -> Outcome<String> {
        let socket = connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))?;
        (&socket).write_all(format!("{command}\r\n").as_bytes()).map_err(|error| error.to_string())?;
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).map_err(|error| error.to_string())?;
        if answer.starts_with('-') { Err(format!("redis: {answer}")) } else { Ok(answer.trim_end().to_owned()) }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.process.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Its number alone, from the first line of `--version`; wrk says it on -v, and ends with 1.
pub fn version(program: &Path) -> String {
    let said = |argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        number(&String::from_utf8_lossy(&text)).map(str::to_owned)
    };
    said(if program.ends_with("wrk") { "-v" } else { "--version" }).unwrap_or_else(|| "unknown".into())
}

/// The first word after the name that holds a digit, without what is in front of it.
fn number(said: &str) -> Option<&str> {
    let mut words = said.lines().next()?.split_whitespace().skip(1);
    let word = words.find(|word| word.contains(|char: char| char.is_ascii_digit()))?;
    Some(word.rsplit(['/', '=']).next()?.trim_start_matches('v'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_peers_and_loaders() {
        let said = [
            "nats-server: v2.9.10",
            "Redis server v=7.0.15 sha=0:0",
            "h2load nghttp2/1.52.0",
            "wrk debian/4.1.0-3 [epoll]",
        ];
        assert_eq!(said.map(number), [Some("2.9.10"), Some("7.0.15"), Some("1.52.0"), Some("4.1.0-3")]);
        assert_eq!(number(""), None);
    }
}
