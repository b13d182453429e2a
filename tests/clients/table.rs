//! The table: scenario x client. It stands in README.md, and a run that finds something else fails.

use std::path::{Path, PathBuf};

use crate::languages::Language;
use crate::scenarios::Scenario;

const BEGIN: &str = "<!-- clients: made by UPDATE=1 make conformance -->\n";
const END: &str = "<!-- clients: end -->\n";

pub enum Cell {
    Pass,
    Unsupported(&'static str),
    Fail(String),
    NotRun(&'static str),
    /// The server under test cannot do it.
    NotBuilt,
}

pub struct Row {
    pub language: Language,
    /// One of each scenario.
    pub cells: Vec<Cell>,
}

/// Prints what came of it, and compares README.md with it if all was tried. `true` if all is well.
pub fn report(rows: &[Row], tried: &[&Scenario], is_whole: bool) -> bool {
    let table = table(rows, tried);
    println!("\n{table}");
    let count = |is: fn(&Cell) -> bool| rows.iter().flat_map(|row| &row.cells).filter(|cell| is(cell)).count();
    let failed = count(|cell| matches!(cell, Cell::Fail(_)));
    let not_run = count(|cell| matches!(cell, Cell::NotRun(_)));
    let not_built = count(|cell| matches!(cell, Cell::NotBuilt));
    for row in rows {
        if let Some(Cell::NotRun(needs)) = row.cells.first() {
            println!("{}: not run: needs {needs}", row.language.name());
        }
    }
    let unsupported = count(|cell| matches!(cell, Cell::Unsupported(_)));
    let mut is_good = failed == 0;
    // A client that cannot be run here leaves its column unknown: then nothing is compared, and nothing written.
    if is_whole && not_run == 0 {
        is_good &= compare(&table);
    }
    println!("{unsupported} unsupported by their client, {not_run} not run, {not_built} not built yet");
    let skipped = not_run + not_built;
    println!("{} passed, {failed} failed, {skipped} skipped", count(|cell| matches!(cell, Cell::Pass)));
    is_good
}

fn compare(table: &str) -> bool {
    let path = readme();
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let begin = readme.find(BEGIN).expect("the table's place in README.md") + BEGIN.len();
    let end = begin + readme[begin..].find(END).expect("the end of the table's place");
    if &readme[begin..end] == table {
        return true;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &readme[..begin], &readme[end..])).expect("README.md is written");
        return true;
    }
    println!("README.md shows another table: UPDATE=1 make conformance");
    false
}

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").join("README.md")
}

fn table(rows: &[Row], tried: &[&Scenario]) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    let mut lines = vec![line("", rows.iter().map(|row| row.language.name().to_string()))];
    lines.push(line("---", rows.iter().map(|_| "---".to_string())));
    for (at, scenario) in tried.iter().enumerate() {
        let cells = rows.iter().map(|row| match &row.cells[at] {
            Cell::Pass => "pass".to_string(),
            Cell::Fail(_) => "**fail**".to_string(),
            Cell::NotRun(_) => "not run".to_string(),
            Cell::NotBuilt => "not built yet".to_string(),
            Cell::Unsupported(why) => {
                let number = reasons.iter().position(|known| known == why).unwrap_or_else(|| {
                    reasons.push(why);
                    reasons.len() - 1
                });
                format!("unsupported ({})", number + 1)
            }
        });
        lines.push(line(scenario.title, cells));
    }
    let releases: Vec<String> =
        rows.iter().map(|row| format!("{}: `{}`", row.language.name(), row.language.release())).collect();
    let reasons = reasons.iter().enumerate().map(|(at, reason)| format!("({}) the client {reason}", at + 1));
    format!("{}\n\n{}.\n{}.\n", lines.join("\n"), releases.join(",\n"), reasons.collect::<Vec<_>>().join(";\n"))
}

fn line(first: &str, cells: impl Iterator<Item = String>) -> String {
    format!("| {first} | {} |", cells.collect::<Vec<_>>().join(" | "))
}
