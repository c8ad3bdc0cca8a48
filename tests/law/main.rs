//! The law of the pure crates: no dependency of theirs, however far away, can read a clock, a socket, a file or the system's
//! randomness at run time. Read from `cargo metadata`, so that a new dependency can not bring one in unseen.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// The crates that decide and never act.
const PURE: [&str; 7] = ["cti-base", "cti-acd", "cti-sip", "cti-media", "cti-plan", "cti-switch", "ivr-scripts"];

/// Crates that do input or output, or exist for those that do.
const BANNED: [&str; 41] = [
    "async-io",
    "async-std",
    "axum",
    "crossbeam-channel",
    "dirs",
    "fastrand",
    "futures-executor",
    "hickory-resolver",
    "hostname",
    "hound",
    "hyper",
    "hyper-util",
    "if-addrs",
    "io-uring",
    "libsqlite3-sys",
    "mio",
    "native-tls",
    "nix",
    "notify",
    "object_store",
    "openssl",
    "parking_lot",
    "polling",
    "quinn",
    "rand",
    "rayon",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tempfile",
    "tokio",
    "tokio-util",
    "tracing",
    "tungstenite",
    "ureq",
    "walkdir",
];

/// The system's randomness, and the one way by which it may be in the closure: rsip turns on `uuid`'s random ids, which
/// clippy.toml bans in every pure crate (`Uuid::new_v4`, `Uuid::now_v7`).
const RANDOMNESS: &str = "getrandom";
const RANDOMNESS_THROUGH: &str = "uuid";

#[test]
fn no_pure_crate_reaches_a_crate_that_does_input_or_output() {
    let metadata = metadata();
    for pure in PURE {
        let closure = Closure::of(&metadata, pure);
        assert!(closure.parents.len() > 10, "{pure}: only {} dependencies were read", closure.parents.len());
        for banned in BANNED {
            assert!(!closure.parents.contains_key(banned), "{pure} reaches {banned}: {}", closure.way_to(banned));
        }
        let drawn_by = closure.parents.get(RANDOMNESS).cloned().unwrap_or_default();
        assert!(
            drawn_by.iter().all(|parent| *parent == RANDOMNESS_THROUGH),
            "{pure} reaches {RANDOMNESS} by {drawn_by:?}: {}",
            closure.way_to(RANDOMNESS)
        );
    }
}

/// The test can fail: a shell reaches what it must.
#[test]
fn a_shell_is_found_to_reach_its_sockets() {
    let metadata = metadata();
    for (shell, reaches) in [("zongji", "tokio"), ("zongji", "mio"), ("zongji-sql", "sqlx"), ("agent-gateway", "axum")]
    {
        let closure = Closure::of(&metadata, shell);
        assert!(closure.parents.contains_key(reaches), "{shell} does not reach {reaches}");
        assert!(closure.way_to(reaches).starts_with(shell));
    }
}

/// Dependencies point one way: a pure crate knows no shell, and no shell but the node knows the node.
#[test]
fn no_pure_crate_knows_a_shell() {
    let metadata = metadata();
    for pure in PURE {
        let closure = Closure::of(&metadata, pure);
        for shell in ["zongji", "zongji-sql", "agent-gateway", "recordings"] {
            assert!(!closure.parents.contains_key(shell), "{pure} knows {shell}: {}", closure.way_to(shell));
        }
    }
    for shell in ["zongji-sql", "recordings", "agent-gateway"] {
        assert!(!Closure::of(&metadata, shell).parents.contains_key("zongji"), "{shell} knows the node");
    }
}

/// Every pure crate has the lint file with the banned calls in its way.
#[test]
fn every_pure_crate_is_under_the_banned_calls() {
    let metadata = metadata();
    for pure in PURE {
        let package = metadata.packages.iter().find(|p| p.name.as_str() == pure).expect(pure);
        let folder = package.manifest_path.parent().expect("a folder");
        let lints = folder.ancestors().map(|f| f.join("clippy.toml")).find(|f| f.exists()).expect("a clippy.toml");
        let text = std::fs::read_to_string(&lints).expect("readable");
        for call in ["Instant::now", "SystemTime::now", "env::var", "thread::spawn", "UdpSocket", "HashMap", "new_v4"] {
            assert!(text.contains(call), "{lints} does not ban {call}");
        }
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("readable");
        assert!(manifest.contains("[lints]"), "{pure} does not take the workspace's lints");
    }
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .other_options(["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned(), "--locked".to_owned()])
        .exec()
        .expect("cargo metadata")
}

/// Everything that a crate is built from for running: names, each with those that ask for it.
struct Closure {
    root: String,
    parents: BTreeMap<String, BTreeSet<String>>,
}

impl Closure {
    fn of(metadata: &Metadata, root: &str) -> Self {
        let nodes = &metadata.resolve.as_ref().expect("a resolved graph").nodes;
        let name = |id: &PackageId| metadata[id].name.to_string();
        let start = nodes.iter().find(|node| name(&node.id) == root).unwrap_or_else(|| panic!("no crate {root}"));
        let mut parents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut seen = BTreeSet::from([start.id.clone()]);
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            let normal = node.deps.iter().filter(|d| d.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal));
            for dependency in normal {
                // What a procedural macro is made of runs in the compiler.
                let package = &metadata[&dependency.pkg];
                if package.targets.iter().all(|t| t.is_proc_macro() || t.is_custom_build()) {
                    continue;
                }
                parents.entry(name(&dependency.pkg)).or_default().insert(name(&node.id));
                if seen.insert(dependency.pkg.clone()) {
                    open.extend(nodes.iter().find(|n| n.id == dependency.pkg));
                }
            }
        }
        Self { root: root.to_owned(), parents }
    }

    /// One chain of crates from the root to `name`.
    fn way_to(&self, name: &str) -> String {
        let mut way = vec![name.to_owned()];
        while let Some(parents) = way.last().and_then(|last| self.parents.get(last)) {
            let next =
                if parents.contains(&self.root) { Some(&self.root) } else { parents.iter().find(|p| !way.contains(p)) };
            let Some(next) = next else { break };
            way.push(next.clone());
            if *next == self.root {
                break;
            }
        }
        way.reverse();
        way.join(" -> ")
    }
}
