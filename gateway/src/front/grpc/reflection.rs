//! gRPC reflection, in both versions that tools ask for: `grpcurl` and its kin need no .proto files.

use gantry_proto::grpc::FILE_DESCRIPTOR_SET;
use tonic::service::Routes;
use tonic_reflection::server::Builder;

pub fn add_to(routes: Routes) -> Routes {
    let described = || {
        let health = tonic_health::pb::FILE_DESCRIPTOR_SET;
        Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(health)
    };
    let v1 = described().build_v1().expect("the sets are what the build made of the contract");
    let v1alpha = described().build_v1alpha().expect("the sets are what the build made of the contract");
    routes.add_service(v1).add_service(v1alpha)
}
