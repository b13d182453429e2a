//! How a ratio is measured: the sides take turns, a round each, and medians are compared.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::loads::Load;
use crate::server::{Outcome, Process};
use crate::warm::WarmMemory;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub quick: bool,
    pub rounds: usize,
    pub round_s: u64,
    pub warm_up_s: u64,
    /// A server whose store holds more starts anew.
    pub store_bytes_max: u64,
    /// Most that the stores of one round can grow by.
    pub warm_bytes: u64,
    /// Between rounds: what one side left to be written must not burden the other.
    pub settle: Duration,
    /// How long servers idle before their memory is read.
    pub idle: Duration,
    /// In each round.
    pub starts: usize,
}

impl Pace {
    pub fn full() -> Pace {
        Pace {
            quick: false,
            rounds: 5,
            round_s: 5,
            warm_up_s: 2,
            store_bytes_max: 4 << 30,
            warm_bytes: 4 << 30,
            settle: Duration::from_secs(1),
            idle: Duration::from_secs(60),
            starts: 9,
        }
    }

    pub fn quick() -> Pace {
        Pace {
            quick: true,
            rounds: 3,
            round_s: 1,
            warm_up_s: 1,
            store_bytes_max: 3 << 29,
            warm_bytes: 1 << 30,
            settle: Duration::from_millis(200),
            idle: Duration::from_secs(5),
            starts: 3,
        }
    }
}

/// One round of one side.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Operations in a second.
    pub rate: f64,
    /// The server's CPU time for each, where that is more than the kernel's grain.
    pub cpu_us: Option<f64>,
    /// That of the thread that called, for loads without a server.
    pub caller_cpu_us: Option<f64>,
    pub latency: Option<Latency>,
}

impl Round {
    pub fn new(rate: f64) -> Round {
        Round { rate, cpu_us: None, caller_cpu_us: None, latency: None }
    }

    pub fn with_p50_us(self, p50_us: Option<f64>) -> Round {
        Round { latency: p50_us.map(|p50_us| Latency { p50_us, ..Latency::default() }), ..self }
    }
}

/// How long single operations took; 0 is not known.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl Latency {
    /// `None`: nothing was timed.
    pub fn of(mut times: Vec<Duration>) -> Option<Latency> {
        times.sort_unstable();
        let last = times.last()?;
        let at = |share| times.get((times.len() as f64 * share) as usize).unwrap_or(last).as_secs_f64() * 1e6;
        Some(Latency { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), max_us: last.as_secs_f64() * 1e6 })
    }
}

/// Runs a load and reads what it cost the server.
pub fn round(process: &Process, load: impl FnOnce() -> Outcome<Load>) -> Outcome<(Round, Load)> {
    let before = process.cpu_us()?;
    let load = load()?;
    let cpu_us = process.cpu_us()? - before;
    if load.succeeded == 0 {
        return Err("failed: nothing succeeded".into());
    }
    let succeeded = load.succeeded as f64;
    let round = Round::new(succeeded / load.seconds).with_p50_us(load.p50_us);
    Ok((Round { cpu_us: Some(cpu_us / succeeded), ..round }, load))
}

/// One of those who take turns: a load of so many seconds.
pub type Side<'a> = Box<dyn FnMut(u64) -> Outcome<Round> + 'a>;

/// What a side's rounds measured, or what stopped it.
#[derive(Debug)]
pub struct Rounds {
    pub name: &'static str,
    pub rounds: Outcome<Vec<Round>>,
}

/// A-B-A-B. A side that failed sits out the rest. Says on stderr how it goes.
pub fn take_turns(pace: Pace, warm: &WarmMemory, sides: Vec<(&'static str, Outcome<Side<'_>>)>) -> Vec<Rounds> {
    let begin = |(name, side)| (side, Rounds { name, rounds: Ok(Vec::with_capacity(pace.rounds)) });
    let mut sides: Vec<(Outcome<Side<'_>>, Rounds)> = sides.into_iter().map(begin).collect();
    for turn in 0..=pace.rounds {
        for (side, Rounds { name, rounds }) in &mut sides {
            let Ok(load) = side else { continue };
            warm.fill();
            std::thread::sleep(pace.settle);
            let _giving = warm.giving();
            // The first turn only warms up.
            match load(if turn == 0 { pace.warm_up_s } else { pace.round_s }) {
                Ok(_) if turn == 0 => eprintln!("bench:   {name} is warm"),
                Ok(round) => {
                    let cpu = round.cpu_us.map_or_else(String::new, |us| format!(", {us:.2} us of CPU each"));
                    eprintln!("bench:   round {turn} of {}: {name} {:.0}/s{cpu}", pace.rounds, round.rate);
                    rounds.as_mut().expect("a side that runs has not failed").push(round);
                }
                Err(error) => {
                    eprintln!("bench:   {name}: {error}");
                    *side = Err(error);
                }
            }
        }
    }
    let done = |(side, rounds): (Outcome<Side<'_>>, Rounds)| match side {
        Ok(_) => rounds,
        Err(error) => Rounds { rounds: Err(error), ..rounds },
    };
    sides.into_iter().map(done).collect()
}

/// What several rounds say.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    pub median: f64,
    /// (largest - smallest) / median.
    pub spread: f64,
}

impl Figure {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Figure {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(smallest), Some(largest)) = (values.first(), values.last()) else {
            return Figure { median: f64::NAN, spread: f64::NAN };
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Figure { median, spread: (largest - smallest) / median }
    }

    pub fn exact(value: f64) -> Figure {
        Figure { median: value, spread: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_and_how_far_rounds_lie_apart() {
        let figure = Figure::of([90.0, 120.0, 100.0]);
        assert_eq!((figure.median, figure.spread), (100.0, 0.3));
        assert_eq!(Figure::of([1.0, 3.0]).median, 2.0);
        assert!(Figure::of([]).median.is_nan());
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let latency = Latency::of((1..=10_000).rev().map(Duration::from_micros).collect()).unwrap();
        let found = [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us].map(f64::round);
        assert_eq!(found, [5_001.0, 9_901.0, 9_991.0, 10_000.0]);
        assert!(Latency::of(Vec::new()).is_none());
    }

    #[test]
    fn a_side_that_failed_sits_out_the_rest() {
        let pace = Pace { settle: Duration::ZERO, ..Pace::quick() };
        let mut turns = 0;
        let round = Round::new(1.0);
        let failing: Side<'_> = Box::new(|_| {
            turns += 1;
            if turns == 2 { Err("failed: lost one".into()) } else { Ok(round) }
        });
        let rounds =
            take_turns(pace, &WarmMemory::new(0), vec![("a", Ok(failing)), ("b", Ok(Box::new(|_| Ok(round))))]);
        assert_eq!(rounds[0].rounds.as_ref().map(Vec::len), Err(&"failed: lost one".to_owned()));
        assert_eq!(rounds[1].rounds.as_ref().map(Vec::len), Ok(pace.rounds));
        assert_eq!(turns, 2);
    }
}
