//! The tables: scenario x client, of Gantry and, where Apache RocketMQ's servers do otherwise, of those. They stand in README.md,
//! and a run that finds something else fails.

use std::path::{Path, PathBuf};

use crate::languages::Language;
use crate::scenarios::Scenario;

const CLIENTS: Place = Place {
    begin: "<!-- clients: made by UPDATE=1 make conformance -->\n",
    end: "<!-- clients: end -->\n",
    made_by: "make conformance",
};
const APACHE: Place = Place {
    begin: "<!-- apache: made by UPDATE=1 make apache -->\n",
    end: "<!-- apache: end -->\n",
    made_by: "make apache",
};

/// Where in README.md a table stands.
struct Place {
    begin: &'static str,
    end: &'static str,
    made_by: &'static str,
}

pub enum Cell {
    Pass,
    Unsupported(&'static str),
    Fail(String),
    /// Apache's servers do otherwise, and we know why.
    Differs(&'static str),
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
pub fn report(rows: &[Row], tried: &[&Scenario], is_whole: bool, is_apache: bool) -> bool {
    let table = table(rows, tried, is_apache);
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
    // What Apache's servers do depends on who comes first: their table is as it was when it was written.
    let is_compared = !is_apache || std::env::var_os("UPDATE").is_some();
    if is_whole && not_run == 0 && is_compared {
        is_good &= compare(&table, if is_apache { APACHE } else { CLIENTS });
    }
    println!("{unsupported} unsupported by their client, {not_run} not run, {not_built} not built yet");
    if is_apache {
        println!("{} differ, for reasons we know", count(|cell| matches!(cell, Cell::Differs(_))));
    }
    let skipped = not_run + not_built;
    println!("{} passed, {failed} failed, {skipped} skipped", count(|cell| matches!(cell, Cell::Pass)));
    is_good
}

fn compare(table: &str, place: Place) -> bool {
    let path = readme();
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let begin = readme.find(place.begin).expect("the table's place in README.md") + place.begin.len();
    let end = begin + readme[begin..].find(place.end).expect("the end of the table's place");
    if &readme[begin..end] == table {
        return true;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &readme[..begin], &readme[end..])).expect("README.md is written");
        return true;
    }
    println!("README.md shows another table: UPDATE=1 {}", place.made_by);
    false
}

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").join("README.md")
}

fn table(rows: &[Row], tried: &[&Scenario], is_apache: bool) -> String {
    let mut reasons: Vec<String> = Vec::new();
    let mut footnote = |word: &str, reason: String| {
        let number = reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
            reasons.push(reason);
            reasons.len() - 1
        });
        format!("{word} ({})", number + 1)
    };
    let mut lines = vec![line("", rows.iter().map(|row| row.language.name().to_string()))];
    lines.push(line("---", rows.iter().map(|_| "---".to_string())));
    for (at, scenario) in tried.iter().enumerate() {
        let is_as_gantry = |row: &Row| matches!(row.cells[at], Cell::Pass | Cell::Unsupported(_));
        if is_apache && rows.iter().all(is_as_gantry) {
            continue;
        }
        let cells: Vec<String> = rows
            .iter()
            .map(|row| match &row.cells[at] {
                Cell::Pass => "pass".to_string(),
                Cell::Fail(_) => "**fail**".to_string(),
                Cell::NotRun(_) => "not run".to_string(),
                Cell::NotBuilt => "not built yet".to_string(),
                Cell::Unsupported(_) if is_apache => "-".to_string(),
                Cell::Unsupported(why) => footnote("unsupported", format!("the client {why}")),
                Cell::Differs(why) => footnote("differs", (*why).to_string()),
            })
            .collect();
        lines.push(line(scenario.title, cells.into_iter()));
    }
    let releases: Vec<String> =
        rows.iter().map(|row| format!("{}: `{}`", row.language.name(), row.language.release())).collect();
    let releases = if is_apache { String::new() } else { format!("{}.\n", releases.join(",\n")) };
    let reasons: Vec<String> =
        reasons.iter().enumerate().map(|(at, reason)| format!("({}) {reason}", at + 1)).collect();
    format!("{}\n\n{releases}{}.\n", lines.join("\n"), reasons.join(";\n"))
}

fn line(first: &str, cells: impl Iterator<Item = String>) -> String {
    format!("| {first} | {} |", cells.collect::<Vec<_>>().join(" | "))
}
