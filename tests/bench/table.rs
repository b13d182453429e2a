//! The report: rows and what they say, as text, Markdown and JSON. Measures nothing.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::measure::{Figure, Round, Rounds};
use crate::server::Outcome;

/// A reference that varied by more cannot be compared with.
const SPREAD_MAX: f64 = 0.30;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Better {
    Higher,
    Lower,
}

/// Gantry's half of a row.
#[derive(Debug, Clone)]
pub struct Row {
    goal: &'static str,
    shape: String,
    /// A: acknowledged from memory, D: after the disk has it; empty where it does not matter.
    level: &'static str,
    unit: &'static str,
    better: Better,
    gantry: Outcome<Figure>,
    gantry_cpu_us: Option<f64>,
    reference: Reference,
    bar: Option<f64>,
    moon: Option<f64>,
}

/// Whom Gantry is compared with.
#[derive(Debug, Clone)]
pub struct Reference {
    pub name: String,
    pub figure: Outcome<Figure>,
    pub cpu_us: Option<f64>,
}

impl Reference {
    pub fn of(side: &Rounds, value: fn(&Round) -> f64) -> Reference {
        Reference { name: side.name.into(), figure: figure(side, value), cpu_us: cpu_us(side) }
    }

    /// A figure that was decided on beforehand.
    pub fn limit(value: f64) -> Reference {
        Reference { name: "limit".into(), figure: Ok(Figure::exact(value)), cpu_us: None }
    }
}

impl Row {
    pub fn new(goal: &'static str, shape: &str, level: &'static str, unit: &'static str, better: Better) -> Row {
        let unmeasured = || Err("nothing was measured".to_owned());
        let reference = Reference { name: String::new(), figure: unmeasured(), cpu_us: None };
        let shape = shape.to_owned();
        let gantry = unmeasured();
        Row { goal, shape, level, unit, better, gantry, gantry_cpu_us: None, reference, bar: None, moon: None }
    }

    pub fn rates(self, gantry: &Rounds) -> Row {
        self.figures(gantry, |round| round.rate)
    }

    pub fn figures(self, gantry: &Rounds, value: fn(&Round) -> f64) -> Row {
        Row { gantry: figure(gantry, value), gantry_cpu_us: cpu_us(gantry), ..self }
    }

    pub fn figure(self, figure: Outcome<Figure>) -> Row {
        Row { gantry: figure, ..self }
    }

    /// `bar` must be reached, `moon` is the stretch: ratios of Gantry to the reference.
    pub fn against(self, reference: Reference, bar: f64, moon: Option<f64>) -> Row {
        Row { reference, bar: Some(bar), moon, ..self }
    }

    /// A ratio that is told and has no bar.
    pub fn beside(self, reference: Reference) -> Row {
        Row { reference, ..self }
    }

    fn ratio(&self) -> Option<f64> {
        let (Ok(gantry), Ok(reference)) = (&self.gantry, &self.reference.figure) else { return None };
        Some(gantry.median / reference.median).filter(|ratio| ratio.is_finite())
    }

    /// One word or two, and why where that is not plain from the figures.
    fn verdict(&self) -> (&'static str, Option<String>) {
        // Whatever lost or invented messages has no speed.
        let stopped = [&self.gantry, &self.reference.figure].into_iter().filter_map(|side| side.as_ref().err());
        if let Some(reason) = stopped.clone().find(|reason| reason.starts_with("failed")) {
            return ("failed", Some(reason.clone()));
        }
        if let Some(reason) = stopped.clone().next() {
            return ("not measured", Some(reason.clone()));
        }
        let Some(ratio) = self.ratio() else { return ("not measured", Some("a figure is missing".into())) };
        let spread = self.reference.figure.as_ref().map_or(f64::NAN, |figure| figure.spread);
        // Written so that a spread that is no number does not pass.
        if !matches!(spread.partial_cmp(&SPREAD_MAX), Some(Ordering::Less | Ordering::Equal)) {
            return ("not measured", Some(format!("{} varied by {:.0} %", self.reference.name, spread * 100.0)));
        }
        let reaches = |goal: f64| match self.better {
            Better::Higher => ratio >= goal,
            Better::Lower => ratio <= goal,
        };
        match self.moon {
            Some(moon) if reaches(moon) => ("moon", None),
            _ => match self.bar {
                None => ("told", None),
                Some(bar) if reaches(bar) => ("reached", None),
                Some(_) => ("MISSED", None),
            },
        }
    }

