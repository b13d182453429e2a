//! Turns the .proto files into Rust, without a protoc to install.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 3] =
    ["apache/rocketmq/v2/definition.proto", "apache/rocketmq/v2/service.proto", "apache/rocketmq/v2/admin.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let described = protox::compile(FILES, ["proto"])?;

    // tonic's `file_descriptor_set_path` is read by protoc alone, so the set is written here.
    // Comments are for the generated code; in the binary they would only weigh.
    let mut shapes = described.clone();
    for file in &mut shapes.file {
        file.source_code_info = None;
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("v2.bin"), shapes.encode_to_vec())?;

    // `Bytes`, so that a body is shared out of the frame it came in, not copied out of it.
    tonic_prost_build::configure().bytes(".apache.rocketmq.v2").compile_fds(described)?;
    Ok(())
}
