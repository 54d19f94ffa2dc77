//! Rebuilds the crate when a migration changes; the macro that embeds them cannot request that.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
