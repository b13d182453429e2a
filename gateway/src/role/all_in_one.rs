//! All in one: broker, gateway and console in one process.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gantry_broker_core::clock::SystemClock;
use gantry_broker_core::local_broker::Surroundings;
use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::{Broker, LocalBroker};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::RoleError;
use super::workers::{self, Served};
use crate::config::Config;
use crate::front::grpc::{GrpcFront, endpoints};
use crate::front::rest::{self, RestState};
use crate::messaging::Messaging;
use crate::metrics::{self, RpcCounts};
use crate::transport::tls::{self, Tls};
use crate::transport::{self, Transport};

/// Running calls get this long to finish once the stop has begun.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// After a failed sync answers get this long to leave; then the process ends.
const FAILED_MAX: Duration = Duration::from_millis(500);

/// Serves until a signal ends it.
pub fn run(config: Config) -> Result<(), RoleError> {
    let system = |what| move |source| RoleError::System { what, source };
    // A taken port is found before the data directory is touched.
    let http = bind(config.http_listen)?;
    let grpc = bind(config.grpc_listen)?;
    let http_address = http.local_addr().map_err(system("the http address"))?;
    let grpc_address = grpc.local_addr().map_err(system("the grpc address"))?;

    // Before anything asks for a counter.
    let scrape = metrics::install();
    let tls = config.tls().map(Arc::new).map_err(|source| RoleError::Tls { source })?;
    let transport = Arc::new(Transport::new(
        tls.clone(),
        config.proxy_protocol_from.clone(),
        config.limits.clone().within_open_files(),
    ));

    let (failed_sender, failed) = oneshot::channel();
    let failed_sender = Mutex::new(Some(failed_sender));
    let store_error = |source| RoleError::Store { data_dir: config.data_dir.clone(), source };
    let surroundings = Surroundings {
        files: Arc::new(DiskFiles),
        clock: Box::new(SystemClock),
        random: Arc::new(SystemRandom),
        failed: Box::new(move |error| {
            if let Some(sender) = failed_sender.lock().expect("no code panics while holding it").take() {
                // Nobody listens any more when the stop is under way.
                let _ = sender.send(error.to_string());
            }
        }),
    };
    let broker = Arc::new(LocalBroker::open(config.broker(), surroundings).map_err(store_error)?);

    let rpc_counts = Arc::new(RpcCounts::new(&config.cluster_name, &config.broker_name));
    let (drain, draining) = watch::channel(false);
    let door: Arc<dyn Broker> = broker.clone();
    let messaging = Arc::new(Messaging::new(door, broker.handle_keys(), draining.clone()));
    let users = Arc::new(config.users());
    let router = rest::router(Arc::new(RestState::new(messaging.clone(), users.clone(), &config, scrape.clone())));
    let advertised = config.advertise.as_deref().map(|text| endpoints(text).expect("checked with the configuration"));
    let broker_name = config.broker().broker_name;
    let front = GrpcFront::new(messaging, users, Arc::new(SystemClock), broker_name, advertised, grpc_address);
    let served = Served { transport: transport.clone(), router, front, rpc_counts, draining };
    let workers = (0..workers::count())
        .map(|number| workers::spawn(number, served.clone()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(system("a worker thread"))?;

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("the acceptor's runtime"))?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(system("the signal handler"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("the signal handler"))?;
        let http = TcpListener::from_std(http).map_err(system("the http listener"))?;
        let grpc = TcpListener::from_std(grpc).map_err(system("the grpc listener"))?;
        say_ready(http_address, grpc_address);
        tokio::select! {
            never = accept(&http, &grpc, &transport, &workers) => match never {},
            never = keep_up(&scrape) => match never {},
            never = reload(&tls) => match never {},
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            Ok(reason) = failed => Err(RoleError::StorageFailed { reason }),
        }
    });

    // Readiness goes first, then everything that waits; what runs may finish.
    drain.send_replace(true);
    broker.drain();
    if let Err(failed) = ended {
        std::thread::sleep(FAILED_MAX);
        return Err(failed);
    }
    tracing::info!("stopping");
    let deadline = Instant::now() + DRAIN_MAX;
    for worker in workers {
        drop((worker.http, worker.grpc));
        while !worker.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !worker.thread.is_finished() {
            tracing::warn!("calls were cut off: they ran longer than the drain time");
        }
    }
    broker.close().map_err(store_error)
}

fn bind(address: SocketAddr) -> Result<std::net::TcpListener, RoleError> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| RoleError::Listen { address, source })
}

fn say_ready(http: SocketAddr, grpc: SocketAddr) {
    let mut stdout = std::io::stdout().lock();
    // A closed stdout is no reason not to serve.
    let _ = writeln!(stdout, "gantry ready http={http} grpc={grpc}");
    let _ = stdout.flush();
}

/// Nobody may ever scrape: what was recorded is put into its buckets all the same, and its memory is free again.
async fn keep_up(scrape: &PrometheusHandle) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(metrics::UPKEEP_INTERVAL).await;
        scrape.run_upkeep();
    }
}

/// Certificates are renewed under running servers.
async fn reload(tls: &Tls) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(tls::RELOAD_INTERVAL).await;
        tls.reload();
    }
}

/// Hands sockets to the workers in turn.
async fn accept(
    http: &TcpListener,
    grpc: &TcpListener,
    transport: &Transport,
    workers: &[workers::Worker],
) -> std::convert::Infallible {
    let mut turn = 0usize;
    loop {
        let (accepted, is_http) = tokio::select! {
            accepted = http.accept() => (accepted, true),
            accepted = grpc.accept() => (accepted, false),
        };
        let handed = accepted.and_then(|(socket, peer)| {
            // Told of where it is counted.
            let Ok(place) = transport.enter(peer) else { return Ok(None) };
            transport::prepare(&socket)?;
            Ok(Some((socket.into_std()?, place)))
        });
        let accepted = match handed {
            Ok(Some(accepted)) => accepted,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                // Out of descriptors: accepting at once again would only spin.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        turn = (turn + 1) % workers.len();
        let worker = &workers[turn];
        let port = if is_http { &worker.http } else { &worker.grpc };
        if port.send(accepted).await.is_err() {
            tracing::warn!("a worker has ended");
        }
    }
}
