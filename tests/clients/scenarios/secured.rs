//! TLS, and users with secrets. Plain text is taken on the same port, which is how REST is asked here.

use std::process::{Command, Stdio};

use harness::{Home, Server, gantry};
use serde_json::{Value, json};

use crate::driver::{Driver, saw};
use crate::trial::{Trial, held, message, receive, same, settled};

const ACCESS_KEY: &str = "shop";
const SECRET: &str = "a long secret of the shop";

pub fn is_built() -> bool {
    let mut command = Command::new(gantry());
    command.args(["tls", "--help"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("the program").success()
}

pub fn tls(trial: &Trial<'_>) {
    let home = Home::new();
    let made = Command::new(gantry()).args(["tls", "self-signed"]).arg(home.path()).output().expect("the program");
    assert!(made.status.success(), "{made:?}");
    let file = |name: &str| home.path().join(name).display().to_string();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let server = Server::start(&home.data(), &["--tls-certificate", &certificate, "--tls-key", &key]);
    let of_server = Trial { server: &server, ..*trial };
    let at = json!({"endpoints": server.grpc, "tls": true, "certificate": certificate});
    there_and_back(&of_server, &mut of_server.driver_at(&at));
}

pub fn credentials(trial: &Trial<'_>) {
    let home = Home::new();
    let config = home.path().join("gantry.toml");
    let user = format!("[[users]]\naccess_key = \"{ACCESS_KEY}\"\nsecret = \"{SECRET}\"\n");
    std::fs::write(&config, user).expect("a file");
    let mut server = Server::start(&home.data(), &["--config", &config.display().to_string()]);
    // REST wants the same two, in HTTP's own way.
    let address = server.http.strip_prefix("http://").expect("an address");
    server.http = format!("http://{ACCESS_KEY}:{}@{address}", SECRET.replace(' ', "%20"));
    let of_server = Trial { server: &server, ..*trial };
    let at = |secret: &str| json!({"endpoints": server.grpc, "accessKey": ACCESS_KEY, "accessSecret": secret});
    there_and_back(&of_server, &mut of_server.driver_at(&at(SECRET)));
    for at in [at("another secret"), json!({"endpoints": server.grpc})] {
        let mut stranger = of_server.driver_at(&at);
        // Some clients are refused when they start, others at their first call.
        if stranger.try_tell(json!({"do": "producer", "topics": [trial.name]})).is_ok() {
            let told = stranger.tell(json!({"do": "send", "messages": [message(trial.name, b"not mine")]}));
            assert_eq!(saw(&told, "refused").len(), 1, "{told:?}");
        }
        assert_eq!(held(&server, trial.name).len(), 1, "only what the user sent");
    }
}

fn there_and_back(trial: &Trial<'_>, driver: &mut Driver) {
    let topic = trial.topic(json!({}));
    driver.tell(json!({"do": "producer", "topics": [topic]}));
    let sent: Value = message(&topic, b"for our ears");
    let told = driver.tell(json!({"do": "send", "messages": [sent]}));
    assert_eq!(told[0]["saw"], "sent", "{told:?}");
    driver.tell(json!({"do": "simple", "group": trial.group(json!({})), "topic": topic}));
    same(&receive(driver, 1, false)[0], &sent);
    settled(trial.server, trial.name, &topic);
}
