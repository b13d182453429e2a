//! The API document, judged by strangers: a validator of OpenAPI 3.1, and a generator of requests that compares every
//! answer with what the document says.

use std::path::PathBuf;
use std::process::Command;

use harness::{Home, Server, ask};

/// Requests that the generator makes at least.
const REQUESTS_MIN: u64 = 1_000;

/// A program of the environment that `make test` sets up.
fn program(name: &str) -> PathBuf {
    let python = std::env::var_os("GANTRY_PYTHON").expect("GANTRY_PYTHON names the Python that make test sets up");
    PathBuf::from(python).with_file_name(name)
}

#[test]
fn the_document_is_valid() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/gantry.v1.yaml");
    let judged = Command::new(program("openapi-spec-validator")).arg(document).output().expect("the validator runs");
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    // The judge can say no.
    let home = Home::new();
    let broken = home.path().join("broken.yaml");
    let text = std::fs::read_to_string(document).unwrap().replacen("responses:", "answers:", 1);
    std::fs::write(&broken, text).unwrap();
    let judged = Command::new(program("openapi-spec-validator")).arg(broken).output().expect("the validator runs");
    assert!(!judged.status.success());
}

#[tokio::test]
async fn the_api_answers_as_its_document_says() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--durability", "memory"]);
    let client = reqwest::Client::new();
    ask(client.put(server.url("/v1/topics/t")).body("{}")).await.unwrap().expect(201);
    ask(client.post(server.url("/v1/topics/t/messages")).body("hi")).await.unwrap().expect(201);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                  response_schema_conformance";
    let judged = Command::new(program("schemathesis"))
        .current_dir(home.path())
        .args(["run", &server.url("/openapi.json"), "--phases", "examples,coverage,fuzzing"])
        .args(["--checks", checks, "--max-examples", "30", "--seed", "1", "--no-color"])
        .output()
        .expect("the generator runs");
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{said}");
    let cases = said.lines().find_map(|line| line.trim().split(" generated").next()?.parse::<u64>().ok());
    assert!(cases.is_some_and(|cases| cases >= REQUESTS_MIN), "at least {REQUESTS_MIN} requests: {said}");
}

/// A browser gets it as it lies in the program, and a terminal something to read.
#[tokio::test]
async fn the_document_for_people_comes_packed_to_who_can_unpack_it() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--durability", "memory"]);
    let client = reqwest::Client::new();
    for (path, begins) in [("/docs/", "<!-- HTML"), ("/docs/swagger-ui.css", ".swagger-ui")] {
        let get = || client.get(server.url(path));
        let packed = ask(get().header("accept-encoding", "br, gzip")).await.unwrap().expect(200);
        assert_eq!(
            (&packed.headers["content-encoding"], &packed.body[..2]),
            (&"gzip".parse().unwrap(), &[0x1f, 0x8b][..])
        );
        for request in [get(), get().header("accept-encoding", "gzip;q=0, br")] {
            let plain = ask(request).await.unwrap().expect(200);
            assert!(
                !plain.headers.contains_key("content-encoding") && plain.body.starts_with(begins.as_bytes()),
                "{path}"
            );
            assert_eq!(plain.headers["content-length"], plain.body.len().to_string().as_str());
            assert!(plain.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
        }
    }
    ask(client.get(server.url("/docs/gone.js"))).await.unwrap().expect(404);
}
