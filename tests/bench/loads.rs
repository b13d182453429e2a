//! Load generators: h2load, wrk, redis-benchmark, and a small NATS client. All closed loops, all other processes'
//! C where there is one: they must not cost more than what they measure.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use gantry_proto::grpc::v2;
use prost::Message as _;

use crate::server::{Outcome, bound_to_us, connect};

pub mod end_to_end;
pub mod fanout;
pub mod generator;
pub mod hostile;
pub mod receive;

/// A message id of RocketMQ's clients, in hex.
const MESSAGE_ID_BYTES: u64 = 34;
/// Every message's body.
pub const BODY_BYTES: usize = 1024;

/// What one run of a loader saw succeed.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Messages, not calls.
    pub succeeded: u64,
    /// Messages that may have been stored without an answer that was counted.
    pub in_flight_max: u64,
    pub seconds: f64,
    pub p50_us: Option<f64>,
}

/// SendMessage over h2load: how it is shaped.
#[derive(Debug, Clone, Copy)]
pub struct Calls {
    pub connections: u64,
    pub streams: u64,
    /// Messages in each call.
    pub messages: u64,
    /// Costs the loader a line per call.
    pub latency: bool,
}

/// The bytes h2load posts: one gRPC frame.
pub fn write_request(path: &Path, messages: u64) -> Outcome<()> {
    let request = v2::SendMessageRequest { messages: messages_of("t", messages) }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(request.len()).map_err(|error| error.to_string())?.to_be_bytes());
    frame.extend(request);
    std::fs::write(path, frame).map_err(|error| error.to_string())
}

/// As a producer makes them.
fn messages_of(topic: &str, messages: u64) -> Vec<v2::Message> {
    let message = |number: u64| v2::Message {
        topic: Some(v2::Resource { name: topic.into(), ..v2::Resource::default() }),
        system_properties: Some(v2::SystemProperties {
            message_id: format!("01AABBCCDDEEFF001122334455{number:08X}"),
            message_type: v2::MessageType::Normal.into(),
            born_timestamp: Some(prost_types::Timestamp { seconds: 1_763_700_000, nanos: 0 }),
            born_host: "127.0.0.1:1".into(),
            ..v2::SystemProperties::default()
        }),
        body: vec![b'x'; BODY_BYTES].into(),
        ..v2::Message::default()
    };
    (0..messages).map(message).collect()
}

pub fn h2load(address: SocketAddr, request: &Path, calls: Calls, seconds: u64) -> Outcome<Load> {
    let log = request.with_extension("log");
    let mut command = bound_to_us(&installed("h2load", "nghttp2-client")?);
    command.args(["-t1", "-c", &calls.connections.to_string(), "-m", &calls.streams.to_string()]);
    command.args(["-D", &seconds.to_string(), "-d"]).arg(request);
    for header in ["content-type: application/grpc", "te: trailers", "x-mq-client-id: bench"] {
        command.args(["-H", header]);
    }
    if calls.latency {
        let _ = std::fs::remove_file(&log);
        command.arg("--log-file").arg(&log);
    }
    command.arg(format!("http://{address}/apache.rocketmq.v2.MessagingService/SendMessage"));
    let said = run(&mut command)?;
    let (succeeded, seconds) = receipts(&said, calls.messages)?;
    let p50_us = if calls.latency { Some(median_of_log(&log)?) } else { None };
    let in_flight_max = calls.connections * calls.streams * calls.messages;
    Ok(Load { succeeded, in_flight_max, seconds, p50_us })
}

/// Messages and seconds in what h2load says.
fn receipts(said: &str, messages: u64) -> Outcome<(u64, f64)> {
    let finished = said.lines().find_map(|line| line.strip_prefix("finished in ")?.split(',').next());
    let seconds = finished.and_then(duration_s).ok_or("h2load said no duration")?;
    let counts = said.lines().find_map(|line| line.strip_prefix("requests: ")).ok_or("h2load said no counts")?;
    let count = |name: &str| -> Option<u64> {
        counts.split(", ").find_map(|part| part.strip_suffix(name)?.trim().parse().ok())
    };
    if count("failed") != Some(0) || count("errored") != Some(0) {
        return Err(format!("failed: h2load counted failures: {counts}"));
    }
    let succeeded = count("succeeded").ok_or("h2load said no successes")? * messages;
    // h2load looks at the HTTP status, which is 200 for every gRPC error as well. A receipt repeats the message's id.
    let data = said.lines().find_map(|line| line.strip_prefix("traffic: ")?.rsplit('(').next());
    let data_bytes = data.and_then(|text| text.split(')').next()?.parse::<u64>().ok());
    if data_bytes.ok_or("h2load said no traffic")? < succeeded * MESSAGE_ID_BYTES {
        return Err("failed: the answers are too short to be receipts".into());
    }
    Ok((succeeded, seconds))
}