    /// What the table's last column had no room for.
    fn note(&self) -> Option<String> {
        let (_, reason) = self.verdict();
        Some(format!("goal {}, {}: {}", self.goal, self.shape, reason?.trim().replace('\n', " ")))
    }

    fn goal_text(&self, goal: Option<f64>) -> String {
        let sign = if self.better == Better::Higher { "≥" } else { "≤" };
        goal.map_or_else(|| "-".into(), |goal| format!("{sign} {goal:.2}"))
    }

    fn cells(&self) -> Vec<String> {
        let value = |figure: &Outcome<Figure>| match figure {
            Ok(figure) => format!("{} {}", short(figure.median), self.unit),
            Err(_) => "-".into(),
        };
        let spread = |figure: &Outcome<Figure>| {
            figure.as_ref().map_or_else(|_| "-".into(), |figure| format!("{:.0} %", figure.spread * 100.0))
        };
        let cpu = |us: Option<f64>| us.map_or_else(|| "-".into(), |us| format!("{us:.2}"));
        vec![
            self.goal.to_owned(),
            self.shape.clone(),
            self.level.into(),
            value(&self.gantry),
            format!("{} ({})", value(&self.reference.figure), self.reference.name),
            self.ratio().map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}")),
            format!("{} / {}", spread(&self.gantry), spread(&self.reference.figure)),
            format!("{} / {}", cpu(self.gantry_cpu_us), cpu(self.reference.cpu_us)),
            self.goal_text(self.bar),
            self.goal_text(self.moon),
            self.verdict().0.into(),
        ]
    }

    fn json(&self) -> Value {
        let side = |figure: &Outcome<Figure>, cpu_us: Option<f64>| match figure {
            Ok(figure) => json!({ "median": figure.median, "spread": figure.spread, "cpuUsPerOperation": cpu_us }),
            Err(reason) => json!({ "reason": reason }),
        };
        json!({
            "goal": self.goal,
            "shape": self.shape,
            "level": self.level,
            "unit": self.unit,
            "gantry": side(&self.gantry, self.gantry_cpu_us),
            "referenceName": self.reference.name,
            "reference": side(&self.reference.figure, self.reference.cpu_us),
            "ratio": self.ratio(),
            "better": if self.better == Better::Higher { "higher" } else { "lower" },
            "bar": self.bar,
            "moon": self.moon,
            "verdict": self.verdict().0,
            "reason": self.verdict().1,
        })
    }
}

/// Everything one run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Name and text: date, machine, versions, how it was measured.
    pub about: Vec<(String, String)>,
    pub rows: Vec<Row>,
    /// What the machine itself can do: name, figure, unit.
    pub device: Vec<(String, Outcome<f64>, &'static str)>,
}

const HEADINGS: [&str; 11] =
    ["goal", "shape", "level", "Gantry", "reference", "ratio", "spread", "CPU us/op", "bar", "moon", "verdict"];

