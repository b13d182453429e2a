//! The official clients: how each is started here, what it needs, and what it cannot do by its own making.

use std::path::{Path, PathBuf};
use std::process::Command;

use Language::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Java,
    Go,
    Python,
    Node,
    Rust,
}

pub const ALL: [Language; 5] = [Java, Go, Python, Node, Rust];

impl Language {
    pub fn name(self) -> &'static str {
        match self {
            Java => "Java",
            Go => "Go",
            Python => "Python",
            Node => "Node.js",
            Rust => "Rust",
        }
    }

    /// The release of its client that `make clients` installs, as its registry names it.
    pub fn release(self) -> &'static str {
        match self {
            Java => "org.apache.rocketmq:rocketmq-client-java 5.2.0",
            Go => "github.com/apache/rocketmq-clients/golang/v5 v5.1.4",
            Python => "rocketmq-python-client 5.1.2",
            Node => "rocketmq-client-nodejs 1.0.8",
            Rust => "rocketmq 5.0.0",
        }
    }

    /// `Err`: what is missing here to run it.
    pub fn driver(self) -> Result<Command, &'static str> {
        let (program, needs): (PathBuf, _) = match self {
            Java => (built("java/classes/Driver.class"), "a JDK 17 with Maven, and `make clients`"),
            Go => (built("go/driver"), "Go 1.25, and `make clients`"),
            Python => (python(), "GANTRY_PYTHON, which `make conformance` sets"),
            Node => (built("node/driver.mjs"), "Node 20, and `make clients`"),
            Rust => (built("rust/debug/driver"), "`make clients`"),
        };
        if !program.exists() {
            return Err(needs);
        }
        let mut command = match self {
            Java => {
                let mut java = Command::new("java");
                // Quick to start, and small: five clients share the machine.
                java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp"]);
                java.arg(format!("{}:{}", built("java/classes").display(), built("java/lib/*").display()))
                    .arg("Driver");
                java
            }
            Python => {
                let mut python = Command::new(program);
                python.arg(sources().join("python/driver.py"));
                python
            }
            Node => {
                let mut node = Command::new("node");
                node.arg(program);
                node
            }
            Go | Rust => Command::new(program),
        };
        // They log to files or to stderr, and nobody reads it.
        command.env("rocketmq.client.logLevel", "error").env("GRPC_VERBOSITY", "none");
        Ok(command)
    }
}

/// Where `make clients` puts what it builds: beside the profile's directory.
pub fn built(path: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.ancestors().nth(3).expect("tests are built under target/PROFILE/deps").join("clients").join(path)
}

pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

pub fn python() -> PathBuf {
    std::env::var_os("GANTRY_PYTHON").map_or_else(|| PathBuf::from("GANTRY_PYTHON is not set"), PathBuf::from)
}
