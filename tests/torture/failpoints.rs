//! Every failpoint is come to, and the store recovers from a kill at each (T6). What is released has none of them.

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gantry_broker_core::store::failpoint::Point;

use crate::kill_9::{Life, runtime};
use crate::random::Random;
use crate::report::{Control, Outcome, Plan, Progress, Rig};

pub const EACH_HIT: Rig = Rig {
    name: "t6_each_failpoint_is_hit",
    fault: "killed at each failpoint",
    slice: Point::ALL.len() as u64,
    full: Point::ALL.len() as u64,
    run: each_hit,
};

pub const LEFT_OUT: Rig = Rig {
    name: "t6_a_release_has_no_failpoints",
    fault: "failpoints in what is released",
    slice: 1,
    full: 1,
    run: left_out,
};

const LANES: usize = 3;
/// A place that is not come to in so many starts with load never is.
const TRIES_MAX: usize = 4;

fn each_hit(plan: &Plan, progress: &Progress) -> Outcome {
    let next = AtomicUsize::new(0);
    let violations = Mutex::new(Vec::new());
    std::thread::scope(|lanes| {
        for _ in 0..LANES {
            lanes.spawn(|| {
                let take = || Point::ALL.get(next.fetch_add(1, Ordering::Relaxed));
                while let Some(point) = take() {
                    let mut random = Random::new(plan.seed ^ *point as u64);
                    if let Err(found) = runtime().block_on(kill_at(*point, &mut random)) {
                        violations.lock().expect("no lane panics holding it").extend(found);
                    }
                    progress.done(1);
                }
            });
        }
    });
    let violations = violations.into_inner().expect("no lane panics holding it");
    Outcome { runs: progress.count(), violations, ..Outcome::default() }
}

async fn kill_at(point: Point, random: &mut Random) -> Result<(), Vec<String>> {
    let mut life = Life::new(format!("failpoint {}", point.name()), random);
    // Something to recover.
    let server = life.start(None).await?.expect("no failpoint");
    life.load_and_kill(server, false, random).await?;
    for _ in 0..TRIES_MAX {
        let was_hit = match life.start(Some((point, 1))).await? {
            None => true,
            Some(server) => life.load_until_killed(server, random).await?,
        };
        if was_hit {
            let server = life.start(None).await?.expect("no failpoint");
            server.kill_9();
            return Ok(());
        }
    }
    Err(vec![format!("nothing ever came to {}", point.name())])
}

/// The feature is for the package `tests`: a build of the program alone goes without it.
fn left_out(_: &Plan, progress: &Progress) -> Outcome {
    let features_of = |package: &str| {
        let mut tree = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        tree.current_dir(env!("CARGO_MANIFEST_DIR"));
        tree.args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p} {f}", "-p", package]);
        let output = tree.output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let broker = text.lines().find(|line| line.starts_with("gantry-broker-core ")).expect("the broker is in it");
        broker.to_string()
    };
    let released = features_of("gantry-gateway");
    let violations = released.contains("failpoints").then(|| format!("a release is built with {released}"));
    let controls = vec![Control { name: "the tests' own build", found: features_of("tests").contains("failpoints") }];
    Outcome { runs: progress.done(1), violations: violations.into_iter().collect(), controls, ..Outcome::default() }
}
