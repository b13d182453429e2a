//! Compiles the contract without any installed compiler, and keeps its description for reflection and for the test
//! that compares it field by field.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["definition", "service", "admin"].map(|name| format!("proto/apache/rocketmq/v2/{name}.proto"));
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("v2.bin"), prost::Message::encode_to_vec(&set))?;
    tonic_prost_build::configure().bytes(".apache.rocketmq.v2").compile_fds(set)?;
    Ok(())
}
