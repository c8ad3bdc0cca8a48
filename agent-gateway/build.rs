//! The web application is embedded from `web/dist`; a build without npm embeds an empty folder.

use std::path::Path;

fn main() {
    let dist = Path::new("web/dist");
    if let Err(error) = std::fs::create_dir_all(dist) {
        println!("cargo::error=the folder agent-gateway/web/dist can not be made: {error}");
    }
    println!("cargo::rerun-if-changed=web/dist");
}
