//! Tenant and script files as people get them wrong.

use std::path::{Path, PathBuf};

use super::{Kind, check, ha1, tenant_file::TenantFile};

const TENANT: &str = r#"[tenant]
id = "acme"
name = "Acme"

[[trunk]]
name = "t"
hosts = ["127.0.0.1"]

[[number]]
did = "4001"
trunk = "t"
route = { queue = "repair" }

[[queue]]
name = "repair"
overflow = { after_s = 5, to = { queue = "general" } }

[[queue]]
name = "general"

[[agent]]
name = "1001"
password_file = "pw"
queues = ["repair"]
phone = { kind = "sip", secret_file = "pw" }
"#;

const SCRIPT: &str = r#"[script]
start = "menu"
name = "main"
[[node]]
name = "menu"
kind = "menu"
prompts = "main_menu"
[node.digits]
1 = "wait"
[node.silence]
repeat = 1
prompts = "silence"
then = "wait"
[node.invalid]
repeat = 2
then = "wait"
[[node]]
name = "wait"
kind = "queue"
queue = "repair"
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a directory"));
        folder.write("pw", "secret\n");
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// What `check` says of `text`, the folder's name cut off.
    fn problems(&self, text: &str) -> String {
        let file = self.write("t.toml", text);
        match check(&file) {
            Ok(kind) => panic!("{kind:?} was found right: {text}"),
            Err(problems) => problems.to_string().replace(&format!("{}/", self.0.path().display()), ""),
        }
    }
}

#[test]
fn a_right_tenant_file_is_read_with_its_secrets() {
    let folder = Folder::new();
    let file = folder.write("t.toml", TENANT);
    assert_eq!(check(&file).expect("right"), Kind::Tenant);
    let tenant = TenantFile::load(&file).expect("right");
    assert_eq!(tenant.passwords.values().collect::<Vec<_>>(), ["secret"]);
    assert_eq!(tenant.tenant.digests.values().collect::<Vec<_>>(), [&ha1("1001", "secret")]);
}

#[test]
fn ha1_is_the_digest_of_user_realm_and_secret() {
    // printf '1001:zongji:secret' | md5sum and | sha256sum
    let (md5, sha256) = ha1("1001", "secret");
    assert_eq!(md5, "4c6e99f5a9298fac276e2a9cc9c0db38");
    assert_eq!(sha256, "22b71e01fc62a7cbbcf61acc414c6c58de878fc479bfc44f5de7a2334a799708");
}

#[test]
fn a_wrong_tenant_file_is_refused_at_its_place() {
    let check = |from: &str, to: &str, expect: &str| {
        assert!(TENANT.contains(from), "{from}");
        let said = Folder::new().problems(&TENANT.replacen(from, to, 1));
        assert!(said.contains(expect), "{to:?}: {said:?} has no {expect:?}");
    };
    check("name = \"Acme\"", "nam = \"Acme\"", "t.toml:3:1: unknown key `nam`; the nearest known key is `name`");
    check("id = \"acme\"\n", "", "t.toml:1:1: the required key `id` is missing");
    check("hosts", "host", "t.toml:7:1: unknown key `host`; the nearest known key is `hosts`");
    check(
        "[[queue]]\nname = \"general\"",
        "[[quene]]\nname = \"general\"",
        "unknown key `quene`; the nearest known key is `queue`",
    );
    check("{ queue = \"general\" }", "{ queue = \"genral\" }", "t.toml:16:27: queue[repair].overflow.to: ");
    check("{ queue = \"repair\" }", "{ que = \"repair\" }", "t.toml:12:");
    check("{ queue = \"repair\" }", "{ ivr = \"main\" }", "t.toml:12:1: number[4001].route: ");
    check("trunk = \"t\"", "trunk = \"u\"", "t.toml:11:1: number[4001].trunk: there is no trunk `u`");
    check(
        "password_file = \"pw\"",
        "password_file = \"no\"",
        "t.toml:23:1: agent[1001].password_file: no: No such file",
    );
    check(
        "kind = \"sip\", secret_file",
        "kind = \"sip\", secretfile",
        "unknown key `secretfile`; the nearest known key is `secret_file`",
    );
    check("kind = \"sip\", secret_file", "kind = \"sip\", secretfile", "t.toml:25:25: ");
    check("kind = \"sip\"", "kind = \"sup\"", "unknown choice `sup`; the nearest is `sip`");
    check("queues = [\"repair\"]", "queues = \"repair\"", "t.toml:24:10: invalid type");
    check("queues = [\"repair\"]", "queues = [\"repare\"]", "t.toml:24:1: agent[1001].queues: ");
    check("[[trunk]]", "[[trunk]", "t.toml:5:");
}

#[test]
fn a_scripts_error_is_reported_in_the_script() {
    let folder = Folder::new();
    let with_script = format!("{TENANT}\n[[ivr]]\nname = \"main\"\nfile = \"main.toml\"\n");
    folder.write("main.toml", SCRIPT);
    assert!(check(&folder.write("t.toml", &with_script)).is_ok(), "the script is right");
    let wrong = |from: &str, to: &str, expect: &str| {
        assert!(SCRIPT.contains(from), "{from}");
        folder.write("main.toml", &SCRIPT.replacen(from, to, 1));
        let said = folder.problems(&with_script);
        assert!(said.starts_with(expect), "{to:?}: {said:?} is not {expect:?}");
    };
    wrong("1 = \"wait\"", "1 = \"wat\"", "main.toml:9:");
    wrong("queue = \"repair\"", "queue = \"repare\"", "main.toml:20:");
    wrong("prompts = \"main_menu\"", "prompts = \"mane_menu\"", "main.toml:7:");
    wrong("start", "stat", "main.toml:1:1: a [script] needs `start`");
    let said = folder.problems(&format!("{TENANT}\n[[ivr]]\nname = \"main\"\nfile = \"none.toml\"\n"));
    assert!(said.starts_with("t.toml:29:1: ivr[main].file: none.toml: No such file"), "{said}");
}

#[test]
fn a_secret_of_more_than_a_line_is_refused() {
    let folder = Folder::new();
    for wrong in ["", "\n", "a\nb\n", &"x".repeat(300)] {
        folder.write("pw", wrong);
        let said = folder.problems(TENANT);
        assert!(said.contains("must hold one line of 1 to 256 bytes"), "{wrong:?}: {said}");
    }
}

#[test]
fn the_kind_of_a_file_is_told_by_what_stands_in_it() {
    let folder = Folder::new();
    assert_eq!(check(&folder.write("z.toml", "[node]\nname = \"a\"")).expect("right"), Kind::Node);
    assert_eq!(check(&folder.write("z.toml", "")).expect("right"), Kind::Node);
    let said = folder.problems("[http]\nlisen = \"x\"");
    assert!(said.starts_with("t.toml:2:1: unknown key `lisen`"), "{said}");
    assert!(check(Path::new("/nonexistent.toml")).expect_err("no file").to_string().contains("No such file"));
}
