//! Every official RocketMQ client, as its registry has it, through every scenario, and one table of what came of it.
//!
//! `make conformance` builds the drivers and runs it. A word on the command line picks clients or scenarios whose name has it;
//! the word `apache` has all of it done to Apache RocketMQ's own servers instead.
//! `UPDATE=1` writes the table into README.md; without it, a table that says something else is a failure.

mod apache;
mod driver;
mod languages;
mod scenarios;
mod table;
mod trial;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use harness::{Home, INSTEAD, Server};
use languages::Language;
use scenarios::Scenario;
use table::{Cell, Row};
use trial::Trial;

/// Scenarios of one client at a time: most of the time they wait.
const AT_ONCE: usize = 3;
/// Open transactions are asked about soon.
const HURRIED: [&str; 2] = ["--transaction-timeout=1s", "--transaction-check-interval=1s"];
const APACHE: &str = "apache";

fn main() -> ExitCode {
    let mut words = harness::words(std::env::args().skip(1));
    if words.iter().any(|word| word == APACHE) {
        words.retain(|word| word != APACHE);
        match apache::program() {
            Ok(program) => INSTEAD.set(program).expect("nothing was started before"),
            Err(why) => {
                println!("not run: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    let picked = |names: &[&str]| words.is_empty() || words.iter().any(|word| names.contains(&word.as_str()));
    let is_client = |word: &String| languages::ALL.iter().any(|language| language.name() == word);
    let names_clients = words.iter().any(is_client);
    let names_scenarios = words.iter().any(|word| !is_client(word));
    let clients: Vec<Language> =
        languages::ALL.into_iter().filter(|language| !names_clients || picked(&[language.name()])).collect();
    let tried: Vec<&Scenario> =
        scenarios::ALL.iter().filter(|scenario| !names_scenarios || picked(&[scenario.name])).collect();
    if std::env::args().any(|word| word == "--list") || tried.is_empty() {
        tried.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    std::panic::set_hook(Box::new(|_| {}));
    let rows: Vec<Row> = std::thread::scope(|threads| {
        let running: Vec<_> = clients.iter().map(|language| threads.spawn(|| all_of(*language, &tried))).collect();
        running.into_iter().map(|client| client.join().expect("scenarios are caught one by one")).collect()
    });
    let is_whole = !names_clients && !names_scenarios;
    if table::report(&rows, &tried, is_whole, INSTEAD.get().is_some()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All scenarios of one client, on a server of its own.
fn all_of(language: Language, tried: &[&Scenario]) -> Row {
    if let Err(needs) = language.driver() {
        return Row { language, cells: tried.iter().map(|_| Cell::NotRun(needs)).collect() };
    }
    let home = Home::new();
    let server = Server::start(&home.data(), &HURRIED);
    let next = AtomicUsize::new(0);
    let cells: Vec<Mutex<Option<Cell>>> = tried.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                while let Some(scenario) = tried.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let at = tried.iter().position(|other| std::ptr::eq(*other, *scenario)).expect("it is one of them");
                    let cell = one(language, scenario, &server, &home);
                    *cells[at].lock().expect("nobody panics holding it") = Some(cell);
                }
            });
        }
    });
    let cells = cells.into_iter().map(|cell| cell.into_inner().expect("no panic").expect("each was tried")).collect();
    Row { language, cells }
}

fn one(language: Language, scenario: &Scenario, server: &Server, home: &Home) -> Cell {
    if let Some(why) = scenario.why_not(language) {
        return Cell::Unsupported(why);
    }
    if !(scenario.is_built)() {
        return Cell::NotBuilt;
    }
    let began = Instant::now();
    let trial = Trial { language, name: scenario.name, server, home: &home.path().join(scenario.name) };
    let cell = match catch_unwind(AssertUnwindSafe(|| (scenario.run)(&trial))) {
        Ok(()) => Cell::Pass,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| said.to_string())).unwrap_or_default();
            match INSTEAD.get().and_then(|_| apache::why(language, scenario.name, &said)) {
                Some(why) => {
                    println!("{}: {} as known: {said}", language.name(), scenario.name);
                    Cell::Differs(why)
                }
                None => Cell::Fail(said),
            }
        }
    };
    let (name, took) = (language.name(), began.elapsed().as_secs_f64());
    match &cell {
        Cell::Fail(why) => println!("{name}: {} FAILED after {took:.1} s: {why}", scenario.name),
        Cell::Differs(why) => println!("{name}: {} differs after {took:.1} s: {why}", scenario.name),
        _ => println!("{name}: {} {took:.1} s", scenario.name),
    }
    cell
}
