//! `gantry bench`, as anybody may run it against any server of RocketMQ's gRPC protocol.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::receive::Receives;
use super::{Calls, Load};
use crate::measure::{Latency, Round};
use crate::server::{Outcome, bound_to_us};

/// More than a fixed rate needs where all is well.
const PACED_IN_FLIGHT: u64 = 256;
/// Longer than a round's messages take: what comes after the window would not be counted.
const RECEIVED_MAX: &str = "120s";

/// Sends to the topic `t`, for so long.
pub fn send(gantry: &Path, address: SocketAddr, calls: Calls, seconds: u64) -> Outcome<Load> {
    let mut command = bound_to_us(gantry);
    command.args(["bench", "send", "--topic", "t", "--warm-up", "0s", "--duration", &format!("{seconds}s")]);
    command.args(["--batch", &calls.messages.to_string()]);
    command.args(place(address, calls.connections, calls.streams));
    let said = report(command.output())?;
    let number = |name: &str| said[name].as_f64().ok_or_else(|| format!("no {name} in {said}"));
    Ok(Load {
        succeeded: number("sent")? as u64,
        in_flight_max: calls.connections * calls.streams * calls.messages,
        seconds: number("seconds")?,
        p50_us: said["latencyUs"]["p50"].as_f64(),
    })
}

/// Sends to the topic `t` at a fixed rate from one connection; a latency counts from when a message was to leave.
pub fn paced(gantry: &Path, address: SocketAddr, per_second: u64, seconds: u64) -> Outcome<Round> {
    let mut command = bound_to_us(gantry);
    command.args(["bench", "send", "--topic", "t", "--warm-up", "0s", "--duration", &format!("{seconds}s")]);
    command.args(["--rate", &per_second.to_string()]);
    command.args(place(address, 1, PACED_IN_FLIGHT));
    let said = report(command.output())?;
    let number = |value: &Value| value.as_f64().ok_or_else(|| format!("a number is missing in {said}"));
    let latency = &said["latencyUs"];
    let (p50_us, p99_us) = (number(&latency["p50"])?, number(&latency["p99"])?);
    let (p999_us, max_us) = (number(&latency["p999"])?, number(&latency["max"])?);
    let rate = number(&said["sent"])? / number(&said["seconds"])?;
    Ok(Round { latency: Some(Latency { p50_us, p99_us, p999_us, max_us }), ..Round::new(rate) })
}

/// Fills the topic, then receives and acks all of it; the filling is not measured.
pub fn receive(gantry: &Path, address: SocketAddr, topic: &str, receives: Receives, messages: u64) -> Outcome<Round> {
    let mut command = bound_to_us(gantry);
    command.args(["bench", "receive", "--topic", topic, "--warm-up", "0s", "--prefill", &messages.to_string()]);
    command.args(["--duration", RECEIVED_MAX, "--batch", &receives.messages.to_string()]);
    command.args(place(address, receives.connections as u64, receives.streams as u64));
    let said = report(command.output())?;
    let rate = said["messagesPerSecond"].as_f64().ok_or_else(|| format!("no rate in {said}"))?;
    match said["messages"].as_u64() {
        Some(received) if received == messages => Ok(Round::new(rate)),
        received => Err(format!("failed: {messages} were sent, {received:?} received and acked")),
    }
}

fn place(address: SocketAddr, connections: u64, in_flight: u64) -> [String; 8] {
    let (address, connections, in_flight) = (address.to_string(), connections.to_string(), in_flight.to_string());
    let words =
        ["--json", "--protocol=grpc", "--address", &address, "--connections", &connections, "--in-flight", &in_flight];
    words.map(str::to_owned)
}

/// Errors, losses and repetitions end the generator with 1: no speed is worth them.
fn report(output: std::io::Result<Output>) -> Outcome<Value> {
    let output = output.map_err(|error| error.to_string())?;
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("failed: gantry bench: {}: {said} {complaint}", output.status));
    }
    serde_json::from_str(&said).map_err(|error| format!("gantry bench: {error}: {said}"))
}
