//! What Gantry weighs: idle memory, time to the first message, size on disk and over the wire.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Bench, GANTRY};
use crate::loads::Nats;
use crate::measure::{Figure, Round, Side, take_turns};
use crate::peers::NatsServer;
use crate::server::{Gantry, Outcome};
use crate::table::{Better, Reference, Row};

const MB: f64 = 1e6;
const KIB: f64 = 1024.0;
const CONSOLE_KIB_BAR: f64 = 150.0;
const CONSOLE_KIB_MOON: f64 = 80.0;
const BINARY_BYTES_MOON: f64 = 11e6;

pub fn idle_memory(bench: &Bench) -> Vec<Row> {
    let gantry = Gantry::start_bare(&bench.gantry, &bench.scratch, "memory");
    eprintln!("bench:   waiting for {} s", bench.pace.idle.as_secs());
    let nats = NatsServer::start(&bench.scratch, false);
    std::thread::sleep(bench.pace.idle);
    let shape = format!("idle memory after {} s", bench.pace.idle.as_secs());
    let mb = |bytes: Outcome<f64>| bytes.map(|bytes| Figure::exact(bytes / MB));
    let row = Row::new("14", &shape, "A", "MB", Better::Lower);
    let row = row.figure(mb(gantry.and_then(|gantry| gantry.process.anonymous_bytes())));
    let nats = mb(nats.and_then(|nats| nats.process.anonymous_bytes()));
    vec![row.against(Reference { name: "NATS".into(), figure: nats, cpu_us: None }, 1.5, Some(1.0))]
}

pub fn start(bench: &Bench) -> Vec<Row> {
    // A round is several starts and their median: one slow start of many is no figure.
    let side = |one: fn(&Bench) -> Outcome<f64>| -> Outcome<Side<'_>> {
        Ok(Box::new(move |_| {
            let starts: Vec<f64> = (0..bench.pace.starts).map(|_| one(bench)).collect::<Outcome<_>>()?;
            let us = Figure::of(starts).median;
            Ok(Round::new(1e6 / us))
        }))
    };
    let rounds = take_turns(bench.pace, &bench.warm, vec![(GANTRY, side(start_gantry)), ("NATS", side(start_nats))]);
    let row = Row::new("16", "start to first message, empty store", "A", "ms", Better::Lower);
    vec![row.figures(&rounds[0], ms).against(Reference::of(&rounds[1], ms), 2.0, Some(1.0))]
}

/// Until a message is acknowledged, its topic made on the way.
fn start_gantry(bench: &Bench) -> Outcome<f64> {
    let begin = Instant::now();
    Gantry::start_bare(&bench.gantry, &bench.scratch, "memory")?.send()?;
    Ok(us(begin))
}

fn start_nats(bench: &Bench) -> Outcome<f64> {
    let begin = Instant::now();
    let server = NatsServer::start(&bench.scratch, false)?;
    let mut nats = Nats::connect(server.port)?;
    nats.create_stream()?;
    nats.publish()?;
    Ok(us(begin))
}

fn us(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e6
}

fn ms(round: &Round) -> f64 {
    1e3 / round.rate
}

pub fn size(bench: &Bench) -> Vec<Row> {
    let bytes = |path: &Path| -> Outcome<f64> {
        let metadata = path.metadata().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(metadata.len() as f64)
    };
    let nats = NatsServer::program().and_then(|path| path.canonicalize().map_err(|error| error.to_string()));
    let allowed = nats.and_then(|path| bytes(&path)).map(|bytes| bytes * 1.5);
    let moon = allowed.as_ref().ok().map(|allowed| BINARY_BYTES_MOON / allowed);
    let mb = |bytes: Outcome<f64>| bytes.map(|bytes| Figure::exact(bytes / MB));
    let binary = Row::new("21", "size of the program", "", "MB", Better::Lower).figure(mb(bytes(&bench.gantry)));
    let allowed = Reference { name: "1.5 x nats-server".into(), figure: mb(allowed), cpu_us: None };

    let console = Row::new("21", "console, first load, gzip", "", "KiB", Better::Lower);
    let console = console.figure(first_load_bytes(&bench.console).map(|bytes| Figure::exact(bytes / KIB)));
    let budget = Reference { name: "budget".into(), figure: Ok(Figure::exact(CONSOLE_KIB_BAR)), cpu_us: None };
    vec![binary.against(allowed, 1.0, moon), console.against(budget, 1.0, Some(CONSOLE_KIB_MOON / CONSOLE_KIB_BAR))]
}

/// The scripts and styles index.html names: what a browser loads before it shows anything.
fn first_load_bytes(dist: &Path) -> Outcome<f64> {
    let index = std::fs::read_to_string(dist.join("index.html"));
    let index = index.map_err(|_| "the console is not built (make console)")?;
    let mut total = 0;
    for name in index.split('"').filter(|text| text.ends_with(".js") || text.ends_with(".css")) {
        let path = dist.join(name.trim_start_matches('/'));
        let file = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&file).map_err(|error| error.to_string())?;
        total += gzip.finish().map_err(|error| error.to_string())?.len();
    }
    if total == 0 { Err("index.html names no files".into()) } else { Ok(total as f64) }
}
