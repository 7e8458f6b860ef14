//! Packs the program's relative relocations (RELR) where this machine's C library can load them.
//!
//! There are some 400,000 of them, mostly of the query engine: unpacked they are 9.6 MB that are read at every start and
//! count as memory of an edge, which never asks a query. glibc loads them from 2.36 on (Debian 12, Ubuntu 22.10); a
//! program with them does not start under an older one, so a build on an older machine goes without.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let native = std::env::var("HOST")
        .ok()
        .zip(std::env::var("TARGET").ok())
        .is_some_and(|(host, target)| host == target);
    if native
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && glibc() >= Some((2, 36))
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Version of this machine's C library, `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
