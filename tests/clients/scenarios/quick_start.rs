//! What README.md tells a developer to paste, as it is printed; only the server's address is another one.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::languages::{Language, built, python, sources};
use crate::trial::{Trial, publish, settled};

const ADDRESS: &str = "127.0.0.1:8081";

pub fn paste(trial: &Trial<'_>) {
    const TOPIC: &str = "orders";
    const GROUP: &str = "shipping";
    crate::trial::put(trial.server, &format!("/v1/topics/{TOPIC}"), &json!({}));
    // Of another tag: the snippet asks for paid ones.
    publish(trial.server, TOPIC, &[json!({"body": "not this one", "tag": "refunded"})]);
    let snippet = snippet(trial.language);
    assert!(snippet.contains(ADDRESS), "it names the address of `make run`");
    std::fs::create_dir_all(trial.home).expect("a home");
    let mut command = program(trial.language, &snippet.replace(ADDRESS, &trial.server.grpc), trial.home);
    let output = command.env("HOME", trial.home).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}\n{complaint}", output.status);
    assert!(said.contains("hello") && !said.contains("not this one"), "{said}\n{complaint}");
    settled(trial.server, GROUP, TOPIC);
}

/// The one code block of README.md in that language.
fn snippet(language: Language) -> String {
    let fence = match language {
        Language::Java => "java",
        Language::Go => "go",
        Language::Python => "python",
        Language::Node => "js",
        Language::Rust => "rust",
    };
    let readme = sources().parent().and_then(Path::parent).expect("the repository").join("README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    let opening = format!("```{fence}\n");
    let mut blocks = readme.split(&opening).skip(1);
    let block = blocks.next().expect("a snippet");
    assert!(blocks.next().is_none(), "one snippet of each language");
    block.split("```").next().expect("its end").to_string()
}

fn program(language: Language, snippet: &str, home: &Path) -> Command {
    let write = |path: &Path, text: &str| std::fs::write(path, text).expect("written");
    let copy = |from: &str, to: &Path| std::fs::copy(sources().join(from), to).map(|_| ()).expect("copied");
    match language {
        Language::Python => {
            write(&home.join("quick_start.py"), snippet);
            let mut command = Command::new(python());
            command.arg(home.join("quick_start.py"));
            command
        }
        Language::Java => {
            write(&home.join("QuickStart.java"), snippet);
            let mut command = Command::new("java");
            command.arg(format!("-Duser.home={}", home.display())).arg("-cp").arg(built("java/lib/*"));
            command.arg(home.join("QuickStart.java"));
            command
        }
        // Modules are looked for beside the file.
        Language::Node => {
            let file = built("node/quick_start.mjs");
            write(&file, snippet);
            let mut command = Command::new("node");
            command.arg(file);
            command
        }
        Language::Go => {
            copy("go/go.mod", &home.join("go.mod"));
            copy("go/go.sum", &home.join("go.sum"));
            write(&home.join("main.go"), snippet);
            let mut command = Command::new("go");
            keep_caches(&mut command, &["GOPATH", "GOCACHE"], go_env);
            command.args(["run", "."]).current_dir(home);
            command
        }
        Language::Rust => {
            let renamed = |name: &str| {
                let text = std::fs::read_to_string(sources().join("rust").join(name)).expect("a manifest");
                text.replace("name = \"clients\"", "name = \"quick-start\"")
                    .replace("name = \"driver\"", "name = \"quick-start\"")
            };
            write(&home.join("Cargo.toml"), &renamed("Cargo.toml"));
            write(&home.join("Cargo.lock"), &renamed("Cargo.lock"));
            std::fs::create_dir_all(home.join("src")).expect("a folder");
            write(&home.join("src/main.rs"), snippet);
            let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            let user = std::env::var("HOME").unwrap_or_default();
            keep_caches(&mut command, &["CARGO_HOME", "RUSTUP_HOME"], |name| {
                let folder = if name == "CARGO_HOME" { ".cargo" } else { ".rustup" };
                std::env::var(name).unwrap_or_else(|_| format!("{user}/{folder}"))
            });
            // What the driver was built with is there already.
            command
                .args(["run", "--quiet", "--locked", "--offline", "--target-dir"])
                .arg(built("rust"))
                .current_dir(home);
            command
        }
    }
}

/// A HOME of its own is for what the client writes, not for what the language's tools have fetched.
fn keep_caches(command: &mut Command, names: &[&str], is: impl Fn(&str) -> String) {
    for name in names {
        command.env(name, is(name));
    }
}

fn go_env(name: &str) -> String {
    let output = Command::new("go").args(["env", name]).output().expect("go");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}
