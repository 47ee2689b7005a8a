//! Generates the messages from the gateway's `.proto` files, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../../proto");
    let files = protox::compile(
        ["tradesvc/v0/tradesvc.proto", "stream/v0/stream.proto"],
        ["../../proto"],
    )?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
