//! gRPC reflection, in both versions that tools ask for: `grpcurl` and its kin need no .proto files.
//!
//! What answers is made when somebody asks: few ever do, and it takes room.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use gantry_proto::grpc::FILE_DESCRIPTOR_SET;
use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_reflection::server::Builder;
use tower::Service;

pub fn add_to(routes: Routes) -> Routes {
    routes.add_service(Reflection::<1>).add_service(Reflection::<0>)
}

/// By its version; 0 is the one before the first.
#[derive(Clone)]
struct Reflection<const VERSION: u8>;

impl NamedService for Reflection<1> {
    const NAME: &'static str = "grpc.reflection.v1.ServerReflection";
}

impl NamedService for Reflection<0> {
    const NAME: &'static str = "grpc.reflection.v1alpha.ServerReflection";
}

impl<const VERSION: u8> Service<Request<Body>> for Reflection<VERSION> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Routes as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        static MADE: OnceLock<Routes> = OnceLock::new();
        MADE.get_or_init(make).clone().call(request)
    }
}

/// Answers under both names.
fn make() -> Routes {
    let described = || {
        let health = tonic_health::pb::FILE_DESCRIPTOR_SET;
        Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(health)
    };
    let v1 = described().build_v1().expect("the sets are what the build made of the contract");
    let v1alpha = described().build_v1alpha().expect("the sets are what the build made of the contract");
    Routes::new(v1).add_service(v1alpha).prepare()
}