impl Report {
    pub fn text(&self) -> String {
        let mut lines = vec![HEADINGS.map(String::from).to_vec()];
        lines.extend(self.rows.iter().map(Row::cells));
        let mut text = aligned(&lines);
        for note in self.rows.iter().filter_map(Row::note) {
            text.push_str(&format!("  {note}\n"));
        }
        if !self.device.is_empty() {
            let lines: Vec<Vec<String>> = self.device.iter().map(|probe| device_cells(probe).to_vec()).collect();
            text.push_str("\nthe machine itself\n");
            text.push_str(&aligned(&lines));
        }
        text.push('\n');
        text.push_str(&aligned(
            &self.about.iter().map(|(name, said)| vec![name.clone(), said.clone()]).collect::<Vec<_>>(),
        ));
        text
    }

    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | ").replace('\n', " "));
        let mut text = String::from("# Gantry against what it is built on, and its peers\n\n");
        for (name, said) in &self.about {
            text.push_str(&format!("- {name}: {said}\n"));
        }
        text.push('\n');
        text.push_str(&line(&HEADINGS.map(String::from)));
        text.push_str(&line(&HEADINGS.map(|_| "---".into())));
        for row in &self.rows {
            text.push_str(&line(&row.cells()));
        }
        text.push('\n');
        for note in self.rows.iter().filter_map(Row::note) {
            text.push_str(&format!("- {note}\n"));
        }
        if !self.device.is_empty() {
            text.push_str("\n## The machine itself\n\n| what | value |\n| --- | --- |\n");
            for probe in &self.device {
                text.push_str(&line(&device_cells(probe)));
            }
        }
        text
    }

    pub fn json(&self) -> Value {
        let about: serde_json::Map<String, Value> =
            self.about.iter().map(|(name, said)| (name.clone(), said.clone().into())).collect();
        let probe = |(name, figure, unit): &(String, Outcome<f64>, &'static str)| match figure {
            Ok(value) => json!({ "what": name, "value": value, "unit": unit }),
            Err(reason) => json!({ "what": name, "reason": reason }),
        };
        json!({
            "about": about,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "device": self.device.iter().map(probe).collect::<Vec<_>>(),
        })
    }
}

fn device_cells((name, figure, unit): &(String, Outcome<f64>, &'static str)) -> [String; 2] {
    let said = match figure {
        Ok(value) => format!("{} {unit}", short(*value)),
        Err(reason) => format!("not measured: {reason}"),
    };
    [name.clone(), said]
}

fn figure(side: &Rounds, value: fn(&Round) -> f64) -> Outcome<Figure> {
    side.rounds.as_ref().map(|rounds| Figure::of(rounds.iter().map(value))).map_err(Clone::clone)
}

fn cpu_us(side: &Rounds) -> Option<f64> {
    side.rounds
        .as_ref()
        .ok()
        .map(|rounds| Figure::of(rounds.iter().filter_map(|round| round.cpu_us)).median)
        .filter(|us| us.is_finite())
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2}M", value / 1e6),
        v if v >= 1e4 => format!("{:.1}K", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Columns of equal width; the last one runs free.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(gantry: f64, reference: f64, spread: f64, better: Better) -> Row {
        let side = Reference { name: "peer".into(), figure: Ok(Figure { median: reference, spread }), cpu_us: None };
        Row::new("1", "shape", "A", "msg/s", better).figure(Ok(Figure::exact(gantry))).against(side, 0.5, Some(0.75))
    }

    #[test]
    fn a_ratio_is_held_against_bar_and_moon() {
        let verdict = |gantry, better| row(gantry, 100.0, 0.1, better).verdict().0;
        assert_eq!([49.0, 50.0, 75.0].map(|rate| verdict(rate, Better::Higher)), ["MISSED", "reached", "moon"]);
        let low = |gantry| {
            let row = row(gantry, 100.0, 0.1, Better::Lower);
            Row { bar: Some(1.5), moon: Some(1.0), ..row }.verdict().0
        };
        assert_eq!([151.0, 150.0, 100.0].map(low), ["MISSED", "reached", "moon"]);
    }

    #[test]
    fn a_reference_that_varies_decides_nothing() {
        for (spread, verdict) in [(0.30, "moon"), (0.31, "not measured"), (f64::NAN, "not measured")] {
            assert_eq!(row(100.0, 100.0, spread, Better::Higher).verdict().0, verdict);
        }
    }

    #[test]
    fn a_failed_load_is_no_figure() {
        let row =
            row(100.0, 100.0, 0.1, Better::Higher).figure(Err("failed: 3 were acknowledged, 2 are stored".into()));
        assert_eq!(row.verdict().0, "failed");
        assert_eq!(row.ratio(), None);
    }
}
