//! Each file of `tests/config/faults/` is a bad configuration that carries what `weir check` says about it.
//!
//! `gateway-*.toml` stands for gateway.toml, `app-*.toml` for channels/app.toml beside a small gateway.toml.
//! `#| ` begins a line of the expected answer, `# env: ` sets a variable, `# file: NAME: CONTENT` puts a file beside it.

use std::path::Path;
use std::process::Command;

/// For `app-*.toml`.
const GATEWAY: &str = "[listener.main]\naddress = \"127.0.0.1:3000\"\n\n\
    [key.jwt]\nalgorithms = [\"HS256\"]\nsecret = { env = \"JWT_SECRET\" }\n";

#[test]
fn a_bad_configuration_is_told_as_its_file_says() {
    let mut found = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir("tests/config/faults").unwrap() {
        let path = entry.unwrap().path();
        found += 1;
        let (expected, told) = (expected(&path), told(&path));
        if expected != told {
            wrong.push(format!("{}\n--- expected\n{expected}\n--- told\n{told}", path.display()));
        }
    }
    println!("{found} bad configurations");
    assert!(found >= 25, "only {found} files in tests/config/faults");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn lines<'t>(text: &'t str, mark: &str) -> Vec<&'t str> {
    text.lines().filter_map(|l| l.strip_prefix(mark)).collect()
}

fn expected(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    lines(&text, "#|").into_iter().map(|l| l.strip_prefix(' ').unwrap_or(l)).collect::<Vec<_>>().join("\n")
}

/// What `weir check` says, without its last line, the sum.
fn told(path: &Path) -> String {
    let (name, text) = (path.file_name().unwrap().to_str().unwrap(), std::fs::read_to_string(path).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("channels/README", "");
    if name.starts_with("gateway-") {
        put("gateway.toml", &text);
    } else {
        put("gateway.toml", GATEWAY);
        put("channels/app.toml", &text);
    }
    for file in lines(&text, "# file: ") {
        let (name, content) = file.split_once(": ").unwrap();
        put(name, &content.replace("\\n", "\n"));
    }
    let variables = lines(&text, "# env: ").into_iter().map(|v| v.split_once('=').unwrap());
    let weir = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("check")
        .current_dir(folder.path())
        .env_clear()
        .envs(variables)
        .output()
        .unwrap();
    let told = String::from_utf8(weir.stderr).unwrap();
    assert_eq!(weir.status.code(), Some(78), "{name}: {told}");
    let (faults, sum) = told.trim_end().rsplit_once('\n').unwrap();
    assert!(sum.contains(" fault") && sum.contains(" in "), "{name}: {sum}");
    faults.trim_end().to_owned()
}