/// The third column: microseconds until the answer's end.
fn median_of_log(path: &Path) -> Outcome<f64> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut latencies: Vec<u64> =
        text.lines().filter_map(|line| line.split('\t').nth(2)?.trim().parse().ok()).collect();
    latencies.sort_unstable();
    latencies.get(latencies.len() / 2).map(|us| *us as f64).ok_or_else(|| "h2load logged nothing".into())
}

const WRK_CONNECTIONS: u64 = 64;

pub fn wrk(address: SocketAddr, scratch: &Path, seconds: u64) -> Outcome<Load> {
    let script = scratch.join("post.lua");
    let lua = format!(
        "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {BODY_BYTES})\nwrk.headers[\"Content-Type\"] = \"application/octet-stream\"\n"
    );
    std::fs::write(&script, lua).map_err(|error| error.to_string())?;
    let mut command = bound_to_us(&installed("wrk", "wrk")?);
    command.args(["-t1", &format!("-c{WRK_CONNECTIONS}"), &format!("-d{seconds}s"), "--latency", "-s"]).arg(script);
    command.arg(format!("http://{address}/v1/topics/t/messages"));
    let said = run(&mut command)?;
    if said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(format!("failed: wrk counted failures: {said}"));
    }
    // "  693011 requests in 5.00s, 120.30MB read"
    let line = said.lines().find(|line| line.contains(" requests in ")).ok_or("wrk said no counts")?;
    let (count, rest) = line.trim().split_once(" requests in ").ok_or("wrk said no counts")?;
    let succeeded = count.trim().parse().map_err(|_| "wrk said no counts")?;
    let seconds = rest.split(',').next().and_then(duration_s).ok_or("wrk said no duration")?;
    let p50 = said.lines().find_map(|line| duration_s(line.trim().strip_prefix("50%")?.trim()));
    Ok(Load { succeeded, in_flight_max: WRK_CONNECTIONS, seconds, p50_us: p50.map(|s| s * 1e6) })
}

/// `requests` entries through 64 clients: redis-benchmark knows no duration.
pub fn redis_benchmark(port: u16, requests: u64) -> Outcome<Load> {
    let mut command = bound_to_us(&installed("redis-benchmark", "redis-tools")?);
    command.args(["-p", &port.to_string(), "-c", "64", "-n", &requests.to_string(), "--csv"]);
    command.args(["XADD", "s", "*", "f", &"x".repeat(BODY_BYTES)]);
    let begin = Instant::now();
    let said = run(&mut command)?;
    // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms",...
    let row = said.lines().rfind(|line| line.starts_with("\"XADD")).ok_or("redis-benchmark said no row")?;
    let mut figures = row.trim_matches('"').split("\",\"").skip(1).map(str::parse::<f64>);
    let rate = figures.next().and_then(Result::ok).filter(|rate| *rate > 0.0).ok_or("redis-benchmark said no rate")?;
    let p50_ms = figures.nth(2).and_then(Result::ok);
    let seconds = (requests as f64 / rate).min(begin.elapsed().as_secs_f64());
    Ok(Load { succeeded: requests, in_flight_max: 0, seconds, p50_us: p50_ms.map(|ms| ms * 1e3) })
}

/// A NATS connection that publishes to JetStream and counts what was acknowledged.
#[derive(Debug)]
pub struct Nats {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

const SUBJECT: &str = "bench.t";
const INBOX: &str = "_INBOX.bench";
/// How a client of NATS begins.
const HELLO: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"0\"}\r\n";
const API_INBOX: &str = "_INBOX.api";

impl Nats {
    pub fn connect(port: u16) -> Outcome<Nats> {
        let mut nats = Nats::connect_bare(port)?;
        nats.write(format!("SUB {INBOX} 1\r\nSUB {API_INBOX} 2\r\n").as_bytes())?;
        Ok(nats)
    }

    /// Nothing is sent to it that it does not ask for.
    fn connect_bare(port: u16) -> Outcome<Nats> {
        let writer = connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let reader = BufReader::with_capacity(256 << 10, writer.try_clone().map_err(|error| error.to_string())?);
        let mut nats = Nats { reader, writer };
        nats.write(HELLO)?;
        Ok(nats)
    }

