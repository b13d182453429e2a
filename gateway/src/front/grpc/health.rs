//! `grpc.health.v1`: load balancers ask it whether to send anybody here. Well is who serves; who stops is not.

use std::sync::Arc;

use gantry_proto::grpc::v2::messaging_service_server::SERVICE_NAME;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::messaging::Messaging;

/// The whole server, and the service that clients come for.
const SERVICES: [&str; 2] = ["", SERVICE_NAME];

/// Whoever watches is told of the stop first, and then that nothing more will be told: an open watch would hold it up.
pub fn service(messaging: Arc<Messaging>) -> HealthServer<impl Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    tokio::spawn(report(reporter, messaging));
    service
}

async fn report(mut reporter: HealthReporter, messaging: Arc<Messaging>) {
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    messaging.drained().await;
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
        reporter.clear_service_status(service).await;
    }
}
