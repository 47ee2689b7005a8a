//! Generates the protobuf types and the descriptor set from `proto/`, without `protoc`.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to a build script through the environment"
)]

use std::path::PathBuf;
use std::{env, error::Error, fs};

const FILES: [&str; 3] = [
    "tradesvc/v0/tradesvc.proto",
    "tradesvc/v0/service.proto",
    "stream/v0/stream.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-env-changed=NALPACA_REVISION");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["proto"])?;
    fs::write(out.join("descriptors.binpb"), prost_encode(&descriptors))?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    // The image build passes the git revision in; a build from a plain folder has none.
    let revision = env::var("NALPACA_REVISION").ok().filter(|text| !text.is_empty());
    println!(
        "cargo::rustc-env=NALPACA_REVISION={}",
        revision.unwrap_or_else(|| "unknown".to_owned())
    );
    Ok(())
}

fn prost_encode(descriptors: &impl protox::prost::Message) -> Vec<u8> {
    descriptors.encode_to_vec()
}
