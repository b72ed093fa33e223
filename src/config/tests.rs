use super::*;
use crate::auth::Fetcher;

/// Reads a configuration with an environment.
fn read_with(gateway: &Path, env: &[(&str, &str)]) -> Result<Compiled, Vec<Fault>> {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let background = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fetcher = Fetcher::new(background.handle().clone());
    read(gateway, &Means { env: &env, fetcher: &fetcher, previous: None })
}

#[test]
fn the_shipped_files_are_right() {
    let made = read_with(Path::new("gateway.toml"), &[]).unwrap_or_else(|f| panic!("{f:#?}"));
    assert_eq!(made.warnings, []);
    println!("{made:#?}");
}
