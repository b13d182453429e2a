//! The same scenarios on Apache RocketMQ's own servers: how they are started, what comes out otherwise there, and why.

use std::path::{Path, PathBuf};

use harness::apache::Apache;

use crate::languages::Language::{self, *};

/// Quick to start, and small: one runs beside each client, and two more now and then.
const JAVA_OPTIONS: &str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m";

/// Known by what the scenario fails with: another failure of it is none of these.
struct Difference {
    languages: &'static [Language],
    /// Any, if empty.
    scenario: &'static str,
    said: &'static str,
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        languages: &[Python],
        scenario: "",
        said: "apache.rocketmq.v2.Settings.getSubscription()",
        why: "a receive that comes before its client's settings is answered with 50001 (a NullPointerException), and this \
              client does not wait for them; sometimes it is lucky",
    },
    Difference {
        languages: &[Rust],
        scenario: "",
        said: "deadline time remaining is not enough for polling",
        why: SHORT_DEADLINE,
    },
    // It asks until it has all.
    Difference { languages: &[Rust], scenario: "", said: "0 of 40 came", why: SHORT_DEADLINE },
    Difference {
        languages: &[Rust],
        scenario: "send-batch",
        said: "assertion `left == right` failed",
        why: "ten messages get one result with one id",
    },
    Difference { languages: &[Java, Python], scenario: "change-refused", said: "50001", why: REFUSED_CHANGE },
    Difference { languages: &[Go], scenario: "change-refused", said: "all is settled", why: REFUSED_CHANGE },
    Difference {
        languages: &[Go],
        scenario: "",
        said: "waited for all that was sent",
        why: "after a restart the proxy answers every receive with 50001 (the same exception) until it is told the client's \
              settings, and this client tells them once",
    },
    Difference {
        languages: &[Go, Node],
        scenario: "push-fifo",
        said: "message group",
        why: "the client asks at its start whether its group is orderly, and Apache's settings come a moment later",
    },
    Difference {
        languages: &[Node],
        scenario: "compressed",
        said: "incorrect header check",
        why: "a body is handed on as its sender packed it, and this client opens gzip alone",
    },
    Difference {
        languages: &[Node],
        scenario: "wrong-group",
        said: "waited for \"simple\"",
        why: "the client's start does not end",
    },
];
const SHORT_DEADLINE: &str = "a poll must have 5 s left to its deadline, which this client makes as long as the wait: with \
    our 5 s it is refused, with its own 40 s, as in README's program, it is not";
const REFUSED_CHANGE: &str =
    "a refused change is answered without a receipt, and the client takes over what is not there";

/// A program to be started instead of Gantry. `Err`: what it needs.
pub fn program() -> Result<PathBuf, String> {
    Apache::build(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("apache"))?.program("for-clients", JAVA_OPTIONS)
}

/// Why a scenario that said so comes out otherwise there.
pub fn why(language: Language, scenario: &str, said: &str) -> Option<&'static str> {
    let is_it = |known: &&Difference| {
        let of_scenario = known.scenario.is_empty() || known.scenario == scenario;
        of_scenario && known.languages.contains(&language) && said.contains(known.said)
    };
    DIFFERENCES.iter().find(is_it).map(|known| known.why)
}
