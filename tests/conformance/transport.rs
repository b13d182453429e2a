//! Sockets as they come: TLS and plain text on one port, certificates that change, load balancers that say for whom
//! they speak, health, reflection, and a stop that tells everybody.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use harness::{Home, Server, ask, gantry};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::delivery::{asked, resource};

/// Many times the interval at which certificates are looked at.
const RELOAD_MAX: Duration = Duration::from_secs(60);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Believes anything, as several official clients do.
#[derive(Debug)]
struct Believer(Arc<CryptoProvider>);

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS client that believes anything, or what this file vouches for.
pub fn tls_client(believed: Option<&Path>, protocol: &[u8]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let mut config = match believed {
        None => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Believer(provider()))).with_no_client_auth()
        }
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

async fn handshake(
    address: &str,
    before: &[u8],
    tls: Arc<ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(before).await?;
    TlsConnector::from(tls).connect(ServerName::try_from("localhost").unwrap(), socket).await
}

/// A gRPC client that first sends these bytes, and then plain text or TLS.
pub async fn connect(
    address: &str,
    before: &[u8],
    tls: Option<Arc<ClientConfig>>,
) -> Result<Channel, tonic::transport::Error> {
    let (address, before) = (address.to_string(), before.to_vec());
    let connector = tower::service_fn(move |_: Uri| {
        let (address, before, tls) = (address.clone(), before.clone(), tls.clone());
        async move {
            let connected: Box<dyn Wire> = match tls {
                Some(tls) => Box::new(handshake(&address, &before, tls).await?),
                None => {
                    let mut socket = TcpStream::connect(&address).await?;
                    socket.write_all(&before).await?;
                    Box::new(socket)
                }
            };
            io::Result::Ok(TokioIo::new(connected))
        }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await
}

trait Wire: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Wire for T {}

fn message(id: &str) -> v2::SendMessageRequest {
    let system = v2::SystemProperties { message_id: id.into(), ..v2::SystemProperties::default() };
    let message = v2::Message {
        topic: resource("t"),
        body: id.to_string().into(),
        system_properties: Some(system),
        ..v2::Message::default()
    };
    v2::SendMessageRequest { messages: vec![message] }
}

pub async fn send(channel: Channel, id: &str) -> v2::Code {
    let sent = MessagingServiceClient::new(channel).send_message(asked(message(id))).await.expect("an answer");
    sent.into_inner().status.expect("a status").code()
}

async fn with_topic(server: &Server) -> reqwest::Client {
    let http = reqwest::Client::new();
    ask(http.put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    http
}

#[tokio::test]
async fn every_port_takes_tls_and_plain_text() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    with_topic(&server).await;
    for (id, tls) in [("plain", None), ("tls", Some(tls_client(None, b"h2")))] {
        let channel = connect(&server.grpc, b"", tls).await.expect("a connection");
        assert_eq!(send(channel, id).await, v2::Code::Ok, "{id}");
    }

    let http = server.http.trim_start_matches("http://");
    let mut tls = handshake(http, b"", tls_client(None, b"http/1.1")).await.expect("a handshake");
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // The server may leave without TLS's own goodbye.
    let _ = tls.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let h2 = handshake(http, b"", tls_client(None, b"h2")).await.expect("a handshake");
    assert_eq!(h2.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // The gRPC port speaks nothing but HTTP/2.
    assert!(handshake(&server.grpc, b"", tls_client(None, b"http/1.1")).await.is_err());
}

fn self_signed(dir: &Path) {
    let output = Command::new(gantry()).args(["tls", "self-signed"]).arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_certificate_is_read_anew_when_it_changes_and_kept_when_it_cannot_be_used() {
    let home = Home::new();
    let [live, first, second] = ["live", "first", "second"].map(|name| home.path().join(name));
    self_signed(&first);
    self_signed(&second);
    let again = Command::new(gantry()).args(["tls", "self-signed"]).arg(&first).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "nothing is overwritten");
    let install = |from: &Path, file: &str| std::fs::copy(from.join(file), live.join(file)).unwrap();
    std::fs::create_dir(&live).unwrap();
    install(&first, "certificate.pem");
    install(&first, "key.pem");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(first.join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the key is its owner's alone");

    let (certificate, key) = (live.join("certificate.pem"), live.join("key.pem"));
    let flags = ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = Server::start(&home.data(), &flags);
    let believes = async |dir: &Path| {
        let tls = tls_client(Some(&dir.join("certificate.pem")), b"h2");
        handshake(&server.grpc, b"", tls).await.is_ok()
    };
    assert!(believes(&first).await && !believes(&second).await);

    // Half of a change cannot be used.
    install(&second, "certificate.pem");
    let begin = std::time::Instant::now();
    while !server.log().contains("the old one stays") {
        assert!(begin.elapsed() < RELOAD_MAX, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(believes(&first).await);
    install(&second, "key.pem");
    while !believes(&second).await {
        assert!(begin.elapsed() < RELOAD_MAX, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!believes(&first).await);
}

#[test]
fn a_start_with_files_that_are_no_certificate_says_which() {
    let home = Home::new();
    let [first, second] = ["first", "second"].map(|name| home.path().join(name));
    self_signed(&first);
    self_signed(&second);
    let certificate = first.join("certificate.pem").display().to_string();
    for (key, said) in [
        (second.join("key.pem").display().to_string(), "key.pem"),
        (certificate.clone(), "holds nothing of the kind"),
        (home.path().join("missing.pem").display().to_string(), "missing.pem"),
    ] {
        let flags = ["--tls-certificate", &certificate, "--tls-key", &key];
        let Err((status, log)) = Server::try_start(&home.data(), &flags) else { panic!("{key} is no key of it") };
        assert!(status.code() == Some(1) && log.contains(said), "{status}: {log}");
    }
}

#[tokio::test]
async fn a_trusted_load_balancer_says_for_whom_it_speaks() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--proxy-protocol-from", "127.0.0.0/8"]);
    let v1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 4660 8081\r\n";
    let mut v2_header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    v2_header.extend([203, 0, 113, 8, 127, 0, 0, 1, 0x12, 0x34, 0x1f, 0x91]);

    // Over HTTP as well.
    let mut socket = TcpStream::connect(server.http.trim_start_matches("http://")).await.unwrap();
    socket.write_all(v1).await.unwrap();
    socket
        .write_all(b"PUT /v1/topics/t HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        .await
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");

    let tls = || Some(tls_client(None, b"h2"));
    for (id, header, tls) in [("one", &v1[..], None), ("two", &v2_header[..], None), ("three", &v1[..], tls())] {
        let channel = connect(&server.grpc, header, tls).await.expect("a connection");
        assert_eq!(send(channel, id).await, v2::Code::Ok);
    }
    let mut client = MessagingServiceClient::new(connect(&server.grpc, v1, None).await.unwrap());
    let receive = v2::ReceiveMessageRequest {
        group: resource("g"),
        message_queue: Some(v2::MessageQueue { topic: resource("t"), ..v2::MessageQueue::default() }),
        batch_size: 32,
        invisible_duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..v2::ReceiveMessageRequest::default()
    };
    let mut hosts = std::collections::BTreeMap::new();
    while hosts.len() < 3 {
        let mut frames = client.receive_message(asked(receive.clone())).await.unwrap().into_inner();
        while let Some(frame) = frames.message().await.unwrap() {
            if let Some(v2::receive_message_response::Content::Message(message)) = frame.content {
                let system = message.system_properties.unwrap();
                hosts.insert(system.message_id, system.born_host);
            }
        }
    }
    assert_eq!(hosts["one"], "203.0.113.7:4660");
    assert_eq!(hosts["two"], "203.0.113.8:4660");
    assert_eq!(hosts["three"], "203.0.113.7:4660");

    // One that does not say it is not served: it could be anybody.
    let channel = connect(&server.grpc, b"", None).await;
    let refused = match channel {
        Err(_) => true,
        Ok(channel) => MessagingServiceClient::new(channel).send_message(asked(message("four"))).await.is_err(),
    };
    assert!(refused);
}

#[tokio::test]
async fn nobody_else_may_speak_for_another() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--proxy-protocol-from", "203.0.113.0/24"]);
    with_topic(&server).await;
    assert_eq!(send(connect(&server.grpc, b"", None).await.unwrap(), "plain").await, v2::Code::Ok);
    let lie = connect(&server.grpc, b"PROXY TCP4 203.0.113.7 127.0.0.1 4660 8081\r\n", None).await;
    let refused = match lie {
        Err(_) => true,
        Ok(channel) => MessagingServiceClient::new(channel).send_message(asked(message("lie"))).await.is_err(),
    };
    assert!(refused);
}

#[tokio::test]
async fn tools_find_the_services_and_load_balancers_their_health() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let channel = connect(&server.grpc, b"", None).await.unwrap();
    let request = |of: MessageRequest| ServerReflectionRequest { host: String::new(), message_request: Some(of) };
    let requests = [
        request(MessageRequest::ListServices(String::new())),
        request(MessageRequest::FileContainingSymbol("apache.rocketmq.v2.MessagingService".into())),
    ];
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let answers = reflection.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().message_response).collect().await;
    let [Some(MessageResponse::ListServicesResponse(services)), Some(MessageResponse::FileDescriptorResponse(files))] =
        &answers[..]
    else {
        panic!("{answers:?}")
    };
    let names: Vec<&str> = services.service.iter().map(|service| &*service.name).collect();
    for name in ["apache.rocketmq.v2.MessagingService", "apache.rocketmq.v2.Admin", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!files.file_descriptor_proto.is_empty());
    use tonic_reflection::pb::v1alpha;
    let of_old = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(of_old) };
    let mut old = v1alpha::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = old.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some(), "older tools ask so");

    let mut health = HealthClient::new(channel);
    let check = |service: &str| HealthCheckRequest { service: service.into() };
    for service in ["", "apache.rocketmq.v2.MessagingService"] {
        let answer = health.check(check(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(check("nobody")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);

    // Whoever watches hears of the stop, and does not hold it up. Clients answer the server's good-bye meanwhile.
    let mut watched = health.watch(check("")).await.unwrap().into_inner();
    let next = watched.message().await.unwrap().map(|answer: HealthCheckResponse| answer.status());
    assert_eq!(next, Some(ServingStatus::Serving));
    let (log_path, stopping) =
        (server.log_path().to_path_buf(), tokio::task::spawn_blocking(move || server.stop("-TERM")));
    let next = watched.message().await.unwrap().map(|answer| answer.status());
    assert_eq!(next, Some(ServingStatus::NotServing));
    assert_eq!(watched.message().await.unwrap(), None);
    assert_eq!(stopping.await.unwrap().code(), Some(0));
    let log = std::fs::read_to_string(log_path).unwrap();
    assert!(!log.contains("cut off"), "{log}");
}

#[tokio::test]
async fn a_stop_sends_streams_elsewhere_and_lets_parked_polls_go() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    with_topic(&server).await;
    let mut client = MessagingServiceClient::new(connect(&server.grpc, b"", None).await.unwrap());
    let settings = v2::Settings {
        client_type: Some(v2::ClientType::PushConsumer as i32),
        pub_sub: Some(v2::settings::PubSub::Subscription(v2::Subscription {
            group: resource("g"),
            ..v2::Subscription::default()
        })),
        ..v2::Settings::default()
    };
    let first = v2::TelemetryCommand {
        command: Some(v2::telemetry_command::Command::Settings(settings)),
        ..v2::TelemetryCommand::default()
    };
    let outgoing = tokio_stream::once(first).chain(tokio_stream::pending());
    let mut stream = client.telemetry(asked(outgoing)).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some(), "the settings come back");
    let receive = v2::ReceiveMessageRequest {
        group: resource("g"),
        message_queue: Some(v2::MessageQueue { topic: resource("t"), ..v2::MessageQueue::default() }),
        auto_renew: true,
        long_polling_timeout: Some(prost_types::Duration { seconds: 20, nanos: 0 }),
        ..v2::ReceiveMessageRequest::default()
    };
    let mut parked = client.clone();
    let parked = tokio::spawn(async move {
        let mut frames = parked.receive_message(asked(receive)).await.unwrap().into_inner();
        frames.message().await.unwrap().and_then(|frame| frame.content)
    });
    // The group is made by the receive that parks.
    let http = reqwest::Client::new();
    while ask(http.get(server.url("/v1/groups/g"))).await.unwrap().status != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (log_path, stopping) =
        (server.log_path().to_path_buf(), tokio::task::spawn_blocking(move || server.stop("-TERM")));
    let last = stream.message().await.unwrap().and_then(|frame| frame.command);
    assert!(matches!(last, Some(v2::telemetry_command::Command::ReconnectEndpointsCommand(_))), "{last:?}");
    assert!(stream.message().await.unwrap().is_none());
    let Some(v2::receive_message_response::Content::Status(status)) = parked.await.unwrap() else {
        panic!("no status")
    };
    assert_eq!(status.code(), v2::Code::MessageNotFound);
    assert_eq!(stopping.await.unwrap().code(), Some(0));
    let log = std::fs::read_to_string(log_path).unwrap();
    assert!(!log.contains("cut off"), "{log}");
}