    /// A stream on files that holds the subject, with nothing in it.
    pub fn create_stream(&mut self) -> Outcome<()> {
        // An answer that there is no such stream is as good.
        self.ask("STREAM.DELETE.B", "")?;
        let config = format!(r#"{{"name":"B","subjects":["{SUBJECT}"],"storage":"file","retention":"limits"}}"#);
        let answer = self.ask("STREAM.CREATE.B", &config)?;
        if answer.contains("\"error\"") { Err(format!("nats-server: {answer}")) } else { Ok(()) }
    }

    /// Whether the stream has as many messages as were acknowledged.
    pub fn holds(&mut self, succeeded: u64) -> Outcome<()> {
        let answer = self.ask("STREAM.INFO.B", "")?;
        let json: serde_json::Value = serde_json::from_str(answer.trim_end()).map_err(|error| error.to_string())?;
        match json["state"]["messages"].as_u64() {
            Some(held) if held == succeeded => Ok(()),
            held => Err(format!("failed: NATS acknowledged {succeeded} and holds {held:?}")),
        }
    }

    /// One message and its acknowledgement.
    pub fn publish(&mut self) -> Outcome<()> {
        self.write(&frame())?;
        self.acknowledged(&mut String::new())
    }

    /// `in_flight` messages are always under way, until the time is up.
    pub fn publish_for(&mut self, in_flight: u64, seconds: u64) -> Outcome<Load> {
        let begin = Instant::now();
        let limit = Duration::from_secs(seconds);
        self.publish_while(in_flight, |_| begin.elapsed() < limit)
    }

    /// The same until `goes_on`, asked with how many were begun, says that there are no more.
    fn publish_while(&mut self, in_flight: u64, goes_on: impl Fn(u64) -> bool) -> Outcome<Load> {
        let frame = frame();
        let mut batch = Vec::new();
        let mut line = String::new();
        let begin = Instant::now();
        self.write(&frame.repeat(in_flight as usize))?;
        let mut succeeded = 0u64;
        let mut under_way = in_flight;
        while under_way > 0 {
            self.acknowledged(&mut line)?;
            succeeded += 1;
            under_way -= 1;
            if goes_on(succeeded + under_way) {
                batch.extend_from_slice(&frame);
                under_way += 1;
            }
            // Whatever was acknowledged at once is replaced at once.
            if self.reader.buffer().is_empty() && !batch.is_empty() {
                self.writer.write_all(&batch).map_err(|error| error.to_string())?;
                batch.clear();
            }
        }
        Ok(Load { succeeded, in_flight_max: 0, seconds: begin.elapsed().as_secs_f64(), p50_us: None })
    }

    fn ask(&mut self, what: &str, body: &str) -> Outcome<String> {
        self.write(format!("PUB $JS.API.{what} {API_INBOX} {}\r\n{body}\r\n", body.len()).as_bytes())?;
        let mut answer = String::new();
        self.next(&mut answer)?;
        Ok(answer)
    }

    fn acknowledged(&mut self, line: &mut String) -> Outcome<()> {
        self.next(line)?;
        if line.contains("\"seq\"") { Ok(()) } else { Err(format!("nats-server: {line}")) }
    }

    /// The body of the next message.
    fn next(&mut self, line: &mut String) -> Outcome<()> {
        loop {
            line.clear();
            let read = self.reader.read_line(line).map_err(|error| format!("nats-server: {error}"))?;
            if line.starts_with("MSG ") {
                line.clear();
                return self.reader.read_line(line).map(drop).map_err(|error| format!("nats-server: {error}"));
            }
            match line.trim_end() {
                "PING" => self.write(b"PONG\r\n")?,
                said if read == 0 || said.starts_with("-ERR") => return Err(format!("nats-server: '{said}'")),
                _ => {}
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.writer.write_all(bytes).map_err(|error| format!("nats-server: {error}"))
    }
}

/// A message, as it is published.
fn frame() -> Vec<u8> {
    let mut text = String::new();
    let _ = write!(text, "PUB {SUBJECT} {INBOX} {BODY_BYTES}\r\n{}\r\n", "x".repeat(BODY_BYTES));
    text.into_bytes()
}

/// Where a program of the loaders is, or how to get it.
pub fn installed(program: &str, package: &str) -> Outcome<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps nats-server where only root's PATH looks.
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = dirs.map(|dir| dir.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{program} is not installed (apt-get install {package})"))
}

fn run(command: &mut Command) -> Outcome<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{program}: {}: {}{said}", output.status, String::from_utf8_lossy(&output.stderr)))
    }
}

/// "5.00s", "733.21ms", "1.05m", "85us".
fn duration_s(text: &str) -> Option<f64> {
    let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0), ("m", 60.0)];
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    number.trim().parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "finished in 5.03s, 100.00 req/s, 85KB/s\n\
        requests: 600 total, 600 started, 500 done, 500 succeeded, 0 failed, 0 errored, 0 timeout\n\
        status codes: 500 2xx, 0 3xx, 0 4xx, 0 5xx\n\
        traffic: 53.5KB (54784) total, 2.5KB (2560) headers (space savings 91.00%), 50.0KB (51200) data\n";

    #[test]
    fn h2load_counts_receipts() {
        assert_eq!(receipts(SAID, 2), Ok((1_000, 5.03)));
    }

    #[test]
    fn h2load_with_failures_is_no_figure() {
        for (from, to) in [("0 failed", "1 failed"), ("0 errored", "1 errored"), ("(51200) data", "(0) data")] {
            let said = receipts(&SAID.replace(from, to), 2);
            assert!(said.is_err_and(|reason| reason.starts_with("failed")), "{to}");
        }
        assert!(receipts("", 1).is_err());
    }

    #[test]
    fn durations_of_loaders() {
        let texts = ["5.00s", "733.21ms", "1.50m", "85us", "5"];
        assert_eq!(texts.map(duration_s), [Some(5.0), Some(0.73321), Some(90.0), Some(85.0 * 1e-6), None]);
    }
}
